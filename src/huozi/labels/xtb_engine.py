"""GFN1- and GFN2-xTB by tblite."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.units import Bohr, Hartree

from huozi.labels.labeller import LabelError, charge_and_multiplicity, checked, require
from huozi.labels.settings import XtbLevel
from huozi.systems import Labels


class XtbLabeller:
    """Energy, forces and, in cells, virial; cells are sampled at the Gamma point.

    Sources: GFN1 Grimme, Bannwarth & Shushkov, JCTC 13, 1989 (2017); GFN2 Bannwarth, Ehlert &
    Grimme, JCTC 15, 1652 (2019).
    """

    def __init__(self, level: XtbLevel) -> None:
        self._level = level
        self.code = "tblite " + require("tblite", "0.4", "pip install 'huozi[xtb]'")
        self.level = level.method

    def label(self, atoms: Atoms) -> Labels:
        """See `huozi.labels.Labeller`."""
        from tblite.exceptions import TBLiteRuntimeError
        from tblite.interface import Calculator

        level = self._level
        charge, multiplicity = charge_and_multiplicity(atoms, level)
        cell: dict[str, Any] = {}
        if atoms.pbc.any() and not atoms.pbc.all():
            # Its sum over charges is that of three dimensions whatever the directions.
            raise LabelError("xTB labels molecules and cells periodic in all directions alone")
        if atoms.pbc.any():
            cell = {"lattice": atoms.cell.array / Bohr, "periodic": atoms.pbc}
        try:
            calculator = Calculator(
                level.method,
                atoms.numbers,
                atoms.positions / Bohr,
                charge=charge,
                uhf=multiplicity - 1,
                **cell,
            )
            calculator.set("accuracy", level.accuracy)
            calculator.set("temperature", level.smearing / Hartree)
            calculator.set("max-iter", level.max_steps)
            result = calculator.singlepoint()
        except (TBLiteRuntimeError, RuntimeError) as error:
            raise LabelError(f"xTB has no result: {error}") from error
        labels = Labels(
            float(result.get("energy")) * Hartree,
            -np.array(result.get("gradient")) * Hartree / Bohr,
            -np.array(result.get("virial")) * Hartree if atoms.pbc.all() else None,
        )
        return checked(labels, atoms)
