"""What a run has done, is doing, and why a frame was or was not labelled."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from huozi.workflow import RunFolder, all_outcomes

KINDS = {
    "label_frame": "labels",
    "train_member": "training",
    "walk": "exploration",
    "look": "exploration",
    "test_member": "tests",
    "test_ensemble": "tests",
}


def find_runs(root: Path) -> list[dict[str, Any]]:
    """List the runs in a folder and directly below it, the latest first."""
    found: list[dict[str, Any]] = []
    for config in (*root.glob("config.yaml"), *root.glob("*/config.yaml")):
        folder = RunFolder(config.parent)
        try:
            settings = yaml.safe_load(config.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue  # somebody else's file
        verb = settings.get("verb", "train") if isinstance(settings, dict) else "unknown"
        events = list(folder.events())
        last: dict[str, Any] = events[-1] if events else {"event": "none", "time": 0.0}
        found.append(
            {
                "run": str(config.parent),
                "verb": verb,
                "last_event": last["event"],
                "seconds_ago": round(time.time() - last["time"]) if last["time"] else None,
            }
        )
    return sorted(found, key=lambda run: (run["seconds_ago"] is None, run["seconds_ago"]))


def status(path: Path) -> dict[str, Any]:
    """Tasks done, failed and in hand, cost, and the iterations so far.

    Raises
    ------
    FileNotFoundError
        If there is no such run.
    """
    folder = open_run(path)
    outcomes = all_outcomes(folder)
    stages = list(folder.events("stage"))
    records = [
        json.loads(p.read_text(encoding="utf-8")) for p in sorted(path.glob("iter-*/report.json"))
    ]
    # A run that goes on after its end, with more iterations, has results of the time before.
    results, begun = path / "results.json", stages[-1]["time"] if stages else 0.0
    finished = results.exists() and results.stat().st_mtime >= begun
    return {
        "run": str(path),
        "stage": stages[-1]["name"] if stages else "not begun",
        "doing": None if finished or not stages else in_hand(folder, stages),
        "finished": finished,
        "tasks_done": sum(o.done for o in outcomes),
        "tasks_failed": [
            {"task": str(o.folder), "kind": o.status.get("kind"), "reason": o.reason}
            for o in outcomes
            if not o.done
        ],
        "tasks_in_hand": len([p for p in (path / "tasks").glob(".*") if p.is_dir()]),
        "cost": costs(folder),
        "iterations": records,
    }


def in_hand(folder: RunFolder, stages: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how far the present stage is, and how long it still takes.

    Parameters
    ----------
    folder : RunFolder
    stages : list of dict
        Events with which the stages began; the last is the present one.

    Returns
    -------
    dict
        ``done`` and ``tasks``, and ``seconds_left`` at the pace of this stage or, as long as none
        of its tasks has finished, at that of the last one of its kind; None if there is none.
    """
    present = stages[-1]
    kind = present["name"].rpartition(": ")[2]
    same = [s for s in stages if s["name"].rpartition(": ")[2] == kind]
    ended = [task_times(folder, stage) for stage in same]
    paces = [(t[-1] - s["time"]) / len(t) for s, t in zip(same, ended) if t]
    left = present["tasks"] - present["cached"] - len(ended[-1])
    seconds = None
    if paces:
        since = time.time() - max([present["time"], *ended[-1]])
        seconds = round(max(0.0, left * paces[-1] - since))
    return {
        "done": present["cached"] + len(ended[-1]),
        "tasks": present["tasks"],
        "seconds_left": seconds,
    }


def task_times(folder: RunFolder, stage: dict[str, Any]) -> list[float]:
    """Return when tasks of a stage ended, since it began the last time."""
    return [
        e["time"]
        for e in folder.events("task")
        if e["stage"] == stage["name"] and e["time"] >= stage["time"]
    ]


def open_run(path: Path) -> RunFolder:
    """Return the folder of a run of `huozi learn` or `huozi label`.

    Raises
    ------
    FileNotFoundError
        If it is none.
    """
    if not (path / "tasks").exists():
        raise FileNotFoundError(f"{path} is no run with tasks (of `huozi learn` or `huozi label`)")
    return RunFolder(path)


def costs(folder: RunFolder) -> dict[str, dict[str, float]]:
    """Finished tasks and processor hours of each kind."""
    count: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    for outcome in all_outcomes(folder):
        written = json.loads((outcome.folder / "task.json").read_text(encoding="utf-8"))
        function = written["function"].rpartition(":")[2]
        kind = KINDS.get(function, function)
        count[kind] += 1
        seconds[kind] += outcome.status.get("cpu_seconds", 0.0)
    return {
        kind: {"tasks": count[kind], "cpu_hours": round(seconds[kind] / 3600, 4)}
        for kind in sorted(count)
    }


def decisions(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the decision on every frame that was ever looked at."""
    for file in sorted(path.glob("iter-*/decisions.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            if line:
                yield {"iteration": int(file.parent.name[5:]), **json.loads(line)}


def explain(path: Path, frame: str) -> list[dict[str, Any]]:
    """Why a frame was or was not labelled.

    Parameters
    ----------
    path : Path
    frame : str
        Its name (``i02w013#7``), or the beginning of it for several.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such run or frame.
    """
    open_run(path)
    every = list(decisions(path))
    exact = [d for d in every if d["frame"] == frame]
    found = exact or [d for d in every if d["frame"].startswith(frame)]
    if not found:
        some = ", ".join(d["frame"] for d in every[:3])
        raise ValueError(f"{path} has no frame {frame}; its frames are called {some}, ...")
    return found
