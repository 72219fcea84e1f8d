"""When a simulation leaves the bounds: say where, by how much, and keep the last good state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import chemical_symbols
from ase.io import write as ase_write
from numpy.typing import NDArray

from huozi.dynamics.loop import Bounds
from huozi.dynamics.state import State, temperature, volume
from huozi.files import atomic_path
from huozi.units import ASE_TIME


class BlowUpError(ValueError):
    """A simulation left the bounds of its configuration."""


def describe_violation(
    bounds: Bounds, old: State, new: State, dof: float, species: NDArray[np.integer]
) -> str:
    """Say which bound the step from `old` to `new` passed, at which atom, with which value."""
    before = np.asarray(old.positions)
    if (old.cell != new.cell).any():
        before = before @ np.linalg.solve(np.asarray(old.cell), np.asarray(new.cell))
    moved = np.linalg.norm(np.asarray(new.positions) - before, axis=1)
    pulled = np.linalg.norm(np.asarray(new.forces), axis=1)

    def worst(values: NDArray[np.floating]) -> tuple[float, str]:
        atom = int(np.argmax(np.where(np.isfinite(values), values, np.inf)))
        return float(values[atom]), f"atom {atom} ({chemical_symbols[species[atom]]})"

    (step, mover), (pull, puller) = worst(moved), worst(pulled)
    near = 1 - 1e-6  # another compilation of the same step may differ in the last digits
    if not step <= near * bounds.displacement:
        return f"{mover} moved {step:.4g} Å in one step (max_displacement {bounds.displacement})"
    if not pull <= near * bounds.force:
        return f"the force on {puller} is {pull:.4g} eV/Å (max_force {bounds.force})"
    if not np.isfinite(new.energy):
        return f"the energy is {float(new.energy)} eV"
    heat = float(temperature(new, dof))
    if not heat <= near * bounds.temperature:
        return f"the temperature is {heat:.4g} K (max_temperature {bounds.temperature})"
    return (
        f"the volume is {float(volume(new.cell)):.6g} Å^3, outside {bounds.volume[0]:.6g} to "
        f"{bounds.volume[1]:.6g} (max_volume_ratio), or it changes too fast"
    )


def write_state(path: Path, state: State, species: NDArray[np.integer], pbc: NDArray) -> None:
    """Write a state as extended XYZ with velocities, energy and forces."""
    with atomic_path(path) as temporary:
        ase_write(temporary, state_atoms(state, species, pbc), format="extxyz")


def state_atoms(state: State, species: NDArray[np.integer], pbc: NDArray) -> Atoms:
    """Return a state as ASE's atoms with velocities, energy, forces and step."""
    atoms = Atoms(numbers=species, positions=state.positions, cell=state.cell, pbc=pbc)
    atoms.info["step"] = int(state.step)
    atoms.set_velocities(np.asarray(state.velocities) * ASE_TIME)
    atoms.calc = SinglePointCalculator(
        atoms, energy=float(state.energy), forces=np.asarray(state.forces)
    )
    return atoms
