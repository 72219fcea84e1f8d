"""Tasks run once, whatever is killed; failures are results."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path

import pytest

from huozi.workflow import (
    LocalExecutor,
    QuorumError,
    RunFolder,
    Runner,
    Task,
    all_outcomes,
    clear_failed,
    open_executor,
)
from tests.workflow import functions

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
    with open_executor("local", 2, tmp_path_factory.mktemp("pool")) as opened:
        yield opened


@pytest.fixture
def runner(executor: Executor, tmp_path: Path) -> Runner:
    return Runner(RunFolder(tmp_path / "run"), executor)


def numbers(*values: int) -> list[Task]:
    return [Task(functions.square, {"x": x}, name=f"number {x}") for x in values]


def ledger(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "ledger"
    path.touch()
    monkeypatch.setenv("LEDGER", str(path))
    return path


def test_the_key_knows_content_and_not_places(tmp_path: Path) -> None:
    for name, text in (("a", "same"), ("b", "same"), ("c", "other")):
        (tmp_path / name).write_text(text)
    a, b, c = (Task(functions.length, {}, {"data": tmp_path / n}).key() for n in "abc")
    assert a == b != c
    first = Task(functions.square, {"x": 1, "y": 2.5}, name="one")
    assert first.key() == Task(functions.square, {"y": 2.5, "x": 1}, name="two").key()
    assert first.key() != Task(functions.newer, {"x": 1, "y": 2.5}).key()
    with pytest.raises(ValueError, match="JSON"):
        Task(functions.square, {"x": float("nan")}).key()


def test_results_come_in_order_and_only_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = ledger(monkeypatch, tmp_path)
    with open_executor("local", 2, tmp_path) as executor:
        runner = Runner(RunFolder(tmp_path / "run"), executor)
        outcomes = runner.run("squares", numbers(3, 1, 2, 3))
        assert [o.result["square"] for o in outcomes] == [9, 1, 4, 9]
        assert (outcomes[0].folder / "note.txt").read_text() == "kept"
        assert sorted(count.read_text().split()) == ["1", "2", "3"]
        again = runner.run("squares", numbers(1, 2, 3, 4))
    assert [o.result["square"] for o in again] == [1, 4, 9, 16]
    assert sorted(count.read_text().split()) == ["1", "2", "3", "4"]
    assert [e["cached"] for e in runner.folder.events("stage")] == [0, 3]
    assert not list((tmp_path / "run" / "tasks").glob(".*"))


def test_a_moved_run_is_not_repeated(runner: Runner, executor: Executor, tmp_path: Path) -> None:
    before = runner.run("squares", numbers(5))[0].status
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    moved = Runner(RunFolder(tmp_path / "elsewhere"), executor)
    assert moved.run("squares", numbers(5))[0].status == before


def test_no_tasks_are_no_error(runner: Runner) -> None:
    assert runner.run("nothing", []) == []


def test_failures_are_results_within_the_quorum(runner: Runner) -> None:
    tasks = [Task(functions.picky, {"x": x}, name=f"frame {x}") for x in range(5)]
    outcomes = runner.run("label", tasks, quorum=0.6)
    assert [o.done for o in outcomes] == [True, False, True, False, True]
    bad = outcomes[1]
    assert bad.reason == "1 is odd"
    assert "child of 1" in bad.log_tail
    assert "Traceback" in bad.log_tail
    assert bad.status["kind"] == "error"
    events = [e for e in runner.folder.events("task") if e["state"] == "failed"]
    assert {e["name"] for e in events} == {"frame 1", "frame 3"}
    with pytest.raises(QuorumError, match=r"2 of 5 tasks failed, 1 may .*1 is odd.*huozi retry"):
        runner.run("label", tasks, quorum=0.8)
    assert [o.key for o in clear_failed(runner.folder)] == sorted(
        o.key for o in outcomes if not o.done
    )
    assert all(o.done for o in all_outcomes(runner.folder))


def test_a_hopeless_stage_stops_early(runner: Runner) -> None:
    tasks = [Task(functions.picky, {"x": 1 + 2 * x, "seconds": 0.1}) for x in range(40)]
    with pytest.raises(QuorumError):
        runner.run("label", tasks, quorum=0.95)
    assert len(all_outcomes(runner.folder)) < 20


@pytest.mark.parametrize(("times", "state"), [(1, "done"), (9, "failed")])
def test_a_killed_worker_costs_its_own_task_alone(tmp_path: Path, times: int, state: str) -> None:
    with open_executor("local", 2, tmp_path) as executor:
        assert isinstance(executor, LocalExecutor)
        runner = Runner(RunFolder(tmp_path / "run"), executor)
        inputs = {"ledger": str(tmp_path / "kills"), "times": times}
        tasks = [Task(functions.mortal, inputs), *numbers(1, 2, 3, 4)]
        outcomes = runner.run("stage", tasks, quorum=0.5)
        assert executor.lost_workers == (1 if state == "done" else 3)
    assert [o.done for o in outcomes[1:]] == [True] * 4
    assert all(o.status["attempts"] == 1 for o in outcomes[1:])
    assert outcomes[0].status["state"] == state
    if state == "done":
        assert outcomes[0].status["attempts"] == 2
    else:
        assert outcomes[0].status["kind"] == "killed"
        assert "killed 3 times" in outcomes[0].reason


def test_only_tasks_that_can_resume_find_their_earlier_work(runner: Runner, tmp_path: Path) -> None:
    tasks = [
        Task(functions.patient, {}),
        Task(functions.forgetful, {"ledger": str(tmp_path / "once")}),
    ]
    assert [o.result for o in runner.run("stage", tasks)] == ["done", False]


def test_a_task_that_takes_too_long_is_stopped(executor: Executor, tmp_path: Path) -> None:
    runner = Runner(RunFolder(tmp_path / "run"), executor, timeout=0.2)
    (outcome,) = runner.run("stage", [Task(functions.sleepy, {})], quorum=0.0)
    assert outcome.status["kind"] == "timeout"
    assert "0.2 s" in outcome.reason


DRIVER = """
import sys
from pathlib import Path
from huozi.workflow import RunFolder, Runner, Task, open_executor
from tests.workflow import functions
if __name__ == "__main__":
    with open_executor("local", 2, Path(sys.argv[1])) as executor:
        tasks = [Task(functions.square, {"x": x, "seconds": 0.4}) for x in range(8)]
        Runner(RunFolder(Path(sys.argv[1])), executor).run("squares", tasks)
