"""The whole loop on copper with an analytic label engine: results, faults, kills, executors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write as ase_write
from typer.testing import CliRunner

from huozi.cli.learn import stored_settings
from huozi.cli.main import app
from huozi.learning import LearnSettings, learn
from huozi.learning.page import learning_page
from huozi.potential import load_ensemble, load_model
from huozi.systems import read
from huozi.workflow import RunFolder, all_outcomes

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
MAIN = "from huozi.cli.main import main; main()"
SETTINGS = {
    "level": {
        "engine": "ase",
        "calculator": "tests.labels.calculators:FragileEMT",
        "parameters": {"fault": 0.14, "seconds": 0.1},
        "method": "EMT",
    },
    "initial": 6,
    "control": 3,
    "models": 2,
    "quorum": 0.4,
    "explore": {
        "temperatures": [300, 900],
        "picoseconds": [0.04],
        "timestep": 2.0,
        "frames": 5,
        "generated": 5,
    },
    "select": {"target": 0.02, "batch": 5},
    "train": {
        "steps": 20,
        "architecture": {
            "cutoff": 3.6,
            "radial": 5,
            "degree": 2,
            "channels": 4,
            "partners": 2,
            "hidden": [8],
        },
    },
    "iterations": 2,
    "random_control": True,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a structure and settings; compiled programs are shared between the runs."""
    folder = tmp_path_factory.mktemp("learning")
    ase_write(folder / "copper.extxyz", bulk("Cu", cubic=True))
    settings = {"structures": [str(folder / "copper.extxyz")], **SETTINGS}
    (folder / "learn.yaml").write_text(yaml.safe_dump(settings))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(folder / "cache"))
        patch.setenv("PYTHONPATH", str(ROOT))
        yield folder


@pytest.fixture(scope="module")
def reference(place: Path) -> Path:
    learn(LearnSettings.read(place / "learn.yaml"), place / "reference")
    return place / "reference"


def test_a_run_leaves_data_model_and_report(reference: Path) -> None:
    results = json.loads((reference / "results.json").read_text())
    data = read(reference / "data.extxyz")
    assert len(data) == results["training_frames"]
    for frame in data:
        atoms = frame.system.to_atoms()
        atoms.calc = EMT()
        assert frame.labels.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(frame.labels.forces, atoms.get_forces(), atol=1e-9)
        assert frame.info["level"] == "EMT"
    model = load_model(reference / "model.safetensors")
    assert model.symbols == ("Cu",)
    members = load_ensemble(reference / "ensemble.safetensors").members
    assert len(members) == 3, "the final model and the two of the last iteration"
    frame = data[0].system
    np.testing.assert_array_equal(members[0].evaluate(frame).forces, model.evaluate(frame).forces)
    assert results["final"]["calibration"]["scale"] > 0
    page = (reference / "report.html").read_text()
    for word in (
        "Not converged",
        "random selection",
        "Processor",
        "SCF did not converge",
        "canvas",
    ):
        assert word in page, word
    first, second = results["iterations"]
    assert second["training_frames"] == (
        first["training_frames"] + first["selected"] + first["control_frames"]
    )
    assert second["random_training_frames"] <= second["training_frames"]
    assert f"on {first['control_frames']} control frames" in first["bounds"], "its own, not earlier"
    assert results["failed_labels"], "one in seven labels is made to fail"
    assert "made to fail" in results["failed_labels"][0]["reason"]


def test_a_run_without_a_final_model_has_a_report(reference: Path) -> None:
    settings = LearnSettings(**stored_settings(reference / "config.yaml"))
    results = json.loads((reference / "results.json").read_text())
    part = {**results, "final": None, "iterations": results["iterations"][:1]}
    page = learning_page(RunFolder(reference), settings, part).html()
    assert "Still running, after iteration 1 of at most 2" in page
    assert "of the final model" not in page


def test_control_frames_are_new_when_they_are_used(reference: Path) -> None:
    for folder in sorted(reference.glob("iter-*")):
        learnt = {f.system.positions.tobytes() for f in read(folder / "data.extxyz")}
        for frame in read(folder / "control.extxyz"):
            assert frame.system.positions.tobytes() not in learnt


def test_a_finished_run_is_not_done_again(reference: Path, place: Path) -> None:
    before = {o.key: o.status for o in all_outcomes(RunFolder(reference))}
    data, results = (reference / "data.extxyz").read_bytes(), reference / "results.json"
    numbers = json.loads(results.read_text())
    learn(LearnSettings.read(place / "learn.yaml"), reference)
    assert {o.key: o.status for o in all_outcomes(RunFolder(reference))} == before
    assert (reference / "data.extxyz").read_bytes() == data
    assert json.loads(results.read_text()) == numbers


