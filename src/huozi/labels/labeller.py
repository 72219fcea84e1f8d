"""The one contract of label engines, and how a level of theory becomes one."""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import Any, Protocol

import numpy as np
from ase import Atoms

from huozi.labels.settings import Level
from huozi.systems import Labels


class LabelError(ValueError):
    """A frame that has no label at this level: not converged, or not possible."""


class Labeller(Protocol):
    """A program that labels structures at one level of theory."""

    @property
    def code(self) -> str:
        """Name and version of the program."""

    @property
    def level(self) -> str:
        """The level of theory in a chemist's notation."""

    def label(self, atoms: Atoms) -> Labels:
        """Energy, and forces and virial where the program has them at this level.

        Parameters
        ----------
        atoms : ase.Atoms
            ``info`` may hold ``charge`` and ``multiplicity``, which replace those of the level.

        Returns
        -------
        Labels
            With smearing the energy is the free energy, of which the forces are the gradient.

        Raises
        ------
        LabelError
            If the calculation did not converge or cannot be done for these atoms.
        """


_CLASSES = {
    "pyscf": "huozi.labels.pyscf_engine:PyscfLabeller",
    "xtb": "huozi.labels.xtb_engine:XtbLabeller",
    "gpaw": "huozi.labels.gpaw_engine:GpawLabeller",
    "cp2k": "huozi.labels.cp2k_engine:Cp2kLabeller",
    "ase": "huozi.labels.ase_engine:AseLabeller",
    "huozi-functional": "huozi.labels.functional_engine:FunctionalLabeller",
    "wavefunction": "huozi.labels.wavefunction_engine:WaveFunctionLabeller",
}


def make_labeller(level: Level) -> Labeller:
    """Return the engine of a level of theory, found and its version checked.

    Raises
    ------
    ImportError
        If the program is not there or too old; says how to install it.
    ValueError
        If the level is impossible, e.g. an unknown functional.
    """
    module, _, name = _CLASSES[level.engine].partition(":")
    labeller: Labeller = getattr(importlib.import_module(module), name)(level)
    return labeller


def require(package: str, least: str, how: str) -> str:
    """Return the installed version of a Python package.

    Raises
    ------
    ImportError
        If it is missing or older than `least`.
    """
    try:
        found = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise ImportError(f"the label engine needs {package} {least} or newer: {how}") from None
    numbers = [[int(x) for x in v.split(".")[:2] if x.isdigit()] for v in (found, least)]
    if numbers[0] < numbers[1]:
        raise ImportError(
            f"the label engine needs {package} {least} or newer, found {found}: {how}"
        )
    return found


def charge_and_multiplicity(atoms: Atoms, level: Level, metal: bool = False) -> tuple[int, int]:
    """Return the frame's own charge and multiplicity, or those of the level.

    In a metal, whose states are partly occupied, multiplicity 1 stands for equal densities of
    both spins, and a cell may hold an odd number of electrons.

    Raises
    ------
    LabelError
        If the number of electrons does not allow the multiplicity.
    """
    charge = int(atoms.info.get("charge", level.charge))
    multiplicity = int(atoms.info.get("multiplicity", level.multiplicity))
    electrons = int(atoms.numbers.sum()) - charge
    odd = (electrons - multiplicity) % 2 == 0 and not (metal and multiplicity == 1)
    if electrons < multiplicity - 1 or odd:
        raise LabelError(
            f"{electrons} electrons (charge {charge}) cannot have multiplicity {multiplicity}; "
            "set charge and multiplicity in the level or in the frame's info"
        )
    return charge, multiplicity


def checked(labels: Labels, atoms: Atoms) -> Labels:
    """Return labels that are finite and of the right shapes.

    Raises
    ------
    LabelError
        If they are not.
    """
    shapes = {"forces": (len(atoms), 3), "virial": (3, 3)}
    if labels.energy is None or not np.isfinite(labels.energy):
        raise LabelError(f"the energy is {labels.energy}")
    for name, shape in shapes.items():
        values = getattr(labels, name)
        if values is not None and (np.shape(values) != shape or not np.isfinite(values).all()):
            raise LabelError(f"the {name} are not finite numbers of shape {shape}")
    return labels


def level_settings(level: Level) -> dict[str, Any]:
    """All settings of a level that decide its labels, for the record."""
    return level.model_dump(mode="json")
