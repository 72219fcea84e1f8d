"""Data sets with labels from exact models, made once."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, make_supercell
from ase.calculators.emt import EMT
from ase.md.verlet import VelocityVerlet

from huozi.systems import Dataset, Frame, Labels, System


def labelled(atoms: Atoms, source: str = "", **info) -> Frame:
    """Frame with energy, forces and virial from the calculator of `atoms`."""
    stress = atoms.get_stress(voigt=False)
    labels = Labels(atoms.get_potential_energy(), atoms.get_forces(), -atoms.get_volume() * stress)
    return Frame(System.from_atoms(atoms), labels, source, info)


@pytest.fixture(scope="session")
def alloy() -> Dataset:
    """See `make_alloy`."""
    return make_alloy()


def make_alloy() -> Dataset:
    """60 decorrelated frames of CuAu and Cu, rattled and strained, in two groups."""
    rng = np.random.default_rng(1)
    frames = []
    for k in range(60):
        atoms = make_supercell(bulk("Cu", cubic=True, a=3.75), 2 * np.eye(3))
        if k % 2:
            atoms.numbers[rng.permutation(len(atoms))[:16]] = 79
            atoms.set_cell(atoms.cell * 1.06, scale_atoms=True)
        strain = np.eye(3) + rng.normal(0, 0.01, (3, 3))
        atoms.set_cell(atoms.cell @ ((strain + strain.T) / 2), scale_atoms=True)
        atoms.positions += rng.normal(0, 0.12, (len(atoms), 3))
        atoms.calc = EMT()
        frames.append(labelled(atoms, f"alloy.extxyz#{k}", group=f"g{k % 5}"))
    return Dataset(tuple(frames), ("made for tests",))


@pytest.fixture(scope="session")
def trajectory() -> Dataset:
    """30 frames of Cu along an NVE trajectory, 2 fs apart."""
    atoms = make_supercell(bulk("Cu", cubic=True), 2 * np.eye(3))
    atoms.calc = EMT()
    spread = np.sqrt(atoms.get_masses()[:, None] * units.kB * 800)
    atoms.set_momenta(spread * np.random.default_rng(2).normal(size=(len(atoms), 3)))
    frames = []
    dynamics = VelocityVerlet(atoms, timestep=2 * units.fs)
    for k in range(30):
        dynamics.run(1)
        frames.append(labelled(atoms, f"md.extxyz#{k}"))
    return Dataset(tuple(frames))


def carbon(x: float, y: float) -> System:
    """One open carbon atom at (x, y, 0)."""
    return System(np.array([6]), np.array([[x, y, 0.0]]), np.zeros((3, 3)), np.zeros(3, bool))
