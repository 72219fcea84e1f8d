# make demo | make test | make check: each sets up .venv in the checkout first.

PYTHON ?= python3
VENV := .venv
SOURCES := pyproject.toml constraints.txt CMakeLists.txt $(wildcard kernels/* kernels/*/*)
NEW := $(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "needs Python 3.11 or newer"' \
	&& $(PYTHON) -m venv $(VENV)
INSTALL := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable
# XLA frees large buffers at every step; keeping them saves the page faults (a tenth of a step).
export MALLOC_MMAP_THRESHOLD_ = 4294967296
export MALLOC_TRIM_THRESHOLD_ = 4294967296

.PHONY: setup demo test check coverage clean

setup: $(VENV)/.developer

# What a user needs, then what tests and checks need on top.
$(VENV)/.user: $(SOURCES)
	$(NEW)
	$(INSTALL) .
	touch $@

$(VENV)/.developer: $(SOURCES)
	$(NEW)
	$(INSTALL) '.[dev]'
	touch $(VENV)/.user $@

demo: $(VENV)/.user
	$(VENV)/bin/huozi demo --out demo-run

test: $(VENV)/.developer
	$(VENV)/bin/python -m pytest -n auto --dist worksteal

check: $(VENV)/.developer
	$(VENV)/bin/ruff format --check src tests benchmarks datasets docs
	$(VENV)/bin/ruff check src tests benchmarks datasets docs
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

coverage: $(VENV)/.developer
	$(VENV)/bin/python -m pytest --cov --cov-report=term

clean:
	rm -rf $(VENV) demo-run
