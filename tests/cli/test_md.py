"""``huozi md`` and ``huozi relax`` as a user meets them."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.constraints import FixAtoms
from ase.io import read, write
from typer.testing import CliRunner

from huozi.arrays import jax, jnp
from huozi.cli.main import app
from huozi.cli.md import read_structure
from huozi.dynamics import DeviationError, MDConfig, read_thermo, read_trajectory
from huozi.potential import Ensemble, Model, MomentConfig, load_model
from huozi.potential.moment import init
from huozi.systems import System
from huozi.units import ASE_TIME

QUICK = ("--timestep", "1", "--temperature", "50", "--trajectory-every", "5", "--thermo-every", "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model with random parameters, and a crystal in two frames, the second with velocities."""
    folder = tmp_path_factory.mktemp("md")
    settings = MomentConfig(cutoff=4.5, radial=4, channels=4, partners=2, hidden=(8,))
    params = init(jax.random.key(3), settings, 1)
    params = jax.tree.map(lambda x: jnp.asarray(x, "float64"), params)
    Model(settings, (18,), (-1.0,), params).save(folder / "model.safetensors")
    atoms = bulk("Ar", a=5.4, cubic=True)
    moving = atoms.copy()
    velocities = np.zeros((4, 3))
    velocities[:2, 0] = [1e-3, -1e-3]
    moving.set_velocities(velocities * ASE_TIME)
    write(folder / "ar.extxyz", [atoms, moving])
    write(folder / "oxygen.xyz", Atoms("O2", positions=[[0, 0, 0], [1.2, 0, 0]]))
    return folder


def run(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def md(folder, out, *words, structure="ar.extxyz"):
    return run(
        "md", folder / "model.safetensors", f"{folder}/{structure}", "--out", out, *QUICK, *words
    )


def test_json_is_one_object_and_nothing_else(folder, tmp_path):
    result = md(folder, tmp_path / "run", "--steps", 20, "--extxyz", "--json")
    numbers = json.loads(result.stdout)
    assert numbers["steps"] == numbers["steps_done_now"] == 20
    assert numbers["time_ps"] == pytest.approx(0.02)
    assert numbers["temperature_K"] == pytest.approx(
        read_thermo(tmp_path / "run")["temperature_K"].mean()
    )
    assert len(read_trajectory(tmp_path / "run")) == 5
    assert len(read(tmp_path / "run" / "trajectory.extxyz", ":")) == 5
    again = json.loads(md(folder, tmp_path / "run", "--steps", 20, "--json").stdout)
    assert again["steps_done_now"] == 0


def test_text_says_what_came_out_and_what_is_next(folder, tmp_path):
    text = md(folder, tmp_path, "--steps", 20).stdout
    assert text.startswith(f"20 steps; 0.02 ps of 4 atoms in {tmp_path}\n")
    assert "temperature, K" in text
    assert f"next: huozi analyse {tmp_path}" in text
    text = md(folder, tmp_path, "--steps", 20).stdout
    assert text.startswith("nothing left to do; ")


def test_settings_come_from_a_file_and_options_win(folder, tmp_path):
    (tmp_path / "md.yaml").write_text("steps: 3\nensemble: nve\nsave_velocities: false\n")
    md(folder, tmp_path / "run", "--config", tmp_path / "md.yaml", "--steps", 5)
    trajectory = read_trajectory(tmp_path / "run")
    assert trajectory.velocities is None
    assert trajectory.steps[-1] == 5


def test_velocities_can_be_kept(folder, tmp_path):
    words = ("--ensemble", "nve", "--steps", 0, "--keep-velocities")
    md(folder, tmp_path / "kept", *words, structure="ar.extxyz@1")
    kept = read_trajectory(tmp_path / "kept").velocities[0]
    np.testing.assert_allclose(kept[:2, 0], [1e-3, -1e-3], rtol=1e-5)
    with pytest.raises(ValueError, match="has no velocities"):
        md(folder, tmp_path / "none", *words, structure="ar.extxyz@0")


def test_help_describes_every_setting():
    text = CliRunner().invoke(app, ["md", "--help"], env={"COLUMNS": "400"}).stdout
    for name, field in MDConfig.model_fields.items():
        assert f"--{name.replace('_', '-')}" in text
        assert field.description in text


@pytest.mark.parametrize(
    ("structure", "words", "message"),
    [
        ("none.xyz", (), r"no structure file .*none\.xyz"),
        ("ar.extxyz@7", (), r"ar\.extxyz has no frame 7"),
        ("ar.extxyz@:", (), r"is 2 frames; choose one, e\.g\. .*ar\.extxyz@0"),
        ("model.safetensors", (), "ASE cannot read a structure from"),
        ("oxygen.xyz", (), "O"),
        ("ar.extxyz", ("--ensemble", "nvx"), "setting ensemble: .*; found 'nvx'"),
        ("ar.extxyz", ("--pressure", "1"), "a pressure needs ensemble npt"),
    ],
)
def test_bad_input_is_an_error_before_anything_is_written(
    folder, tmp_path, structure, words, message
):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        md(folder, tmp_path / "run", *words, structure=structure)
    assert not (tmp_path / "run").exists()


def test_a_blow_up_is_one_line_and_exit_code_2(folder, tmp_path):
    words = ["md", folder / "model.safetensors", folder / "ar.extxyz", "--out", tmp_path / "run"]
    words += ["--max-temperature", "1", "--steps", "10"]
    code = "from huozi.cli.main import main; main()"
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "error: the simulation blew up at step 0" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "run" / "last_good.extxyz").exists()


