"""Relaxation of positions and cell, by ASE's optimisers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE, LBFGS
from numpy.typing import NDArray

from huozi.dynamics.calculator import ForceFieldCalculator
from huozi.neighbors import ForceField
from huozi.systems import System
from huozi.units import GPA

Array = NDArray[Any]

_OPTIMIZERS: dict[str, Any] = {"lbfgs": LBFGS, "fire": FIRE}


@dataclass(frozen=True, eq=False)
class RelaxResult:
    """What a relaxation found.

    Parameters
    ----------
    system : System
        The last configuration.
    energy : float
        eV.
    forces : (n, 3) array
        eV/Å.
    pressure : float
        GPa; not a number for a system that is not periodic.
    max_force : float
        Largest force on an atom, eV/Å.
    steps : int
        Steps taken.
    converged : bool
    """

    system: System
    energy: float
    forces: Array
    pressure: float
    max_force: float
    steps: int
    converged: bool


def relax(
    force_field: ForceField,
    system: System,
    cell: bool = False,
    fmax: float = 0.01,
    steps: int = 1000,
    optimizer: str = "lbfgs",
    pressure: float = 0.0,
    progress: Callable[[int, float, float], None] | None = None,
) -> RelaxResult:
    """Move atoms, and the cell if wanted, to the nearest minimum of the energy or enthalpy.

    Parameters
    ----------
    force_field : ForceField
    system : System
    cell : bool
        Relax the cell too (all six strains, by the exponential map).
    fmax : float
        Converged when no force exceeds this, eV/Å; with `cell`, the same holds for the virial
        divided by the number of atoms, eV.
    steps : int
        Give up after so many.
    optimizer : {"lbfgs", "fire"}
        L-BFGS takes fewer steps; FIRE is more robust far from a minimum.
    pressure : float
        External pressure with `cell`, GPa.
    progress : callable, optional
        Called after each step with (step, energy in eV, largest force in eV/Å).

    Returns
    -------
    RelaxResult

    Raises
    ------
    ValueError
        If the cell is to be relaxed but the system is not periodic, or the energy is not
        finite.
    """
    if fmax <= 0:
        raise ValueError(f"fmax must be positive; found {fmax}")
    if cell and not system.pbc.all():
        raise ValueError(f"only a periodic cell can be relaxed; pbc is {system.pbc}")
    if pressure and not cell:
        raise ValueError("a pressure acts on the cell: relax the cell as well")
    if optimizer not in _OPTIMIZERS:
        raise ValueError(f"optimizer must be lbfgs or fire; found {optimizer!r}")
    atoms = system.to_atoms()
    atoms.calc = ForceFieldCalculator(force_field)
    moving: Any = FrechetCellFilter(atoms, scalar_pressure=pressure / GPA) if cell else atoms
    search = _OPTIMIZERS[optimizer](moving, logfile=None)

    def watch() -> None:
        energy, force = atoms.get_potential_energy(), _largest(atoms.get_forces())
        if not np.isfinite([energy, force]).all():
            raise ValueError(
                f"step {search.nsteps} of the relaxation: the energy is {energy} eV, the largest "
                f"force {force} eV/Å; check the structure, or try the fire optimiser"
            )
        if progress is not None:
            progress(search.nsteps, energy, force)

    search.attach(watch)
    converged = search.run(fmax=fmax, steps=steps)
    forces, periodic = atoms.get_forces(), bool(system.pbc.all())
    return RelaxResult(
        system=System.from_atoms(atoms),
        energy=float(atoms.get_potential_energy()),
        forces=forces,
        pressure=-float(atoms.get_stress()[:3].mean()) * GPA if periodic else float("nan"),
        max_force=_largest(forces),
        steps=int(search.nsteps),
        converged=bool(converged),
    )


def _largest(forces: Array) -> float:
    return float(np.sqrt((forces**2).sum(axis=1).max(initial=0.0)))
