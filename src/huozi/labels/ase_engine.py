"""Any calculator of ASE as a label engine."""

from __future__ import annotations

import importlib
import importlib.metadata

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError

from huozi.labels.labeller import LabelError, checked
from huozi.labels.settings import AseLevel
from huozi.systems import Labels


class AseLabeller:
    """What the calculator has of energy, forces and stress.

    A calculator that does not converge must raise an exception; ASE has no other sign of it.
    """

    def __init__(self, level: AseLevel) -> None:
        module, _, name = level.calculator.partition(":")
        try:
            self._make = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ImportError(
                f"no calculator {level.calculator}: {error}; install its package"
            ) from None
        if level.charge or level.multiplicity != 1:
            raise ValueError(
                "calculators of ASE do not see charge and multiplicity; set what yours calls them "
                "in parameters"
            )
        self._parameters = level.parameters
        package = module.split(".")[0]
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version = "of unknown version"
        self.code = f"{package} {version}"
        self.level = level.method or name

    def label(self, atoms: Atoms) -> Labels:
        """See `huozi.labels.Labeller`."""
        if charge := atoms.info.get("charge"):
            raise LabelError(f"calculators of ASE do not see the frame's charge, {charge}")
        atoms = atoms.copy()
        atoms.calc = self._make(**self._parameters)
        try:
            energy = atoms.get_potential_energy(force_consistent=True)
        except PropertyNotImplementedError:
            energy = atoms.get_potential_energy()
        virial = None
        if atoms.pbc.all():
            try:
                virial = -atoms.get_volume() * atoms.get_stress(voigt=False)
            except PropertyNotImplementedError:
                virial = None
        return checked(Labels(float(energy), np.array(atoms.get_forces()), virial), atoms)
