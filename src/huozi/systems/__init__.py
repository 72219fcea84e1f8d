"""Atoms, labels, data sets: reading, writing, checking, splitting."""

from huozi.systems.e0 import fit_e0
from huozi.systems.frame import Dataset, Frame, Labels, System
from huozi.systems.io import read, write
from huozi.systems.splits import Split, split
from huozi.systems.summary import DatasetInfo, info

__all__ = [
    "Dataset",
    "DatasetInfo",
    "Frame",
    "Labels",
    "Split",
    "System",
    "fit_e0",
    "info",
    "read",
    "split",
    "write",
]
