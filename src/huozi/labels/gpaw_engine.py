"""Density functional theory in plane waves by GPAW."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.data import ground_state_magnetic_moments

from huozi.labels.labeller import LabelError, charge_and_multiplicity, checked, require
from huozi.labels.settings import GpawLevel
from huozi.systems import Labels

HOW = "benchmarks/labels/install_gpaw.sh (Debian's libxc-dev and libopenblas-dev, then pip)"

LEAST_MOMENT = 0.5
"""Magnetic moment, Bohr magnetons, that every atom of a metal begins with at least."""


class GpawLabeller:
    """Energy, forces and, in cells, virial; open directions are padded with vacuum.

    Source: Mortensen et al., J. Chem. Phys. 160, 092503 (2024).
    """

    def __init__(self, level: GpawLevel) -> None:
        self._level = level
        self.code = "GPAW " + require("gpaw", "24.1", HOW)
        require("gpaw-data", "1.0", HOW)
        self.level = f"{level.method}/PW({level.cutoff:g} eV)"

    def label(self, atoms: Atoms) -> Labels:
        """See `huozi.labels.Labeller`."""
        from gpaw import GPAW, KohnShamConvergenceError

        level = self._level
        periodic = bool(atoms.pbc.all())
        metal = periodic and level.smearing > 0
        charge, multiplicity = charge_and_multiplicity(atoms, level, metal)
        box = atoms.copy()
        if not periodic:
            box.center(level.vacuum, axis=tuple(np.flatnonzero(~atoms.pbc)))
            box.pbc = True
        if multiplicity > 1:
            moments = np.zeros(len(box))
            moments[:] = (multiplicity - 1) / len(box)
            box.set_initial_magnetic_moments(moments)
        elif level.spin and metal:
            # Both spins would stay equal without; the moment is free to go.
            free_atoms = ground_state_magnetic_moments[box.numbers]
            box.set_initial_magnetic_moments(np.maximum(free_atoms, LEAST_MOMENT))
        box.calc = GPAW(**self._parameters(atoms, charge, multiplicity))
        try:
            energy = box.get_potential_energy(force_consistent=True)
            forces = box.get_forces()
            virial = -box.get_volume() * box.get_stress(voigt=False) if periodic else None
        except KohnShamConvergenceError as error:
            raise LabelError(f"SCF did not converge: {error}") from error
        return checked(Labels(float(energy), np.array(forces), virial), atoms)

    def _parameters(self, atoms: Atoms, charge: int, multiplicity: int) -> dict[str, Any]:
        level = self._level
        occupations: dict[str, Any] = {"name": "fermi-dirac", "width": level.smearing}
        if multiplicity > 1:
            occupations["fixmagmom"] = True
        parameters: dict[str, Any] = {
            # A cutoff alone would let the grid follow the cell, and the energy jump with it.
            "mode": {"name": "pw", "ecut": level.cutoff, "dedecut": "estimate"},
            "xc": level.method,
            "charge": charge,
            "spinpol": level.spin or multiplicity > 1,
            "occupations": occupations,
            "convergence": {"energy": level.convergence},
            "maxiter": level.max_steps,
            "symmetry": {"point_group": False},
            "txt": "-",
        }
        if atoms.pbc.all() and level.kpoint_density:
            parameters["kpts"] = {"density": level.kpoint_density, "gamma": level.gamma}
        return parameters
