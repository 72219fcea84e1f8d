"""A learned density functional (`huozi.functional`) as a label engine."""

from __future__ import annotations

import importlib
import importlib.metadata

import numpy as np
from ase import Atoms
from ase.units import Bohr, Hartree

from huozi.labels.labeller import LabelError, charge_and_multiplicity, checked, require
from huozi.labels.settings import FunctionalLevel
from huozi.systems import Labels


class FunctionalLabeller:
    """Energy and forces of molecules; base method and orbital basis are those of the model."""

    def __init__(self, level: FunctionalLevel) -> None:
        pyscf = require("pyscf", "2.6", "pip install 'huozi[functional]'")
        # Found by name: neither package depends on the other.
        functional = importlib.import_module("huozi.functional")
        self._level, self._make = level, functional.NeuralKS
        self._model = functional.load_model(level.method)
        self.code = f"huozi {importlib.metadata.version('huozi')}, PySCF {pyscf}"
        kind = "DeePKS" if level.self_consistent else "DeePHF"
        base = f"{self._model.base}/{self._model.orbital_name}"
        self.level = f"{kind}({level.digest[:8]}) on {base}"

    def label(self, atoms: Atoms) -> Labels:
        """See `huozi.labels.Labeller`."""
        from pyscf import gto

        level = self._level
        charge, multiplicity = charge_and_multiplicity(atoms, level)
        if atoms.pbc.any():
            raise LabelError("learned functionals are for molecules; the frame is periodic")
        molecule = gto.M(
            atom=list(zip(atoms.symbols, atoms.positions)),
            unit="Angstrom",
            basis=self._model.orbital_name,
            charge=charge,
            spin=multiplicity - 1,
            verbose=0,
        )
        try:
            field = self._make(
                molecule, self._model.base, self._model, self_consistent=level.self_consistent
            )
        except ValueError as error:
            raise LabelError(str(error)) from error
        if level.density_fit:
            field = field.density_fit()
        field.conv_tol, field.max_cycle = level.convergence, level.max_steps
        field.kernel()
        if not field.converged:
            raise LabelError(f"SCF did not converge in {level.max_steps} steps")
        forces = -np.asarray(field.nuc_grad_method().kernel()) * Hartree / Bohr
        return checked(Labels(float(field.e_tot) * Hartree, forces), atoms)
