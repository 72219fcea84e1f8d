"""Who is near whom, and the contract that energy functions fulfil on that basis."""

from huozi.neighbors.deviation import DEVIATIONS, deviations, force_deviation
from huozi.neighbors.forcefield import Evaluate, Evaluation, ForceField
from huozi.neighbors.pairs import (
    Neighbors,
    build_neighbors,
    displacements,
    forces_from_pairs,
    round_width,
    virial_from_pairs,
)

__all__ = [
    "DEVIATIONS",
    "Evaluate",
    "Evaluation",
    "ForceField",
    "Neighbors",
    "build_neighbors",
    "deviations",
    "displacements",
    "force_deviation",
    "forces_from_pairs",
    "round_width",
    "virial_from_pairs",
]
