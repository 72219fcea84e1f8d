"""What a worker does with one task: run it in a folder of its own, record how it ended."""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from huozi.files import write_json
from huozi.workflow.run import held
from huozi.workflow.task import find_function, key_of, publish


class TaskTimeoutError(Exception):
    """A task took longer than it may."""


def execute(
    description: dict[str, Any], files: dict[str, str], tasks: str, timeout: float | None
) -> None:
    """Run a task unless it has finished; whatever it does ends as a recorded outcome.

    Parameters
    ----------
    description : dict
        From `Task.describe`.
    files : dict of str to str
        Where the input files are on this machine.
    tasks : str
        Folder of all tasks.
    timeout : float or None
        Seconds.
    """
    key = key_of(description)
    final, workspace = Path(tasks) / key, Path(tasks) / f".{key}"
    with held(workspace, wait=True):
        if final.exists():
            shutil.rmtree(workspace, ignore_errors=True)
            return
        function = find_function(description["function"])
        attempts = begin(workspace, description, keep=function.resumes)
        started, used = time.time(), cpu_seconds()
        outcome: dict[str, Any] = {"state": "done"}
        with captured(workspace / "log.txt"), limited(timeout):
            try:
                places = {name: Path(path) for name, path in files.items()}
                result = function(workspace, description["inputs"], places)
                write_json(workspace / "result.json", result)
            except TaskTimeoutError:
                outcome = failed("timeout", f"not finished after {timeout:g} s")
            except Exception as error:
                traceback.print_exc()
                name = type(error).__name__
                text = " ".join(str(error).split()) or name
                outcome = failed(
                    "error", text if isinstance(error, ValueError) else f"{name}: {text}"
                )
        times = {
            "started": round(started, 3),
            "wall_seconds": round(time.time() - started, 3),
            "cpu_seconds": round(cpu_seconds() - used, 3),
            "attempts": attempts,
            "host": platform.node(),
        }
        publish(workspace, final, outcome | times)


def failed(kind: str, reason: str) -> dict[str, Any]:
    """Status of a task that failed: of kind error, timeout or killed."""
    return {"state": "failed", "kind": kind, "reason": reason}


def begin(workspace: Path, description: dict[str, Any], keep: bool) -> int:
    """Make the folder ready and count the attempts."""
    workspace.mkdir(exist_ok=True)
    record = workspace / "task.json"
    attempts = 1
    if record.exists():
        attempts += json.loads(record.read_text(encoding="utf-8"))["attempts"]
    if not keep:
        for path in workspace.iterdir():
            if path.name not in ("lock", "task.json", "log.txt"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    write_json(record, {**description, "attempts": attempts})
    return attempts


def cpu_seconds() -> float:
    """Processor time of this process and of the programs it ran."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@contextmanager
def captured(path: Path) -> Iterator[None]:
    """Send everything this process and its children print to a file."""
    saved = [os.dup(1), os.dup(2)]
    with path.open("ab") as log:
        try:
            for descriptor in (1, 2):
                os.dup2(log.fileno(), descriptor)
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                with suppress(ValueError):
                    stream.flush()
            for descriptor, original in zip((1, 2), saved):
                os.dup2(original, descriptor)
                os.close(original)


@contextmanager
def limited(seconds: float | None) -> Iterator[None]:
    """Raise TaskTimeoutError in the block when it takes longer."""
    if seconds is None:
        yield
        return

    def stop(*_: Any) -> None:
        raise TaskTimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
