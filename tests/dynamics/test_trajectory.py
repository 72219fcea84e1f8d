import h5py
import numpy as np
import pytest
from ase.io import read

from huozi.dynamics import Trajectory, read_trajectory, write_extxyz
from huozi.dynamics.trajectory import write_segment
from huozi.units import ASE_TIME


def make(start, count, velocities=True):
    rng = np.random.default_rng(start)
    steps = np.arange(start, start + 10 * count, 10)
    return Trajectory(
        species=np.array([8, 1, 1]),
        masses=np.array([16.0, 1.0, 1.0]),
        pbc=np.array([True, True, False]),
        steps=steps,
        times=steps * 0.5,
        positions=rng.normal(size=(count, 3, 3)).astype(np.float32),
        velocities=rng.normal(size=(count, 3, 3)).astype(np.float32) if velocities else None,
        cells=np.eye(3) * rng.uniform(5, 6, (count, 1, 1)),
        energies=rng.normal(size=count),
    )


def test_segments_read_as_one_trajectory(tmp_path):
    parts = [make(0, 3), make(30, 2)]
    for part in reversed(parts):
        write_segment(tmp_path / "trajectory", part)
    found = read_trajectory(tmp_path)
    for name in ("steps", "times", "positions", "velocities", "cells", "energies"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(getattr(found, name), joined)
    np.testing.assert_array_equal(found.species, [8, 1, 1])
    np.testing.assert_array_equal(found.pbc, [True, True, False])
    assert found.time_step == 5.0
    assert len(read_trajectory(tmp_path / "trajectory")) == 5
    assert len(read_trajectory(tmp_path / "trajectory" / f"{30:012d}.h5")) == 2


def test_frames_are_atoms(tmp_path):
    trajectory = make(0, 4)
    atoms = trajectory[-1]
    assert atoms.get_chemical_formula() == "H2O"
    assert atoms.info == {"step": 30, "time": 15.0}
    np.testing.assert_allclose(atoms.get_velocities() / ASE_TIME, trajectory.velocities[-1])
    assert atoms.get_potential_energy() == trajectory.energies[-1]
    assert len(trajectory[1:3]) == len(list(trajectory[1:3])) == 2
    write_extxyz(trajectory, tmp_path / "t.extxyz")
    back = read(tmp_path / "t.extxyz", ":")
    np.testing.assert_allclose(back[2].positions, trajectory.positions[2], atol=1e-7)
    assert [frame.info["step"] for frame in back] == [0, 10, 20, 30]


def test_a_segment_is_valid_h5md(tmp_path):
    """The elements that the H5MD 1.1 specification asks of a file."""
    write_segment(tmp_path, make(0, 2, velocities=False))
    with h5py.File(tmp_path / f"{0:012d}.h5") as file:
        assert file["h5md"].attrs["version"].tolist() == [1, 1]
        assert {"author", "creator"} <= set(file["h5md"])
        box = file["particles/all/box"]
        assert box.attrs["dimension"] == 3
        assert list(box.attrs["boundary"]) == ["periodic", "periodic", "none"]
        for group in (box["edges"], file["particles/all/position"]):
            assert set(group) == {"step", "time", "value"}
        assert file["particles/all/position/value"].attrs["unit"] == "Angstrom"
        assert "velocity" not in file["particles/all"]
    assert read_trajectory(tmp_path).velocities is None


def test_what_is_no_trajectory_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no trajectory in"):
        read_trajectory(tmp_path)
    bad = tmp_path / "x.h5"
    bad.write_text("nothing")
    with pytest.raises(ValueError, match=r"x\.h5 is not a trajectory written by huozi md"):
        read_trajectory(bad)
    with h5py.File(bad, "w"):
        pass
    with pytest.raises(ValueError, match=r"x\.h5 is not a trajectory"):
        read_trajectory(bad)
    with pytest.raises(ValueError, match="1 frames at steps that are not equally spaced"):
        make(0, 1).time_step  # noqa: B018
