"""Programs that XLA has compiled are kept for the next test, and on disk for the next session."""

from __future__ import annotations

import os

# Threads of OpenBLAS wait for each other without rest. Beside another worker they make a relaxation
# of four atoms ten times as costly; it reads this when NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Messages are compared as text; on some services typer would colour them.
os.environ["_TYPER_FORCE_DISABLE_TERMINAL"] = "1"

import pytest

from huozi.arrays import jax

# Most of the suite's time is compilation of programs that run once on a few atoms. Without LLVM's
# passes and with the older emitters a program of a potential compiles in a third of the time.
# `XLA_FLAGS= make test` compiles as users do.
QUICK_COMPILATION = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"


def pytest_configure(config: pytest.Config) -> None:
    """Give each process of the session a cache, and its children one of their own.

    JAX does not write its files aside, and children are killed in many tests: what they leave
    half-written must not be read here, where warnings are errors.
    """
    os.environ.setdefault("XLA_FLAGS", QUICK_COMPILATION)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    jax.config.update("jax_compilation_cache_dir", str(config.cache.mkdir(f"jax-{worker}")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(config.cache.mkdir(f"jax-{worker}-children"))
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Forget compiled programs on leaving a folder, whose tests share few with the next one's."""
    if nextitem is not None and nextitem.path.parent != item.path.parent:
        jax.clear_caches()
