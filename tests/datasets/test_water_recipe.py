"""The recipe of the water data set: inputs, parsing, resuming, recorded failures."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms

RECIPE = Path(__file__).parents[2] / "datasets" / "water"
SAVED = Path(__file__).with_name("cp2k_water")  # CP2K 2023.1 on the molecule of `water`
if not RECIPE.exists():
    pytest.skip("datasets/water is not part of this copy", allow_module_level=True)
sys.path.insert(0, str(RECIPE))

import classical  # noqa: E402
import cp2k  # noqa: E402
import label  # noqa: E402
import make  # noqa: E402


@pytest.fixture
def water() -> Atoms:
    positions = [[0.0, 0.0, 0.0], [0.7570, 0.5859, 0.0], [-0.7570, 0.62, 0.03]]
    frame = label.canonical(Atoms("OHH", positions, cell=[6, 6, 6], pbc=True))
    frame.info = {"temperature": 300.0, "source": "one molecule"}
    return frame


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Stand in for CP2K by its saved output; returns the list of runs made."""
    made = []

    def run(folder: Path, project: str, text: str, lock: int, ranks: int = 1) -> float:
        made.append((folder.name, project))
        (folder / f"{project}.inp").write_text(text)
        shutil.copy(SAVED / "final.out", folder / f"{project}.out")
        shutil.copy(SAVED / "final-forces-1_0.xyz", folder / f"{project}-forces-1_0.xyz")
        return 1.0

    monkeypatch.setattr(cp2k, "run", run)
    return made


def test_input_holds_the_frame_and_the_level_of_theory(water):
    text = cp2k.dft_input(water, "final", cp2k.FINAL)
    for expected in (
        "PARAMETRIZATION REVPBE",
        "REFERENCE_FUNCTIONAL revPBE",
        f"CUTOFF {cp2k.FINAL.cutoff}",
        "RUN_TYPE ENERGY_FORCE",
        "SCF_GUESS RESTART",
        "ABC 6.00000000 6.00000000 6.00000000",
        "H -0.75700000 0.62000000 0.03000000",
    ):
        assert expected in text
    assert text.count("&END") == len(re.findall(r"&(?!END)", text))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"symbols": "NHH"}, "found N"), ({"pbc": [True, True, False]}, "periodic")],
)
def test_a_frame_outside_the_level_of_theory_is_refused(water, change, message):
    water.symbols = change.get("symbols", "OHH")
    water.pbc = change.get("pbc", True)
    with pytest.raises(ValueError, match=message):
        cp2k.dft_input(water, "final", cp2k.FINAL)


def test_saved_output_is_read_in_ev_and_angstrom(water):
    outcome = cp2k.read_output((SAVED / "final.out").read_text())
    assert outcome.problem == ""
    assert outcome.scf_steps == 5
    assert outcome.energy == pytest.approx(-17.24491915048181 * 27.211386245988, rel=1e-9)
    forces = cp2k.read_forces((SAVED / "final-forces-1_0.xyz").read_text(), list(water.symbols))
    assert forces[1, 0] == pytest.approx(0.010365427181 * 51.42206747, rel=1e-8)
    assert abs(forces.sum(axis=0)).max() < 1e-3


def test_forces_of_other_atoms_are_refused():
    with pytest.raises(ValueError, match="do not match"):
        cp2k.read_forces((SAVED / "final-forces-1_0.xyz").read_text(), ["O", "H"])


def test_a_labelled_frame_is_not_computed_again(water, runs, tmp_path):
    label.label_frame(water, tmp_path)
    label.label_frame(water, tmp_path)
    assert [project for _, project in runs] == ["guess", "final"]
    out = tmp_path / "labels.extxyz.gz"
    assert label.write_labels([water], tmp_path, out) == []
    frame = ase.io.read(out)
    assert frame.get_potential_energy() == pytest.approx(-469.25815580, abs=1e-6)
    assert frame.get_forces()[0, 0] == pytest.approx(-0.85141971, abs=1e-7)
    assert np.array_equal(frame.positions, water.positions)
    assert frame.info["source"] == "one molecule"


def test_equal_frames_make_equal_files(water, tmp_path):
    for name in ("a.extxyz.gz", "b.extxyz.gz"):
        label.write_frames(tmp_path / name, [water])
    assert (tmp_path / "a.extxyz.gz").read_bytes() == (tmp_path / "b.extxyz.gz").read_bytes()


def test_a_killed_frame_goes_on_with_the_run_that_is_missing(water, runs, monkeypatch, tmp_path):
    run = cp2k.run

    def killed(folder: Path, project: str, *rest: object) -> float:
        if project == "final":
            (folder / "final.inp").write_text(rest[0])
            (folder / "final.out").write_text("SCF WAVEFUNCTION OPTIMIZATION\n")
            raise InterruptedError("killed")
        return run(folder, project, *rest)

    monkeypatch.setattr(cp2k, "run", killed)
    with pytest.raises(InterruptedError):
        label.label_frame(water, tmp_path)
    assert label.labelled(water, tmp_path) is None
    assert not label.is_done(label.frame_folder(water, tmp_path))
    monkeypatch.setattr(cp2k, "run", run)
    label.label_frame(water, tmp_path)
    assert [project for _, project in runs] == ["guess", "final"]
    assert label.labelled(water, tmp_path) is not None


PROGRAM = """#!/bin/sh
project=$(basename "$4" .out)
echo "$(basename "$PWD") $project" >> "$RUNS"
[ -n "$SLOW" ] && [ "$project" = final ] && sleep 60
cp "$SAVED/final.out" "$4"
cp "$SAVED/final-forces-1_0.xyz" "$project-forces-1_0.xyz"
"""