def test_other_settings_are_refused_in_the_same_folder(reference: Path, place: Path) -> None:
    other = LearnSettings.read(
        None, {**yaml.safe_load((place / "learn.yaml").read_text()), "seed": 5, "initial": 7}
    )
    with pytest.raises(ValueError, match="other initial, seed"):
        learn(other, reference)


def test_the_verbs_that_look_into_a_run(reference: Path) -> None:
    def ask(*command: str) -> dict:
        result = CliRunner().invoke(app, [*command, "--json"], catch_exceptions=False)
        assert result.exit_code == 0
        return json.loads(result.stdout)

    assert ask("runs", str(reference.parent))["runs"][0]["verb"] == "learn"
    found = ask("status", str(reference))
    assert found["finished"]
    assert found["doing"] is None
    assert len(found["iterations"]) == 2
    assert found["tasks_failed"]
    assert found["cost"]["training"]["tasks"] >= 4
    whole = ask("explain", str(reference), "i01")["frames"]
    assert len(whole) == found["iterations"][0]["frames_seen"]
    assert len(ask("explain", str(reference), whole[3]["frame"])["frames"]) == 1
    for verb in ("status", "explain", "retry"):
        text = CliRunner().invoke(app, [verb, str(reference), "--help"]).stdout
        assert "Example:" in text
    wrong = CliRunner().invoke(app, ["explain", str(reference), "nobody"])
    assert "its frames are called i01" in str(wrong.exception)


def start(place: Path, run: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", MAIN, "learn", str(place / "learn.yaml"), "--out", str(run)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def wait_for(run: Path, stage: str, driver: subprocess.Popen) -> None:
    """Wait until a stage has begun and a task of it is in hand."""
    deadline = time.time() + 600
    while time.time() < deadline and driver.poll() is None:
        begun = any(e["name"] == stage for e in RunFolder(run).events("stage"))
        if begun and list((run / "tasks").glob(".*/task.json")):
            return
        time.sleep(0.02)
    raise AssertionError(f"stage {stage} did not begin; the command ended with {driver.poll()}")


def kill_worker(run: Path, driver: subprocess.Popen) -> None:
    """Kill the process that holds the lock of a task."""
    children = Path(f"/proc/{driver.pid}/task")
    for children_file in children.glob("*/children"):
        for child in children_file.read_text().split():
            command = Path(f"/proc/{child}/cmdline").read_bytes()
            if b"spawn_main" in command:
                os.kill(int(child), signal.SIGKILL)
                return


def test_kills_anywhere_change_nothing_and_repeat_nothing(reference: Path, place: Path) -> None:
    run = place / "killed"
    finished: dict[str, dict] = {}
    for worker, stage in (
        ("initial labels", "iteration 1: train"),
        ("iteration 1: explore", "iteration 1: label"),
        ("iteration 2: train", "iteration 2: explore"),
    ):
        driver = start(place, run)
        wait_for(run, worker, driver)
        kill_worker(run, driver)
        wait_for(run, stage, driver)
        driver.kill()
        driver.wait()
        now = {o.key: o.status for o in all_outcomes(RunFolder(run))}
        assert {key: now[key] for key in finished} == finished
        finished = now
    assert start(place, run).wait() == 0
    now = {o.key: o.status for o in all_outcomes(RunFolder(run))}
    assert {key: now[key] for key in finished} == finished
    assert (run / "data.extxyz").read_bytes() == (reference / "data.extxyz").read_bytes()
    assert set(now) == {o.key for o in all_outcomes(RunFolder(reference))}
    assert any(event["lost_workers"] for event in RunFolder(run).events("task"))


def test_parsl_learns_the_same(reference: Path, place: Path) -> None:
    pytest.importorskip("parsl", reason="the extra `cluster` is not installed")
    run = place / "parsl"
    command = ["learn", str(place / "learn.yaml"), "--executor", "parsl", "--out", str(run)]
    subprocess.run(
        [sys.executable, "-c", MAIN, *command],
        check=True,
        cwd=place,
        stderr=subprocess.DEVNULL,
    )
    assert (run / "data.extxyz").read_bytes() == (reference / "data.extxyz").read_bytes()
    assert {o.key for o in all_outcomes(RunFolder(run))} == {
        o.key for o in all_outcomes(RunFolder(reference))
    }
