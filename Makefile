# make demo | make test | make check: each sets up .venv in the checkout first.

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
# XLA frees large buffers at every step; keeping them saves the page faults (a tenth of a step).
export MALLOC_MMAP_THRESHOLD_ = 4294967296
export MALLOC_TRIM_THRESHOLD_ = 4294967296

.PHONY: setup demo test check coverage clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt CMakeLists.txt $(wildcard kernels/*)
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Huozi needs Python 3.11 or newer"'
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
		$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $(READY)

demo: $(READY)
	$(VENV)/bin/huozi demo --out demo-run

test: $(READY)
	$(VENV)/bin/python -m pytest

check: $(READY)
	$(VENV)/bin/ruff format --check src tests benchmarks datasets docs
	$(VENV)/bin/ruff check src tests benchmarks datasets docs
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

coverage: $(READY)
	$(VENV)/bin/python -m pytest --cov --cov-report=term

clean:
	rm -rf $(VENV) demo-run
