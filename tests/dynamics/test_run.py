import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from ase.io import read

from huozi.arrays import jax, jnp
from huozi.dynamics import (
    BlowUpError,
    ForceFieldCalculator,
    MDConfig,
    read_thermo,
    read_trajectory,
    run_md,
)
from huozi.neighbors import Evaluation
from huozi.potential.lennard_jones import LennardJones
from huozi.systems import System
from huozi.workflow import RunFolder
from tests.dynamics.fields import ARGON, argon
from tests.potential.conftest import random_model

SYSTEM = System.from_atoms(argon(rattle=0.05))
QUICK = {"timestep": 4.0, "temperature": 60.0, "steps": 60, "trajectory_every": 7}


def config(**settings):
    return MDConfig.read(None, {**QUICK, "checkpoint_every": 25, **settings})


def same(first, second):
    """Bitwise the same frames, log and last state."""
    for name in ("steps", "positions", "velocities", "cells", "energies"):
        one, two = (getattr(result.trajectory, name) for result in (first, second))
        np.testing.assert_array_equal(one, two)
    for name, column in first.thermo.items():
        np.testing.assert_array_equal(column, second.thermo[name])
    np.testing.assert_array_equal(first.system.positions, second.system.positions)
    np.testing.assert_array_equal(first.system.cell, second.system.cell)
    np.testing.assert_array_equal(first.velocities, second.velocities)


def test_a_run_leaves_its_records(tmp_path):
    result = run_md(ARGON, SYSTEM, config(), tmp_path)
    assert result.trajectory.steps.tolist() == list(range(0, 61, 7))
    assert result.trajectory.time_step == 28.0
    assert result.thermo["step"].tolist() == list(range(0, 61, 10))
    first = result.trajectory[0]
    np.testing.assert_allclose(first.positions, SYSTEM.positions, atol=1e-6)
    for index in (0, -1):
        atoms = result.trajectory[index]
        energy = atoms.get_potential_energy()
        atoms.calc = ForceFieldCalculator(ARGON)
        assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-5)
        kinetic = result.thermo["kinetic_eV"][0]
        assert index or atoms.get_kinetic_energy() == pytest.approx(kinetic, rel=1e-5)
    total = result.thermo["potential_eV"] + result.thermo["kinetic_eV"]
    np.testing.assert_allclose(result.thermo["total_eV"], total)
    volume = np.linalg.det(SYSTEM.cell)
    np.testing.assert_allclose(result.thermo["volume_A3"], volume)
    np.testing.assert_allclose(
        result.thermo["density_g_cm3"], 32 * 39.948 * 1.66053907 / volume, rtol=1e-6
    )
    settings = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert MDConfig(**settings["config"]) == config()
    events = [event["event"] for event in RunFolder(tmp_path).events()]
    assert events == ["start", "finished"]


