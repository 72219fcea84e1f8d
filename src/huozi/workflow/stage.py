"""A stage: tasks that may run at the same time, and how many of them must succeed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

from huozi.files import write_json
from huozi.workflow.execute import execute, failed
from huozi.workflow.executors import WorkerLostError
from huozi.workflow.run import RunFolder, held
from huozi.workflow.task import Outcome, Task, find_outcome, publish

Report = Callable[[str, int, int, int], None]
"""Called with the stage's name and the tasks finished, failed, in all."""

SHOWN = 3
"""Failures that an error shows."""


class QuorumError(ValueError):
    """Too few tasks of a stage succeeded."""


@dataclass(frozen=True)
class Runner:
    """How the tasks of one run are run.

    Parameters
    ----------
    folder : RunFolder
        Its ``tasks`` hold the results, its events tell the course.
    executor : Executor
    timeout : float, optional
        Seconds a task may take.
    report : callable, optional
        For a display.
    """

    folder: RunFolder
    executor: Executor
    timeout: float | None = None
    report: Report | None = None

    @property
    def tasks(self) -> Path:
        """Folder of all tasks."""
        return self.folder.path / "tasks"

    def run(self, stage: str, tasks: Sequence[Task], quorum: float = 1.0) -> list[Outcome]:
        """Run what has not finished and return the outcomes in the order of the tasks.

        Parameters
        ----------
        stage : str
            For people.
        tasks : sequence of Task
        quorum : float
            Part of the tasks that must succeed.

        Raises
        ------
        QuorumError
            As soon as too many have failed; what still waits is then not run.
        """
        descriptions = [task.describe() for task in tasks]
        keys = [task.key() for task in tasks]
        outcomes: dict[str, Outcome] = {}
        waiting: dict[str, int] = {}
        for i, key in enumerate(keys):
            found = find_outcome(self.tasks, key, tasks[i].name)
            if found is not None:
                outcomes[key] = found
            else:
                waiting.setdefault(key, i)
        self.folder.log(
            "stage", name=stage, tasks=len(tasks), cached=sum(key in outcomes for key in keys)
        )
        self._check(stage, keys, outcomes, quorum)
        self._show(stage, keys, outcomes)
        futures: dict[Future[None], str] = {}
        for key, i in waiting.items():
            files = {name: str(Path(path).resolve()) for name, path in tasks[i].files.items()}
            future = self.executor.submit(
                execute, descriptions[i], files, str(self.tasks.resolve()), self.timeout
            )
            futures[future] = key
        try:
            for future in as_completed(futures):
                key = futures[future]
                i = waiting[key]
                outcomes[key] = self._collect(future, key, tasks[i].name, descriptions[i])
                self._note(stage, outcomes[key])
                self._show(stage, keys, outcomes)
                self._check(stage, keys, outcomes, quorum)
        except BaseException:
            for future in futures:
                with suppress(NotImplementedError):  # Parsl's futures cannot be cancelled
                    future.cancel()
            raise
        return [outcomes[key] for key in keys]

    def _collect(
        self, future: Future[None], key: str, name: str, description: dict[str, Any]
    ) -> Outcome:
        """Outcome of a task that came back, or whose worker did not."""
        try:
            future.result()
        except Exception as error:
            if not _is_lost(error):
                raise
            workspace = self.tasks / f".{key}"
            with held(workspace, wait=True):
                if not (self.tasks / key).exists():
                    if not (workspace / "task.json").exists():  # killed before it began
                        write_json(workspace / "task.json", {**description, "attempts": 0})
                    publish(workspace, self.tasks / key, failed("killed", str(error)))
        outcome = find_outcome(self.tasks, key, name)
        if outcome is None:
            raise FileNotFoundError(
                f"a worker finished task {key} but {self.tasks / key} is not there: all machines "
                "must share the run's folder"
            )
        return outcome

    def _note(self, stage: str, outcome: Outcome) -> None:
        status = outcome.status
        known = {k: status[k] for k in ("kind", "reason", "cpu_seconds") if k in status}
        self.folder.log(
            "task",
            stage=stage,
            key=outcome.key,
            name=outcome.name,
            state=status["state"],
            lost_workers=getattr(self.executor, "lost_workers", None),
            **known,
        )

    def _show(self, stage: str, keys: list[str], outcomes: dict[str, Outcome]) -> None:
        if self.report is not None:
            finished = sum(key in outcomes for key in keys)
            bad = sum(key in outcomes and not outcomes[key].done for key in keys)
            self.report(stage, finished, bad, len(keys))

    def _check(
        self, stage: str, keys: list[str], outcomes: dict[str, Outcome], quorum: float
    ) -> None:
        bad = {key: outcomes[key] for key in keys if key in outcomes and not outcomes[key].done}
        count = sum(key in bad for key in keys)
        allowed = len(keys) - math.ceil(quorum * len(keys) - 1e-9)
        if count <= allowed:
            return
        shown = "; ".join(f"{o.folder}: {o.reason}" for o in list(bad.values())[:SHOWN])
        more = f"; and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise QuorumError(
            f"stage {stage}: {count} of {len(keys)} tasks failed, {allowed} may ({shown}{more}); "
            f"look at their log.txt, then `huozi retry {self.folder.path} --failed`"
        )


def _is_lost(error: Exception) -> bool:
    """Tell whether the worker was lost, in the words of either executor."""
    if isinstance(error, (WorkerLostError, BrokenProcessPool)):
        return True
    return type(error).__module__.startswith("parsl.")


def clear_failed(folder: RunFolder) -> list[Outcome]:
    """Forget all failed tasks of a run, so that they are tried again; return what they were."""
    found = [o for o in all_outcomes(folder) if not o.done]
    for outcome in found:
        rmtree(outcome.folder)
    return found


def all_outcomes(folder: RunFolder) -> list[Outcome]:
    """Everything that has finished in a run."""
    tasks = folder.path / "tasks"
    names = sorted(p.name for p in tasks.glob("[!.]*")) if tasks.exists() else []
    return [outcome for name in names if (outcome := find_outcome(tasks, name)) is not None]
