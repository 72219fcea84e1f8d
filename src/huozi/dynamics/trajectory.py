"""Trajectories: whole H5MD files, one per stretch between two checkpoints.

A file in the making is never at its final name, so a trajectory can be read at any moment and
after any interruption. Each file alone is valid H5MD 1.1, which MDAnalysis and others read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write as ase_write
from numpy.typing import NDArray

from huozi.files import atomic_path
from huozi.units import ASE_TIME

Array = NDArray[Any]

_SEGMENT = re.compile(r"\d{12}\.h5")


@dataclass(frozen=True, eq=False)
class Trajectory(Sequence[Atoms]):
    """Frames of a simulation: arrays, and a sequence of ASE ``Atoms``.

    Parameters
    ----------
    species : (n,) int array
        Atomic numbers.
    masses : (n,) array
        amu.
    pbc : (3,) bool array
    steps : (t,) int array
    times : (t,) array
        fs.
    positions : (t, n, 3) float32 array
        Å, not wrapped into the cell.
    velocities : (t, n, 3) float32 array, optional
        Å/fs.
    cells : (t, 3, 3) array
        Å.
    energies : (t,) array
        Potential energy, eV.
    """

    species: Array
    masses: Array
    pbc: Array
    steps: Array
    times: Array
    positions: Array
    velocities: Array | None
    cells: Array
    energies: Array

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Atoms]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        """Return ``Atoms`` for an integer, a trajectory for a slice or an index array."""
        if not isinstance(index, (int, np.integer)):
            velocities = None if self.velocities is None else self.velocities[index]
            return Trajectory(
                self.species,
                self.masses,
                self.pbc,
                self.steps[index],
                self.times[index],
                self.positions[index],
                velocities,
                self.cells[index],
                self.energies[index],
            )
        atoms = Atoms(
            numbers=self.species,
            positions=self.positions[index],
            cell=self.cells[index],
            pbc=self.pbc,
            info={"step": int(self.steps[index]), "time": float(self.times[index])},
        )
        if self.velocities is not None:
            atoms.set_velocities(self.velocities[index] * ASE_TIME)
        atoms.calc = SinglePointCalculator(atoms, energy=float(self.energies[index]))
        return atoms

    @property
    def time_step(self) -> float:
        """Time between frames, fs.

        Raises
        ------
        ValueError
            If there are fewer than two frames or they are not equally spaced.
        """
        gaps = np.diff(self.steps)
        if len(gaps) == 0 or (gaps != gaps[0]).any():
            raise ValueError(f"{len(self)} frames at steps that are not equally spaced")
        return float(self.times[1] - self.times[0])


def write_segment(folder: Path, trajectory: Trajectory) -> None:
    """Add frames as one whole file, named by its first step."""
    path = folder / f"{int(trajectory.steps[0]):012d}.h5"
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        _write_h5md(file, trajectory)


def read_trajectory(path: str | Path) -> Trajectory:
    """Read the trajectory of a run, finished or not.

    Parameters
    ----------
    path : path
        The run's folder, its ``trajectory`` folder, or one H5MD file of it.

    Raises
    ------
    FileNotFoundError
        If there is no trajectory.
    ValueError
        If a file is not one of Huozi's.
    """
    path = Path(path)
    if path.is_file():
        return _join([_read_h5md(path)])
    files = segments(path / "trajectory") or segments(path)
    if not files:
        raise FileNotFoundError(f"no trajectory in {path}: no file trajectory/*.h5")
    return _join([_read_h5md(file) for file in files])


def segments(folder: Path) -> list[Path]:
    """Trajectory files in order of time."""
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if _SEGMENT.fullmatch(file.name))


def write_extxyz(trajectory: Sequence[Atoms], path: str | Path) -> None:
    """Write frames as extended XYZ, whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        for atoms in trajectory:
            ase_write(stream, atoms, format="extxyz")


def _write_h5md(file: h5py.File, trajectory: Trajectory) -> None:
    header = file.create_group("h5md")
    header.attrs["version"] = np.array([1, 1])
    header.create_group("author").attrs["name"] = "Huozi"
    creator = header.create_group("creator")
    creator.attrs["name"], creator.attrs["version"] = "huozi", "1"
    atoms = file.create_group("particles/all")
    atoms["species"] = trajectory.species
    atoms["mass"] = trajectory.masses
    atoms["mass"].attrs["unit"] = "u"
    box = atoms.create_group("box")
    box.attrs["dimension"] = 3
    box.attrs["boundary"] = ["periodic" if p else "none" for p in trajectory.pbc]
    position = _time_series(atoms, "position", trajectory.positions, "Angstrom")
    position["step"], position["time"] = trajectory.steps, trajectory.times
    position["time"].attrs["unit"] = "fs"
    others = [_time_series(box, "edges", trajectory.cells, "Angstrom")]
    energy = file.create_group("observables")
    others.append(_time_series(energy, "potential_energy", trajectory.energies, "eV"))
    if trajectory.velocities is not None:
        others.append(_time_series(atoms, "velocity", trajectory.velocities, "Angstrom fs-1"))
    for group in others:
        group["step"], group["time"] = position["step"], position["time"]


def _time_series(parent: h5py.Group, name: str, values: Array, unit: str) -> h5py.Group:
    group = parent.create_group(name)
    group["value"] = values
    group["value"].attrs["unit"] = unit
    return group


def _read_h5md(path: Path) -> Trajectory:
    try:
        with h5py.File(path, "r") as file:
            atoms = file["particles/all"]
            boundary = atoms["box"].attrs["boundary"]
            velocity = atoms.get("velocity")
            return Trajectory(
                species=atoms["species"][()],
                masses=atoms["mass"][()],
                pbc=np.array([b in ("periodic", b"periodic") for b in boundary]),
                steps=atoms["position/step"][()],
                times=atoms["position/time"][()],
                positions=atoms["position/value"][()],
                velocities=None if velocity is None else velocity["value"][()],
                cells=atoms["box/edges/value"][()],
                energies=file["observables/potential_energy/value"][()],
            )
    except (OSError, KeyError) as error:
        raise ValueError(f"{path} is not a trajectory written by huozi md: {error}") from error


def _join(parts: list[Trajectory]) -> Trajectory:
    first = parts[0]

    def joined(name: str) -> Array:
        return np.concatenate([getattr(part, name) for part in parts])

    velocities = None if first.velocities is None else joined("velocities")
    names = ("steps", "times", "positions", "cells", "energies")
    series = {name: joined(name) for name in names}
    return Trajectory(
        species=first.species,
        masses=first.masses,
        pbc=first.pbc,
        velocities=velocities,
        **series,
    )