def test_an_ensemble_records_its_deviation_and_stops(folder, tmp_path):
    first = load_model(folder / "model.safetensors")
    other = replace(first, params=first.params | {"readout": 1.1 * first.params["readout"]})
    Ensemble((first, other)).save(tmp_path / "both.safetensors")
    shaken = bulk("Ar", a=5.4, cubic=True)
    shaken.rattle(0.1, seed=0)
    write(tmp_path / "shaken.extxyz", shaken)
    words = ["md", tmp_path / "both.safetensors", tmp_path / "shaken.extxyz", *QUICK]
    words += ["--steps", 20, "--deviation-every", 5]
    run(*words, "--out", tmp_path / "both")
    found = np.loadtxt(tmp_path / "both" / "model_devi.out")
    assert found[:, 0].tolist() == [0, 5, 10, 15, 20]
    words[1] = folder / "model.safetensors"
    run(*words, "--out", tmp_path / "alone")
    alone, both = (read_trajectory(tmp_path / name) for name in ("alone", "both"))
    np.testing.assert_array_equal(alone.positions, both.positions)
    forces = first.evaluate(System.from_atoms(read(tmp_path / "shaken.extxyz"))).forces
    # Of two models the deviation is half the difference; they differ by a tenth of the force.
    assert found[0, 4] == pytest.approx(0.05 * np.linalg.norm(forces, axis=1).max(), rel=1e-5)
    words += ["--deviation-limit", "1e-9"]
    with pytest.raises(ValueError, match="needs several models, found one"):
        run(*words, "--out", tmp_path / "one")
    words[1] = tmp_path / "both.safetensors"
    with pytest.raises(DeviationError, match="more than deviation_limit 1e-09"):
        run(*words, "--out", tmp_path / "stopped")


def test_relax_writes_the_structure(folder, tmp_path):
    model, structure, out = folder / "model.safetensors", folder / "ar.extxyz", tmp_path / "r.cif"
    result = run("relax", model, structure, "--out", out, "--fmax", "0.001", "--json")
    numbers = json.loads(result.stdout)
    assert numbers["converged"]
    assert numbers["max_force_eV_A"] < 0.001
    assert len(read(out)) == 4
    text = run("relax", model, structure, "--out", tmp_path / "r.extxyz").stdout
    assert text.startswith("relaxed after ")
    assert read(tmp_path / "r.extxyz").get_potential_energy() == pytest.approx(numbers["energy_eV"])
    again = ("relax", model, structure, "--out", tmp_path / "r.extxyz")
    with pytest.raises(ValueError, match="give --overwrite to replace all of it"):
        run(*again)
    assert run(*again, "--overwrite").exit_code == 0


