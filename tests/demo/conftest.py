"""Argon: small labelled sets with an exact energy, quick to learn."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones

from huozi.systems import Dataset, Frame, Labels, System, write


def labelled(atoms: Atoms, source: str) -> Frame:
    """Give a structure the energy and forces of Lennard-Jones."""
    atoms.calc = LennardJones(epsilon=0.0104, sigma=3.4, rc=5.9, ro=4.5, smooth=True)
    labels = Labels(float(atoms.get_potential_energy()), atoms.get_forces())
    return Frame(System.from_atoms(atoms), labels, source)


def crystal(count: int, seed: int) -> Dataset:
    """Rattled fcc crystals of 32 atoms at two densities, with their temperature."""
    rng = np.random.default_rng(seed)
    frames = []
    for index in range(count):
        atoms = bulk("Ar", a=5.3 if index % 4 else 5.45, cubic=True) * (2, 2, 2)
        atoms.positions += rng.normal(scale=0.12, size=(32, 3))
        frames.append(labelled(atoms, f"crystal#{index}"))
    return Dataset(tuple(frames))


def cluster(count: int, seed: int) -> Dataset:
    """Open clusters of 13 atoms."""
    rng = np.random.default_rng(seed)
    crystal = bulk("Ar", a=5.3, cubic=True) * (3, 3, 3)
    away = np.linalg.norm(crystal.positions - crystal.positions.mean(axis=0), axis=1)
    ball = crystal[np.argsort(away)[:13]]
    frames = []
    for index in range(count):
        atoms = Atoms(ball.numbers, ball.positions + rng.normal(scale=0.1, size=(13, 3)))
        frames.append(labelled(atoms, f"cluster#{index}"))
    return Dataset(tuple(frames))


@pytest.fixture(scope="session")
def crystal_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("crystal") / "argon.extxyz"
    write(crystal(60, 1), path)
    return path


@pytest.fixture(scope="session")
def cluster_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("cluster") / "argon13.extxyz"
    write(cluster(40, 2), path)
    return path
