"""Atoms, labels, data sets: reading, writing, checking, splitting."""

from huozi.systems.checks import check
from huozi.systems.e0 import fit_e0, is_isolated
from huozi.systems.finding import Finding
from huozi.systems.frame import Dataset, Frame, Labels, System, weights_of_errors
from huozi.systems.io import check_target, read, write
from huozi.systems.splits import Split, data_digest, split
from huozi.systems.summary import DatasetInfo, info

__all__ = [
    "Dataset",
    "DatasetInfo",
    "Finding",
    "Frame",
    "Labels",
    "Split",
    "System",
    "check",
    "check_target",
    "data_digest",
    "fit_e0",
    "info",
    "is_isolated",
    "read",
    "split",
    "weights_of_errors",
    "write",
]
