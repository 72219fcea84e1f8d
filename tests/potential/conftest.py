"""Small random models and data sets with an exact energy."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.morse import MorsePotential

from huozi.arrays import jax, jnp
from huozi.potential import Model, MomentConfig
from huozi.potential.moment import init
from huozi.systems import Dataset, Frame, Labels, System

SMALL = MomentConfig(cutoff=4.0, radial=6, channels=8, partners=4, hidden=(16, 16))


def random_model(elements: tuple[int, ...], config: MomentConfig = SMALL) -> Model:
    """A float64 model whose energies are of the order of 1 eV."""
    params = init(jax.random.key(3), config, len(elements))
    params = jax.tree.map(lambda x: jnp.asarray(x, "float64"), params)
    params["readout"] = 10 * params["readout"]
    return Model(config, elements, tuple(-1.5 - z for z in range(len(elements))), params)


def morse_frames(count: int, seed: int = 0) -> Dataset:
    """Rattled, strained argon-like crystals of two sizes, labelled by ASE's Morse potential."""
    rng = np.random.default_rng(seed)
    frames = []
    for index in range(count):
        atoms = bulk("Ar", "fcc", a=1.5, cubic=True) * ((2, 1, 1) if index % 2 else (1, 1, 1))
        strain = np.eye(3) + 0.03 * rng.normal(size=(3, 3))
        atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        atoms.positions += 0.05 * rng.normal(size=(len(atoms), 3))
        atoms.calc = MorsePotential(epsilon=1.0, r0=1.1, rho0=4.0, rcut1=1.8, rcut2=2.4)
        stress = atoms.get_stress(voigt=False)
        labels = Labels(
            float(atoms.get_potential_energy()), atoms.get_forces(), -atoms.get_volume() * stress
        )
        frames.append(Frame(System.from_atoms(atoms), labels, f"morse#{index}"))
    return Dataset(tuple(frames))


@pytest.fixture
def water() -> Atoms:
    """Eight water molecules at random in a triclinic cell."""
    rng = np.random.default_rng(1)
    cell = np.array([[6.3, 0, 0], [0.8, 6.1, 0], [-0.5, 0.7, 6.4]])
    oxygen = rng.uniform(size=(8, 3)) @ cell
    hydrogen = oxygen[:, None] + rng.normal(scale=0.6, size=(8, 2, 3))
    positions = np.concatenate([oxygen[:, None], hydrogen], axis=1).reshape(-1, 3)
    return Atoms("OH2" * 8, positions=positions, cell=cell, pbc=True)
