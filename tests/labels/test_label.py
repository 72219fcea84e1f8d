"""Labelling a data set: provenance, failures, resume, the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators import emt
from ase.io import write as ase_write
from typer.testing import CliRunner

from huozi.cli.main import app
from huozi.labels import AseLevel, PyscfLevel, XtbLevel, isolated_atoms, label
from huozi.labels.run import label_task, with_label
from huozi.learning import find_runs, status
from huozi.systems import Dataset, Frame, System, fit_e0, read
from huozi.workflow import QuorumError, RunFolder, Runner, all_outcomes, open_executor

EMT = AseLevel(calculator="ase.calculators.emt:EMT")
FRAGILE = AseLevel(calculator="tests.labels.calculators:FragileEMT", parameters={"fault": 0.3})


def copper(count: int) -> list[Frame]:
    frames = []
    for seed in range(count):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, seed=seed)
        frames.append(Frame(System.from_atoms(atoms), source=f"copper#{seed}"))
    return frames


def test_labels_carry_their_origin_and_failures_their_reason(tmp_path: Path) -> None:
    frames = copper(20)
    with open_executor("local", 2, tmp_path) as executor:
        runner = Runner(RunFolder(tmp_path), executor)
        good = label(frames, EMT, runner)
        partly = label(frames, FRAGILE, runner, quorum=0.3)
        with pytest.raises(QuorumError, match="made to fail"):
            label(frames, FRAGILE, runner, quorum=0.95)
    assert len(good.dataset) == 20
    info = good.dataset[3].info
    assert info["level"] == "EMT"
    assert info["code"].startswith("ase 3")
    assert json.loads(info["level_settings"])["calculator"] == "ase.calculators.emt:EMT"
    atoms = frames[3].system.to_atoms()
    atoms.calc = emt.EMT()
    assert good.dataset[3].labels.energy == atoms.get_potential_energy()
    np.testing.assert_array_equal(good.dataset[3].labels.forces, atoms.get_forces())
    assert 0 < len(partly.failures) < 14
    assert len(partly.dataset) + len(partly.failures) == 20
    assert [frames[i].source for i in partly.kept] == [f.source for f in partly.dataset]
    source, outcome = partly.failures[0]
    assert source.startswith("copper#")
    assert "made to fail" in outcome.log_tail


def test_labels_say_charge_and_multiplicity(tmp_path: Path) -> None:
    """Or the data of an ion would be taken for those of the neutral molecule."""
    level = PyscfLevel(multiplicity=3, charge=2)
    labeller = SimpleNamespace(level="PBE")
    found = {"energy": 1.0, "code": "none"}
    (first, second) = (
        with_label(Frame(copper(1)[0].system, info=info), found, labeller, level).info
        for info in ({}, {"charge": 0})
    )
    assert (first["charge"], first["multiplicity"]) == (2, 3)
    assert (second["charge"], second["multiplicity"]) == (0, 3)
    for charge in (0.5, "abc"):
        frame = Frame(copper(1)[0].system, source="copper#7", info={"charge": charge})
        with pytest.raises(ValueError, match=r"copper#7: charge is .* not a whole number"):
            label_task(frame, EMT)


def test_charge_and_spin_of_a_frame_are_part_of_its_task() -> None:
    frame = copper(1)[0]
    ion = Frame(frame.system, source="other name", info={"charge": 1, "note": "not state"})
    same = Frame(frame.system, source="other name", info={"note": "not state"})
    assert label_task(frame, EMT).key() == label_task(same, EMT).key()
    assert label_task(frame, EMT).key() != label_task(ion, EMT).key()
    assert label_task(frame, EMT).key() != label_task(frame, FRAGILE).key()


def test_labels_that_an_engine_once_made_otherwise_are_made_again() -> None:
    (frame,) = copper(1)
    layer = replace(frame, system=replace(frame.system, pbc=np.array([True, True, False])))
    plain, smeared = PyscfLevel(), PyscfLevel(smearing=0.1)
    assert "revision" not in label_task(frame, plain).inputs
    assert label_task(frame, smeared).inputs["revision"] == 2
    assert label_task(layer, XtbLevel()).inputs["revision"] == 2
    assert "revision" not in label_task(frame, XtbLevel()).inputs


def test_isolated_atoms_are_in_their_ground_state() -> None:
    found = {
        f.source.split()[1]: f.info["multiplicity"] for f in isolated_atoms(["H", "O", "N", "He"])
    }
    assert found == {"H": 2, "O": 3, "N": 4, "He": 1}


def test_the_command(tmp_path: Path) -> None:
    pytest.importorskip("tblite", reason="tblite is not installed")
    from ase.build import molecule

    frames = [molecule("H2O"), molecule("H2O"), molecule("CH4")]
    frames[1].info["charge"] = 1  # has no doublet asked for, must fail
    ase_write(tmp_path / "frames.extxyz", frames)
    command = ["label", str(tmp_path / "frames.extxyz"), "--engine", "xtb", "--quorum", "0.6"]
    command += ["--out", str(tmp_path / "labels.extxyz"), "--isolated-atoms", "--json"]
    for _ in range(2):
        result = CliRunner().invoke(app, command, catch_exceptions=False)
        assert result.exit_code == 0
        numbers = json.loads(result.stdout)
        assert (numbers["labelled"], numbers["failed"]) == (5, 1)
        assert "9 electrons" in numbers["failures"][0]["reason"]
    folder = RunFolder(tmp_path / "labels.extxyz.run")
    assert [e["cached"] for e in folder.events("stage")] == [0, 6]
    (run,) = find_runs(tmp_path)
    assert (run["run"], run["verb"]) == (str(folder.path), "label")
    assert status(folder.path)["finished"]
    failed = [o.key for o in all_outcomes(folder) if not o.done]
    result = CliRunner().invoke(app, ["retry", str(folder.path), "--failed", "--json"])
    assert json.loads(result.stdout) == {"forgotten": failed}
    assert all(o.done for o in all_outcomes(folder))
    found = read(tmp_path / "labels.extxyz")
    assert found[0].info["config_type"] == "isolated_atom"
    assert all(f.info["level"] == "GFN2-xTB" for f in found)
    energies = fit_e0(Dataset(found.frames))
    assert energies[1] == found[0].labels.energy

    before = (tmp_path / "labels.extxyz").read_bytes()
    ase_write(tmp_path / "others.extxyz", frames[2])
    for old, new, message in (
        ("--json", "--multiplicity=3", "labels of another level"),
        ("frames.extxyz", "others.extxyz", "labels of other frames, too"),
        ("--isolated-atoms", "--json", "labels of other frames, too"),
    ):
        result = CliRunner().invoke(app, [word.replace(old, new) for word in command])
        assert message in str(result.exception)
    assert (tmp_path / "labels.extxyz").read_bytes() == before


def test_the_command_names_every_mistake(tmp_path: Path) -> None:
    ase_write(tmp_path / "frames.extxyz", bulk("Cu"))
    (tmp_path / "level.yaml").write_text("engine: xtb\nmehtod: GFN1-xTB\nsmearing: -1\n")
    command = ["label", str(tmp_path / "frames.extxyz"), "--out", str(tmp_path / "out.extxyz")]
    result = CliRunner().invoke(app, [*command, "--config", str(tmp_path / "level.yaml")])
    text = str(result.exception)
    assert "mehtod" in text
    assert "did you mean method?" in text
    assert "smearing" in text
    result = CliRunner().invoke(app, [*command, "--engine", "vasp"])
    assert "pyscf, xtb, gpaw, cp2k, ase, huozi-functional, wavefunction" in str(result.exception)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.traj", "cannot tell the format"),
        ("frames.extxyz", "not made by this command"),
        ("folder", r"fit into extxyz alone"),
    ],
)
def test_an_output_that_cannot_be_written_is_found_before_the_work(
    tmp_path: Path, name: str, message: str
) -> None:
    ase_write(tmp_path / "frames.extxyz", bulk("Cu"))
    before = (tmp_path / "frames.extxyz").read_bytes()
    command = ["label", str(tmp_path / "frames.extxyz"), "--out", str(tmp_path / name)]
    command += ["--engine", "ase", "--config", str(tmp_path / "level.yaml")]
    (tmp_path / "level.yaml").write_text("calculator: ase.calculators.emt:EMT\n")
    result = CliRunner().invoke(app, command)
    assert message in str(result.exception)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["frames.extxyz", "level.yaml"]
    assert (tmp_path / "frames.extxyz").read_bytes() == before