def test_an_at_may_be_part_of_the_name(folder, tmp_path):
    shutil.copy(folder / "ar.extxyz", tmp_path / "ar@50K.extxyz")
    assert len(read_structure(str(tmp_path / "ar@50K.extxyz"))) == 4
    assert not read_structure(str(tmp_path / "ar@50K.extxyz@0")).has("momenta")
    with pytest.raises(ValueError, match=r"ar@50K\.extxyz has no frame 7"):
        read_structure(str(tmp_path / "ar@50K.extxyz@7"))
    with pytest.raises(FileNotFoundError, match=r"no structure file .*ar$"):
        read_structure(str(tmp_path / "ar@7"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("r.foo", r"cannot tell the format of .*r\.foo; name it \*\.extxyz"),
        ("r", r"cannot tell the format of .*r; name it"),
        ("r.pwi", r"r\.pwi: ASE cannot write this structure .*name it"),
        ("folder.extxyz", "is a folder; name a file in it"),
    ],
)
def test_relax_refuses_a_bad_name_before_it_works(folder, tmp_path, monkeypatch, name, message):
    monkeypatch.setattr("huozi.dynamics.relax", lambda *_: pytest.fail("relaxed first"))
    (tmp_path / "folder.extxyz").mkdir()
    with pytest.raises(ValueError, match=message):
        run(
            *("relax", folder / "model.safetensors", folder / "ar.extxyz"),
            *("--out", tmp_path / name),
        )
    assert [p.name for p in tmp_path.iterdir()] == ["folder.extxyz"]


@pytest.mark.parametrize("name", ["fixed.extxyz", "POSCAR"])
@pytest.mark.parametrize("verb", ["md", "relax"])
def test_constraints_are_refused_not_dropped(folder, tmp_path, name, verb):
    atoms = bulk("Ar", a=5.4, cubic=True)
    atoms.set_constraint(FixAtoms([0, 2]))
    write(tmp_path / name, atoms)
    message = rf"{name} puts constraints \(FixAtoms\) on 2 of its 4 atoms.*ForceFieldCalculator"
    with pytest.raises(ValueError, match=message):
        run(
            *(verb, folder / "model.safetensors", tmp_path / name),
            *("--out", tmp_path / "out.extxyz"),
        )
    assert not (tmp_path / "out.extxyz").exists()


def test_relax_that_runs_out_of_steps_says_so(folder, tmp_path):
    atoms = read(folder / "ar.extxyz")
    atoms.rattle(0.2, seed=1)
    write(tmp_path / "rattled.extxyz", atoms)
    words = ("--out", tmp_path / "r.extxyz", "--steps", 1, "--fmax", "1e-9")
    result = run("relax", folder / "model.safetensors", tmp_path / "rattled.extxyz", *words)
    assert result.exit_code == 1
    assert result.stdout.startswith("NOT relaxed after 1 steps")
    assert len(read(tmp_path / "r.extxyz")) == 4


def test_masses_are_refused_not_dropped(folder, tmp_path):
    atoms = bulk("Ar", a=5.4, cubic=True)
    atoms.set_masses([39.95, 36.0, 39.95, 36.0])
    write(tmp_path / "light.extxyz", atoms)
    with pytest.raises(ValueError, match=r"gives 2 atoms masses of their own \(atom 1, Ar: 36 u\)"):
        run("md", folder / "model.safetensors", tmp_path / "light.extxyz", "--out", tmp_path / "md")
    assert not (tmp_path / "md").exists()
