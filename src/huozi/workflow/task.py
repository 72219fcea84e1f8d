"""Tasks are functions of content: the same function of the same inputs runs once.

The key of a task is a digest of the function's name and version, its inputs as canonical JSON,
and the digests of its input files. Paths, machines, queues and executors are not in it, so a
run may be moved, resumed or sent to a cluster without losing a finished task. What a task
leaves is a folder ``tasks/KEY``:

    task.json    what was asked for
    log.txt      everything the task and its programs printed
    status.json  done or failed, the reason, times
    result.json  what the function returned; beside it the files it wrote

The folder is written as ``tasks/.KEY`` and renamed when it is complete.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huozi.files import digest, write_json

TAIL = 2000
"""Characters of a log that a failure shows."""

TaskFunction = Callable[[Path, dict[str, Any], dict[str, Path]], Any]
"""(folder to write into, inputs, input files) -> JSON value."""


def task(version: int = 1, resumes: bool = False) -> Callable[[TaskFunction], TaskFunction]:
    """Mark a module-level function as one that tasks may run.

    Parameters
    ----------
    version : int
        Raised when the function would now return something else: older results do not count.
    resumes : bool
        The function goes on with what an interrupted attempt left in its folder; without it
        every attempt begins in an empty one.
    """

    def mark(function: TaskFunction) -> TaskFunction:
        function.version = version  # type: ignore[attr-defined]
        function.resumes = resumes  # type: ignore[attr-defined]
        return function

    return mark


@dataclass(frozen=True)
class Task:
    """One call of a task function.

    Parameters
    ----------
    function : callable
        Marked by `task`.
    inputs : dict
        JSON values.
    files : mapping of str to path
        Input files; their contents count, their places do not.
    name : str
        For people; not part of the key.
    """

    function: TaskFunction
    inputs: dict[str, Any] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    name: str = ""

    def describe(self) -> dict[str, Any]:
        """Return what the key is a digest of."""
        function: Any = self.function
        return {
            "function": f"{function.__module__}:{function.__qualname__}",
            "version": function.version,
            "inputs": self.inputs,
            "files": {name: digest(path) for name, path in sorted(self.files.items())},
        }

    def key(self) -> str:
        """Name of the folder that holds the result.

        Raises
        ------
        ValueError
            If an input is no JSON value, or not a number.
        """
        return key_of(self.describe())


def key_of(description: dict[str, Any]) -> str:
    """Digest of a task's description."""
    text = json.dumps(description, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def find_function(name: str) -> Any:
    """Return the function named ``module:function``."""
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


@dataclass(frozen=True)
class Outcome:
    """What a task left.

    Parameters
    ----------
    key : str
    folder : Path
    status : dict
        Contents of ``status.json``.
    name : str
        The task's name for people.
    """

    key: str
    folder: Path
    status: dict[str, Any]
    name: str = ""

    @property
    def done(self) -> bool:
        """Whether the task succeeded."""
        return bool(self.status["state"] == "done")

    @property
    def result(self) -> Any:
        """What the function returned."""
        return json.loads((self.folder / "result.json").read_text(encoding="utf-8"))

    @property
    def reason(self) -> str:
        """Why the task failed."""
        return str(self.status.get("reason", ""))

    @property
    def log_tail(self) -> str:
        """End of the log."""
        log = self.folder / "log.txt"
        return log.read_text(encoding="utf-8", errors="replace")[-TAIL:] if log.exists() else ""


def find_outcome(tasks: Path, key: str, name: str = "") -> Outcome | None:
    """Return what a finished task left, or None if it has not finished."""
    status = tasks / key / "status.json"
    if not status.exists():
        return None
    return Outcome(key, tasks / key, json.loads(status.read_text(encoding="utf-8")), name)


def publish(workspace: Path, final: Path, status: dict[str, Any]) -> None:
    """Give a finished task's folder its name."""
    write_json(workspace / "status.json", status)
    (workspace / "lock").unlink(missing_ok=True)
    workspace.rename(final)
