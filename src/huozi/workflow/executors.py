"""Where tasks run: processes of this machine, or whatever Parsl reaches."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

ExecutorKind = Literal["local", "parsl"]
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
"""Environment variables that set the number of threads of OpenMP, OpenBLAS, MKL and XLA."""

RETRIES = 2
"""Times a task is sent to another worker after its own was killed."""


class WorkerLostError(RuntimeError):
    """The process that ran a task was killed, every time it was tried."""


class LocalExecutor(Executor):
    """Processes of this machine that may be killed without harm to the others.

    Each worker is a pool of one process, started afresh: when it is killed, exactly its own
    task is lost, and is sent to a new process. Workers end when this process ends, also by a
    kill.

    Parameters
    ----------
    workers : int
        Tasks at the same time; each gets its share of the cores.
    """

    def __init__(self, workers: int) -> None:
        self.lost_workers = 0
        self._cores = max(1, available_cores() // workers)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="worker")
        self._own = threading.local()
        self._pools: set[ProcessPoolExecutor] = set()
        self._lock = threading.Lock()

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Schedule a call of a module-level function."""
        return self._threads.submit(self._run, function, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End all workers after their present tasks."""
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
        for pool in self._pools:
            pool.shutdown(wait)

    def _run(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        for _ in range(RETRIES + 1):
            pool = self._pool()
            try:
                return pool.submit(function, *args, **kwargs).result()
            except BrokenProcessPool:
                pool.shutdown()
                self._own.pool = None
                with self._lock:
                    self._pools.discard(pool)
                    self.lost_workers += 1
        raise WorkerLostError(
            f"the process was killed {RETRIES + 1} times; it may need more memory than there is"
        )

    def _pool(self) -> ProcessPoolExecutor:
        if getattr(self._own, "pool", None) is None:
            context = multiprocessing.get_context("spawn")
            pool = ProcessPoolExecutor(1, context, _start_worker, (self._cores,))
            with self._lock:
                self._pools.add(pool)
            self._own.pool = pool
        found: ProcessPoolExecutor = self._own.pool
        return found


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start_worker(cores: int) -> None:
    """Keep to a share of the cores, and end with the parent."""
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(cores)))
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def open_executor(
    kind: ExecutorKind, workers: int, folder: Path, parsl_config: Path | None = None
) -> Iterator[Executor]:
    """Yield the executor of the settings.

    Parameters
    ----------
    kind : {"local", "parsl"}
    workers : int
        Tasks at the same time on this machine.
    folder : Path
        The run's; Parsl's own logs go to its ``parsl``.
    parsl_config : Path, optional
        Python file that defines ``config``, a ``parsl.Config``; without it Parsl starts workers on
        this machine.

    Raises
    ------
    ImportError
        If Parsl is asked for and not installed.
    ValueError
        If the file defines no ``config``.
    """
    executor: Executor = LocalExecutor(workers)
    if kind == "parsl":
        executor = _parsl_executor(workers, folder / "parsl", parsl_config)
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=kind == "local")
        raise
    executor.shutdown()


def _parsl_executor(workers: int, logs: Path, path: Path | None) -> Executor:
    try:
        from parsl.concurrent import ParslPoolExecutor
    except ImportError:
        raise ImportError("executor parsl needs Parsl: pip install 'huozi[cluster]'") from None
    # Parsl starts its programs by name; without an activated environment they would not be found.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    if path is None:
        return ParslPoolExecutor(_parsl_on_this_machine(workers, logs))
    config = runpy.run_path(str(path)).get("config")
    if config is None:
        raise ValueError(f"{path} defines no `config`, the parsl.Config to use")
    return ParslPoolExecutor(config)


def _parsl_on_this_machine(workers: int, logs: Path) -> Any:
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import LocalProvider

    cores = max(1, available_cores() // workers)
    threads = " ".join(f"export {name}={cores};" for name in THREAD_VARIABLES)
    here = HighThroughputExecutor(
        label="here",
        address="127.0.0.1",
        max_workers_per_node=workers,
        provider=LocalProvider(worker_init=threads, init_blocks=1, max_blocks=1),
    )
    return Config(executors=[here], retries=RETRIES, usage_tracking=0, run_dir=str(logs))