"""


def test_a_killed_driver_takes_its_workers_along_and_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = ledger(monkeypatch, tmp_path)
    script, run = tmp_path / "driver.py", tmp_path / "run"
    script.write_text(DRIVER)
    command = [sys.executable, str(script), str(run)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    driver = subprocess.Popen(command, env=environment, start_new_session=True)
    deadline = time.time() + 60
    while len(all_outcomes(RunFolder(run))) < 3 and time.time() < deadline:
        time.sleep(0.02)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    while _members(driver.pid) and time.time() < deadline:
        time.sleep(0.05)
    assert not _members(driver.pid), "workers outlive their driver"
    finished = {o.key: o.status for o in all_outcomes(RunFolder(run))}
    assert 3 <= len(finished) < 8
    subprocess.run(command, env=environment, check=True)
    after = {o.key: o.status for o in all_outcomes(RunFolder(run))}
    assert len(after) == 8
    assert {key: after[key] for key in finished} == finished
    executed = count.read_text().split()
    assert len(executed) - len(set(executed)) <= 2, "only what was in hand may run twice"


def _members(group: int) -> list[int]:
    """Living processes of a process group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def test_parsl_gives_the_same_keys_and_results(
    tmp_path: Path, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("parsl", reason="the extra `cluster` is not installed")
    script = tmp_path / "parsl_run.py"
    script.write_text(DRIVER.replace('"local"', '"parsl"').replace("0.4", "0"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script), str(tmp_path / "parsl")]
    subprocess.run(command, env=environment, cwd=tmp_path, check=True)
    tasks = [Task(functions.square, {"x": x, "seconds": 0}) for x in range(8)]
    here = Runner(RunFolder(tmp_path / "local"), executor).run("squares", tasks)
    there = all_outcomes(RunFolder(tmp_path / "parsl"))
    assert {o.key: o.result for o in here} == {o.key: o.result for o in there}


def test_a_parsl_file_without_config_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("parsl", reason="the extra `cluster` is not installed")
    (tmp_path / "cluster.py").write_text("configuration = 1\n")
    with (
        pytest.raises(ValueError, match="defines no `config`"),
        open_executor("parsl", 2, tmp_path, tmp_path / "cluster.py"),
    ):
        pass


def test_a_status_says_what_it_cost(runner: Runner) -> None:
    (outcome,) = runner.run("stage", numbers(7))
    written = json.loads((outcome.folder / "task.json").read_text())
    assert written["inputs"] == {"x": 7}
    assert written["function"] == "tests.workflow.functions:square"
    assert outcome.status["wall_seconds"] > 0
    assert outcome.status["cpu_seconds"] >= 0
