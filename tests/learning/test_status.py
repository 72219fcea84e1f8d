"""Time that a stage still takes, from events with known times."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from huozi.learning import status
from huozi.learning.status import find_runs


def run(path: Path, events: list[dict[str, Any]]) -> Path:
    (path / "tasks").mkdir()
    (path / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    return path


def stage(name: str, when: float, tasks: int, cached: int = 0) -> dict[str, Any]:
    return {"event": "stage", "name": name, "time": when, "tasks": tasks, "cached": cached}


def ended(name: str, when: float) -> dict[str, Any]:
    return {"event": "task", "stage": name, "time": when}


def test_runs_are_listed_latest_first_and_other_files_passed_over(tmp_path: Path) -> None:
    for name, text, ago in (("now", "verb: md", 0), ("old", "{}", 500), ("other", "a: {{ x }}", 9)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(text)
        event = {"event": "start", "time": time.time() - ago}
        (tmp_path / name / "events.jsonl").write_text(json.dumps(event) + "\n")
    assert [Path(found["run"]).name for found in find_runs(tmp_path)] == ["now", "old"]


def test_a_run_that_goes_on_after_its_end_is_not_finished(tmp_path: Path) -> None:
    folder = run(tmp_path, [stage("iteration 1: label", time.time() - 100, 1)])
    (folder / "results.json").write_text("{}")
    assert status(folder)["finished"]
    (folder / "events.jsonl").write_text(json.dumps(stage("more", time.time() + 100, 1)) + "\n")
    assert not status(folder)["finished"]


def test_a_run_that_has_not_begun(tmp_path: Path) -> None:
    assert status(run(tmp_path, []))["doing"] is None


def test_time_left_is_at_the_pace_of_the_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1030.0)
    name = "iteration 1: label"
    events = [stage(name, 1000.0, 8, 2), ended(name, 1010.0), ended(name, 1020.0)]
    # Two tasks took 20 s, four are left, and 10 s have gone by since.
    found = status(run(tmp_path, events))["doing"]
    assert found == {"done": 4, "tasks": 8, "seconds_left": 30}


def test_time_left_is_at_the_pace_of_the_iteration_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 2010.0)
    before, now = "iteration 1: train", "iteration 2: train"
    events = [stage(before, 1000.0, 1), ended(before, 1100.0), stage(now, 2000.0, 2)]
    found = status(run(tmp_path, events))["doing"]
    assert found == {"done": 0, "tasks": 2, "seconds_left": 190}


def test_without_a_pace_no_time_is_told(tmp_path: Path) -> None:
    found = status(run(tmp_path, [stage("initial labels", 1000.0, 3)]))["doing"]
    assert found["seconds_left"] is None


def test_a_replay_forgets_the_first_attempt_but_not_its_pace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 9004.0)
    name = "initial labels"
    first = [stage(name, 1000.0, 3), ended(name, 1005.0)]
    found = status(run(tmp_path, [*first, stage(name, 9000.0, 3, 1)]))["doing"]
    assert (found["done"], found["tasks"]) == (1, 3)
    assert found["seconds_left"] == 6  # two left at 5 s, 4 s gone