def test_a_finished_run_is_not_done_again_but_may_go_on(tmp_path):
    whole = run_md(ARGON, SYSTEM, config(steps=50))
    first = run_md(ARGON, SYSTEM, config(steps=25), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")}
    again = run_md(ARGON, SYSTEM, config(steps=25), tmp_path)
    assert again.steps_done == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")} == before
    same(first, again)
    longer = run_md(ARGON, SYSTEM, config(steps=50), tmp_path)
    assert longer.steps_done == 25
    same(longer, whole)
    with pytest.raises(ValueError, match=r"has 50 steps already, more than the 25 wanted"):
        run_md(ARGON, SYSTEM, config(steps=25), tmp_path)


@pytest.mark.parametrize("engine", ["auto", "xla"])
def test_a_run_does_not_go_on_with_another_model(tmp_path, engine):
    """Also where the compiled kernel holds its parameters."""
    first = replace(random_model((18,)).astype("float32"), engine=engine)
    second = replace(first, params=first.params | {"readout": 1.3 * first.params["readout"]})
    short = {"steps": 2, "timestep": 0.1}
    run_md(first, SYSTEM, config(**short), tmp_path)
    with pytest.raises(ValueError, match="holds a run with another force field"):
        run_md(second, SYSTEM, config(**short | {"steps": 4}), tmp_path)
    assert run_md(replace(first), SYSTEM, config(**short | {"steps": 4}), tmp_path).steps_done == 2


def test_another_run_in_the_same_folder_is_refused(tmp_path):
    run_md(ARGON, SYSTEM, config(steps=5), tmp_path)
    with pytest.raises(ValueError, match=r"holds a run with temperature 60\.0, not 70\.0"):
        run_md(ARGON, SYSTEM, config(steps=5, temperature=70.0), tmp_path)
    moved = System.from_atoms(argon(rattle=0.06))
    with pytest.raises(ValueError, match="holds a run with another structure"):
        run_md(ARGON, moved, config(steps=5), tmp_path)
    other = LennardJones(0.0105, 3.4, 7.0, onset=5.5)
    with pytest.raises(ValueError, match="holds a run with another force field"):
        run_md(other, SYSTEM, config(steps=5), tmp_path)
    (tmp_path / "config.yaml").write_text("verb: train\n")
    with pytest.raises(ValueError, match="holds another kind of run"):
        run_md(ARGON, SYSTEM, config(steps=5), tmp_path)


SCRIPT = """
import os, signal, sys
from huozi.dynamics import run_md
from huozi.dynamics import run as module
from tests.dynamics.test_run import ARGON, KILLED, SYSTEM
save = module.save_checkpoint
def once(path, *rest):
    if path.exists():
        os.kill(os.getpid(), signal.SIGKILL)
    save(path, *rest)
module.save_checkpoint = once
run_md(ARGON, SYSTEM, KILLED, sys.argv[1])
"""
KILLED = config(
    ensemble="npt", steps=1500, checkpoint_every=150, compressibility=0.5, skin=0.85, thermo_every=1
)


def start(folder):
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder)], env=environment, cwd=root)


def test_a_killed_run_resumes_bitwise(tmp_path):
    """With records beyond its last checkpoint, a half-written last line and a stray segment."""
    assert start(tmp_path).wait(120) == -signal.SIGKILL
    done = int(np.load(tmp_path / "checkpoint.npz")["step"])
    assert done == 150
    assert read_trajectory(tmp_path).steps[0] == 0
    assert len(read_thermo(tmp_path)["step"]) == 301
    with (tmp_path / "thermo.csv").open("a") as stream:
        stream.write("999999,12,3")
    (tmp_path / "trajectory" / ".000000009999.h5.abc.h5").write_text("half a file")
    resumed = run_md(ARGON, SYSTEM, KILLED, tmp_path)
    assert resumed.steps_done == KILLED.steps - done
    same(resumed, run_md(ARGON, SYSTEM, KILLED))


@pytest.mark.parametrize("thermostat", ["langevin", "nose-hoover"])
def test_other_thermostats_resume_bitwise_too(tmp_path, thermostat, monkeypatch):
    from huozi.dynamics import run as module

    def save_then_stop(*given):
        original(*given)
        raise KeyboardInterrupt

    wanted = config(thermostat=thermostat, steps=50)
    original = module.save_checkpoint
    with monkeypatch.context() as patch:
        patch.setattr(module, "save_checkpoint", save_then_stop)
        with pytest.raises(KeyboardInterrupt):
            run_md(ARGON, SYSTEM, wanted, tmp_path)
    same(run_md(ARGON, SYSTEM, wanted, tmp_path), run_md(ARGON, SYSTEM, wanted))


def test_a_damaged_checkpoint_is_named(tmp_path):
    run_md(ARGON, SYSTEM, config(steps=5), tmp_path)
    checkpoint = tmp_path / "checkpoint.npz"
    checkpoint.write_bytes(checkpoint.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"checkpoint\.npz is damaged .* delete it"):
        run_md(ARGON, SYSTEM, config(steps=5), tmp_path)


def test_rows_that_overflow_are_widened_not_cut(tmp_path):
    """A gas of atoms that condenses needs ever more neighbours per atom."""
    atoms = argon(a=5.9)
    settings = {"ensemble": "npt", "pressure": 0.5, "temperature": 80.0, "barostat_time": 200.0}
    chosen = config(steps=300, compressibility=2.0, **settings)
    result = run_md(ARGON, System.from_atoms(atoms), chosen, tmp_path)
    assert result.thermo["volume_A3"][-1] < 0.85 * result.thermo["volume_A3"][0]
    end = result.system.to_atoms()
    end.calc = ForceFieldCalculator(ARGON)
    assert end.get_potential_energy() == pytest.approx(result.thermo["potential_eV"][-1], rel=1e-9)
    events = list(RunFolder(tmp_path).events())
    width = int(np.load(tmp_path / "checkpoint.npz")["width"])
    assert width > events[0]["table_width"]


