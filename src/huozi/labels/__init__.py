"""First principles on tap: energies, forces and virials by programs of quantum chemistry."""

from huozi.labels.labeller import LabelError, Labeller, make_labeller
from huozi.labels.run import STATE, Labelled, isolated_atoms, label
from huozi.labels.settings import (
    ENGINES,
    LEVEL,
    AseLevel,
    Cp2kLevel,
    FunctionalLevel,
    GpawLevel,
    Level,
    PyscfLevel,
    WaveFunctionLevel,
    XtbLevel,
)

__all__ = [
    "ENGINES",
    "LEVEL",
    "STATE",
    "AseLevel",
    "Cp2kLevel",
    "FunctionalLevel",
    "GpawLevel",
    "LabelError",
    "Labelled",
    "Labeller",
    "Level",
    "PyscfLevel",
    "WaveFunctionLevel",
    "XtbLevel",
    "isolated_atoms",
    "label",
    "make_labeller",
]