def test_sigkill_of_labelling_repeats_nothing_that_was_finished(water, tmp_path):
    """The saved output of CP2K, handed out by a program of that name that can be slow."""
    moved = water.copy()
    moved.positions += 0.5
    ase.io.write(tmp_path / "frames.extxyz", [water, moved])
    program, runs = tmp_path / "bin" / "cp2k.psmp", tmp_path / "runs"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "RUNS": str(runs), "SAVED": str(SAVED)}
    out, work = tmp_path / "labels.extxyz", tmp_path / "work"
    command = [sys.executable, RECIPE / "label.py", tmp_path / "frames.extxyz"]
    command += ["--out", out, "--work", work, "--jobs", "1"]
    started = subprocess.Popen(
        command, env=environment | {"SLOW": "1"}, start_new_session=True, stdout=subprocess.DEVNULL
    )
    while "final" not in (runs.read_text() if runs.exists() else ""):
        assert started.poll() is None
        time.sleep(0.05)
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    assert not out.exists()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    projects = [line.split()[1] for line in runs.read_text().splitlines()]
    assert projects == ["guess", "final", "final", "guess", "final"]
    assert len(ase.io.read(out, ":")) == 2


def test_frames_that_are_labelled_elsewhere_are_not_made_again(water, runs, tmp_path):
    walkers = [classical.Walker(300.0, 1.0, number, round=1) for number in range(3)]
    sampled = []

    def walk(walker: classical.Walker, work: Path) -> list[Atoms]:
        sampled.append(walker.number)
        frame = water.copy()
        frame.positions += 0.1 * walker.number
        frame.info = classical.walker_info(walker, 1.0)
        return [label.canonical(frame)]

    options = argparse.Namespace(work=tmp_path, ranks=1, retry=False, jobs=2)
    out = tmp_path / "labels.extxyz.gz"
    make.gather(out, walkers[1:2], walk, options)
    shutil.rmtree(tmp_path / "frames")
    make.gather(out, walkers, walk, options)
    assert sorted(sampled) == [0, 1, 2]
    frames = ase.io.read(out, ":")
    assert [frame.info["source"] for frame in frames] == [walker.name for walker in walkers]


def test_unconverged_orbitals_are_a_failure_with_the_end_of_the_log(water, runs, tmp_path):
    folder = label.frame_folder(water, tmp_path)
    folder.mkdir(parents=True)
    for project, text in label.inputs(water).items():
        output = (SAVED / "final.out").read_text().replace("loop converged", "loop FAILED")
        (folder / f"{project}.inp").write_text(text)
        (folder / f"{project}.out").write_text(output)
    label.label_frame(water, tmp_path)
    failure = json.loads((folder / "failure.json").read_text())
    assert failure["problem"] == "SCF did not converge"
    assert "PROGRAM ENDED AT" in failure["log"]
    assert runs == []
    assert label.write_labels([water], tmp_path, tmp_path / "labels.extxyz") == [folder]
    assert not (tmp_path / "labels.extxyz").exists()
    label.label_frame(water, tmp_path, retry=True)
    assert label.labelled(water, tmp_path) is not None


def test_a_held_folder_is_busy_until_the_last_holder_ends(water, runs, tmp_path):
    folder = label.frame_folder(water, tmp_path)
    with label.exclusive(folder) as lock:
        child = subprocess.Popen(["sleep", "60"], pass_fds=(lock,))
    try:
        with pytest.raises(label.BusyError, match="another process"):
            label.label_frame(water, tmp_path)
    finally:
        child.kill()
        child.wait()
    label.label_frame(water, tmp_path)
    assert label.is_done(folder)


@pytest.mark.parametrize("molecules", [27, 32])
def test_walkers_differ_and_start_without_close_contacts(molecules):
    walkers = classical.round0_walkers()
    assert len({walker.name for walker in walkers}) == 45
    assert {walker.density for walker in walkers[:9]} == {0.85, 1.0, 1.15}
    box = classical.starting_box(1.15, np.random.default_rng(0), molecules)
    grams = box.get_masses().sum() / 6.02214076e23
    assert grams / (box.get_volume() * 1e-24) == pytest.approx(1.15, rel=1e-4)
    distances = box.get_all_distances(mic=True)
    apart = np.arange(len(box))[:, None] // 3 != np.arange(len(box)) // 3
    assert distances[apart].min() > classical.CLOSEST


def test_molecules_are_made_whole():
    box = classical.starting_box(1.0, np.random.default_rng(1), molecules=8)
    moved = box.copy()
    moved.positions += [30.0, -17.0, 5.0]
    whole = classical.whole_molecules(moved)
    oxygen = whole.get_scaled_positions(wrap=False)[::3]
    assert ((oxygen >= 0) & (oxygen < 1)).all()
    assert whole.get_distance(0, 1) == pytest.approx(box.get_distance(0, 1))
    assert np.allclose(
        whole.get_all_distances(mic=True), box.get_all_distances(mic=True), atol=1e-9
    )


@pytest.mark.skipif(shutil.which("cp2k.psmp") is None, reason="needs CP2K (cp2k.psmp)")
def test_cp2k_takes_the_inputs(water, monkeypatch, tmp_path):
    coarse = replace(cp2k.FINAL, cutoff=200, rel_cutoff=30)
    monkeypatch.setattr(cp2k, "FINAL", coarse)
    label.label_frame(water, tmp_path)
    frame = label.labelled(water, tmp_path)
    assert frame is not None, (label.frame_folder(water, tmp_path) / "failure.json").read_text()
    assert frame.get_potential_energy() == pytest.approx(-469.2, abs=0.5)