def test_too_long_a_time_step_blows_up_with_place_and_value(tmp_path):
    with pytest.raises(BlowUpError, match=r"blew up at step \d+ \(.* fs, after frame \d+\): ") as e:
        run_md(ARGON, SYSTEM, config(timestep=400.0, ensemble="nve", steps=2000), tmp_path)
    assert "atom " in str(e.value)
    assert "(Ar)" in str(e.value)
    good = read(tmp_path / "last_good.extxyz")
    step = good.info["step"]
    assert f"at step {step + 1} " in str(e.value)
    assert np.isfinite(good.positions).all()
    assert np.isfinite(good.get_forces()).all()
    assert good.has("momenta")
    assert read_trajectory(tmp_path).steps[-1] <= step
    assert list(RunFolder(tmp_path).events())[-1]["step"] == step + 1


@dataclass(frozen=True)
class Trap:
    """No force at all until an atom comes to x > edge, where the energy is not a number."""

    edge: float
    cutoff: float = 1.0

    def bind(self, species):
        return jax.tree_util.Partial(_trap, jnp.asarray(self.edge))


def _trap(edge, positions, cell, neighbors):
    beyond = positions[:, :1] > edge
    forces = jnp.where(beyond, jnp.nan, 0.0) * jnp.ones(3)
    return Evaluation(jnp.sum(jnp.where(beyond, jnp.nan, 0.0)), forces, jnp.zeros((3, 3)))


def open_pair(x):
    return System(
        np.array([18, 36]), np.array([[x, 0, 0], [0, 30.0, 0]]), np.zeros((3, 3)), np.zeros(3, bool)
    )


def test_a_force_that_is_not_a_number_names_its_atom(tmp_path):
    velocities = np.array([[0.0, 0.002, 0.0], [0.0, 0.0, 0.0]])
    velocities[0, 0] = 0.02
    masses = np.array([39.948, 83.798])
    velocities[1] = -velocities[0] * masses[0] / masses[1]
    chosen = config(ensemble="nve", timestep=1.0, steps=200)
    with pytest.raises(BlowUpError, match=r"step 51 .*the force on atom 0 \(Ar\) is nan eV/Å"):
        run_md(Trap(1.001), open_pair(0.0), chosen, tmp_path, velocities)
    assert read(tmp_path / "last_good.extxyz").positions[0, 0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_temperature": 50.0}, r"step 0 .*the temperature is .* K \(max_temperature 50\.0\)"),
        ({"max_force": 1e-3}, r"step 0 .*the force on atom \d+ \(Ar\) is .* \(max_force 0\.001\)"),
        ({"max_displacement": 1e-3}, r"moved .* Å in one step \(max_displacement 0\.001\)"),
        (
            {"ensemble": "npt", "pressure": 2.0, "max_volume_ratio": 1.01, "compressibility": 1.0},
            r"the volume is .* Å\^3, outside .* \(max_volume_ratio\)",
        ),
    ],
)
def test_every_bound_is_watched(settings, message, tmp_path):
    with pytest.raises(BlowUpError, match=message):
        run_md(ARGON, SYSTEM, config(**settings, steps=300), tmp_path)


def test_one_step_beyond_the_skin_is_a_blow_up_not_a_loop(tmp_path):
    velocities = np.array([[5.0, 0, 0], [-5.0 * 39.948 / 83.798, 0, 0]])
    limits = {"max_temperature": 1e9}
    with pytest.raises(BlowUpError, match=r"step 1 .*atom 0 \(Ar\) moved 5 Å in one step"):
        run_md(
            Trap(1e9),
            open_pair(0.0),
            config(ensemble="nve", timestep=1.0, **limits),
            tmp_path,
            velocities,
        )


def test_momentum_is_removed_except_for_langevin():
    velocities = np.full((32, 3), 0.001)
    still = run_md(ARGON, SYSTEM, config(ensemble="nve", steps=0), velocities=velocities)
    np.testing.assert_allclose(still.velocities, 0, atol=1e-15)
    kept = run_md(ARGON, SYSTEM, config(thermostat="langevin", steps=0), velocities=velocities)
    np.testing.assert_array_equal(kept.velocities, velocities)


