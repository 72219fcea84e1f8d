"""A run with several force fields: model_devi.out, the limit, and going on after it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read

from huozi.arrays import jax
from huozi.dynamics import DeviationError, MDConfig, read_trajectory, run_md
from huozi.neighbors import build_neighbors
from huozi.potential.lennard_jones import LennardJones
from huozi.systems import System

FIELDS = [LennardJones(epsilon=e, sigma=3.4, cutoff=5.9, onset=4.5) for e in (0.010, 0.011, 0.013)]
QUICK = {"timestep": 2.0, "temperature": 60.0, "trajectory_every": 5, "thermo_every": 5}


def crystal() -> System:
    atoms = bulk("Ar", a=5.3, cubic=True) * (2, 2, 2)
    atoms.rattle(0.05, seed=0)
    return System.from_atoms(atoms)


def config(**settings: object) -> MDConfig:
    return MDConfig(steps=60, deviation_every=20, checkpoint_every=30, **QUICK, **settings)


@jax.jit
def _evaluate(bound, positions, cell, table):
    return bound(positions, cell, table)


def by_hand(trajectory: object, frame: int) -> np.ndarray:
    """The six numbers of a saved frame."""
    system = crystal()
    positions = trajectory.positions[frame].astype(float)
    table = build_neighbors(positions, system.cell, system.pbc, 5.9)
    found = [_evaluate(f.bind(system.species), positions, system.cell, table) for f in FIELDS]
    forces = np.array([x.forces for x in found])
    virial = np.std([x.virial for x in found], axis=0) / len(positions)
    force = np.sqrt(((forces - forces.mean(0)) ** 2).sum(2).mean(0))
    rms = np.sqrt(np.mean(virial**2))
    return np.array([virial.max(), virial.min(), rms, force.max(), force.min(), force.mean()])


def test_the_file_is_that_of_deepmd(tmp_path: Path) -> None:
    result = run_md(FIELDS[0], crystal(), config(), tmp_path, others=FIELDS[1:])
    lines = (tmp_path / "model_devi.out").read_text().splitlines()
    names = lines[0].split()
    assert names[:2] == ["#", "step"]
    assert names[2:] == [f"{k}_devi_{q}" for q in "vf" for k in ("max", "min", "avg")]
    table = np.loadtxt(tmp_path / "model_devi.out")
    np.testing.assert_array_equal(table[:, 0], [0, 20, 40, 60])
    for row in table:
        expected = by_hand(result.trajectory, int(row[0]) // 5)
        np.testing.assert_allclose(row[1:], expected, 1e-4, 1e-7)


def test_comparing_does_not_change_the_run(tmp_path: Path) -> None:
    alone = run_md(FIELDS[0], crystal(), config(), tmp_path / "alone")
    compared = run_md(FIELDS[0], crystal(), config(), tmp_path / "all", others=FIELDS[1:])
    np.testing.assert_array_equal(alone.system.positions, compared.system.positions)
    assert not (tmp_path / "alone" / "model_devi.out").exists()


def test_the_limit_stops_the_run_and_a_higher_one_goes_on(tmp_path: Path) -> None:
    free = run_md(FIELDS[0], crystal(), config(), tmp_path / "free", others=FIELDS[1:])
    record = np.loadtxt(tmp_path / "free" / "model_devi.out")
    largest = record[:, 4]
    stop = int(np.argmax(largest[1:])) + 1  # not at the start
    limit = float(largest[:stop].max() * 1.001)
    assert limit < largest[stop], "the deviation must grow in this run"
    folder = tmp_path / "limited"
    with pytest.raises(DeviationError, match=f"differ at step {20 * stop} .*deviation_limit"):
        run_md(FIELDS[0], crystal(), config(deviation_limit=limit), folder, others=FIELDS[1:])
    saved = read(folder / "deviating.extxyz")
    assert saved.info["step"] == 20 * stop
    assert saved.arrays["force_deviation"].max() == pytest.approx(largest[stop], rel=1e-5)
    assert read_trajectory(folder).steps[-1] == 20 * stop
    on = run_md(FIELDS[0], crystal(), config(deviation_limit=9.0), folder, others=FIELDS[1:])
    np.testing.assert_array_equal(on.system.positions, free.system.positions)
    np.testing.assert_array_equal(np.loadtxt(folder / "model_devi.out"), record)


def test_frames_are_collected_up_to_a_number(tmp_path: Path) -> None:
    limit = {"deviation_limit": 1e-9}
    with pytest.raises(DeviationError, match="differ at step 40"):
        run_md(
            FIELDS[0],
            crystal(),
            config(**limit, deviation_frames=3),
            tmp_path / "a",
            others=FIELDS[1:],
        )
    saved = read(tmp_path / "a" / "deviating.extxyz", ":")
    assert [atoms.info["step"] for atoms in saved] == [0, 20, 40]
    # Going on from the checkpoint at step 30 finds the frame of step 40 again, and keeps it once.
    settings = config(**limit, deviation_frames=9)
    run_md(FIELDS[0], crystal(), settings, tmp_path / "a", others=FIELDS[1:])
    run_md(FIELDS[0], crystal(), settings, tmp_path / "b", others=FIELDS[1:])
    resumed, at_once = (read(tmp_path / x / "deviating.extxyz", ":") for x in "ab")
    assert [atoms.info["step"] for atoms in resumed] == [0, 20, 40, 60]
    assert resumed == at_once


def test_a_start_beyond_the_limit(tmp_path: Path) -> None:
    with pytest.raises(DeviationError, match="differ at step 0"):
        run_md(FIELDS[0], crystal(), config(deviation_limit=1e-9), tmp_path, others=FIELDS[1:])


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="deviation_limit needs several models"):
        run_md(FIELDS[0], crystal(), config(deviation_limit=1.0), tmp_path)
    wide = LennardJones(epsilon=0.01, sigma=3.4, cutoff=7.0, onset=4.5)
    with pytest.raises(ValueError, match=r"cutoff of 7\.0 Å, beyond the 5\.9 Å"):
        run_md(FIELDS[0], crystal(), config(), tmp_path, others=[wide])


def test_other_models_are_not_mixed_with_those_before(tmp_path: Path) -> None:
    short = config().model_copy(update={"steps": 20})
    run_md(FIELDS[0], crystal(), short, tmp_path / "late")
    run_md(FIELDS[0], crystal(), config(), tmp_path / "late", others=FIELDS[1:])
    run_md(FIELDS[0], crystal(), short, tmp_path / "run", others=FIELDS[1:])
    with pytest.raises(ValueError, match="holds a run with another ensemble"):
        run_md(FIELDS[0], crystal(), config(), tmp_path / "run", others=FIELDS[2:])