def test_a_cluster_in_the_open_has_no_pressure():
    atoms = argon()
    atoms.pbc = False
    atoms.cell = None
    result = run_md(ARGON, System.from_atoms(atoms), config(steps=10))
    assert np.isnan(result.thermo["pressure_GPa"]).all()
    assert np.isfinite(result.thermo["total_eV"]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"velocities": np.zeros((3, 3))}, r"velocities of shape \(32, 3\) are expected"),
        ({"velocities": np.full((32, 3), np.nan)}, "the velocity of atom 0 is not finite"),
        ({"pbc": np.array([True, True, False])}, "npt needs a cell periodic in all directions"),
        ({"positions": np.full((32, 3), np.inf)}, "the position of atom 0 is not finite"),
        ({"cell": np.zeros((3, 3))}, "a periodic system needs a cell with a volume"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(change, message, tmp_path):
    velocities = change.pop("velocities", None)
    fields = {n: change.get(n, getattr(SYSTEM, n)) for n in SYSTEM.__dataclass_fields__}
    with pytest.raises(ValueError, match=message):
        run_md(ARGON, System(**fields), config(ensemble="npt"), tmp_path / "run", velocities)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"ensemble": "nvp"},
            "setting ensemble: input should be 'nve', 'nvt' or 'npt'; found 'nvp'",
        ),
        ({"timestep": -1}, "setting timestep: input should be greater than 0; found -1"),
        (
            {"speed": 1},
            "setting speed: extra inputs are not permitted, did you mean seed\\?; found 1",
        ),
        ({"pressure": 1.0}, "a pressure needs ensemble npt; found nvt"),
        ({"temperature": 0.0}, "nvt needs a temperature above 0 K"),
        ({"ensemble": "npt", "thermostat": "langevin"}, "npt works with the csvr thermostat alone"),
        ({"skin": 0.4}, "must be below half the skin"),
    ],
)
def test_a_bad_setting_is_one_sentence(settings, message):
    with pytest.raises(ValueError, match=message) as error:
        MDConfig.read(None, settings)
    assert "\n" not in str(error.value)


def test_settings_come_from_a_file(tmp_path):
    path = tmp_path / "md.yaml"
    path.write_text("temperature: 77\nsteps: 5\n")
    assert MDConfig.read(path, {"steps": 9}) == MDConfig(temperature=77, steps=9)
    path.write_text("- 1\n")
    with pytest.raises(ValueError, match="does not hold settings"):
        MDConfig.read(path)


def test_a_wider_bound_lets_a_run_go_on(tmp_path):
    """And a run that failed at its first step may begin with other settings."""
    narrow = config(max_force=1e-3)
    with pytest.raises(BlowUpError, match="step 0"):
        run_md(ARGON, SYSTEM, narrow, tmp_path / "first")
    other = config(timestep=2.0)
    same(run_md(ARGON, SYSTEM, other, tmp_path / "first"), run_md(ARGON, SYSTEM, other))
    run_md(ARGON, SYSTEM, config(steps=25), tmp_path / "second")
    with pytest.raises(BlowUpError, match="max_temperature"):
        run_md(ARGON, SYSTEM, config(max_temperature=20.0), tmp_path / "second")
    wide = config(max_temperature=500.0)
    same(run_md(ARGON, SYSTEM, wide, tmp_path / "second"), run_md(ARGON, SYSTEM, config()))


def test_two_processes_do_not_share_a_folder(tmp_path):
    with (
        RunFolder(tmp_path).alone(),
        pytest.raises(ValueError, match="another process is at work"),
    ):
        run_md(ARGON, SYSTEM, config(steps=5), tmp_path)


def test_a_run_goes_on_after_an_upgrade(tmp_path, monkeypatch):
    """The same parameters in a file of another version; a setting that did not exist before."""
    model = random_model((18,)).astype("float32")
    short = {"steps": 2, "timestep": 0.1}
    run_md(model, SYSTEM, config(**short), tmp_path)
    stored = yaml.safe_load((tmp_path / "config.yaml").read_text())
    del stored["config"]["thermostat_time"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(stored))
    monkeypatch.setattr("huozi.potential.model.__version__", "99.0")
    later = replace(model, metadata={"trained": "again"})
    assert run_md(later, SYSTEM, config(**short | {"steps": 4}), tmp_path).steps_done == 2
