"""Several models in one file: the first moves atoms, their spread says how far to trust it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from huozi.arrays import jax
from huozi.files import atomic_path
from huozi.neighbors import Evaluation, force_deviation
from huozi.potential.model import Model, file_contents, load_members
from huozi.systems import System

Array = NDArray[Any]


@dataclass(frozen=True)
class Ensemble:
    """Models of the same elements and cutoff; the first of them moves the atoms.

    Parameters
    ----------
    members : tuple of Model
        One or more. Usually they differ by the seed of their training alone.

    Raises
    ------
    ValueError
        If there are none, if their elements or cutoffs differ, or if two are the same model.
    """

    members: tuple[Model, ...]

    def __post_init__(self) -> None:
        if not self.members:
            raise ValueError("an ensemble needs at least one model")
        first = self.members[0]
        for i, other in enumerate(self.members[1:], 2):
            if set(other.elements) != set(first.elements):
                raise ValueError(
                    f"model {i} knows {' '.join(other.symbols)}, model 1 {' '.join(first.symbols)};"
                    " the models of an ensemble must know the same elements"
                )
            if other.cutoff != first.cutoff:
                raise ValueError(
                    f"model {i} has a cutoff of {other.cutoff} Å, model 1 of {first.cutoff} Å; "
                    "the models of an ensemble must have the same"
                )
        parts = [_parameters(member) for member in self.members]
        for i, one in enumerate(parts):
            if one in parts[:i]:
                raise ValueError(
                    f"models {parts.index(one) + 1} and {i + 1} are the same; give models that "
                    "were trained with different seeds"
                )

    @property
    def cutoff(self) -> float:
        """Range of the interaction, Å."""
        return self.members[0].cutoff

    @property
    def symbols(self) -> tuple[str, ...]:
        """Chemical symbols of the elements, in the order of the first model."""
        return self.members[0].symbols

    def evaluate(self, system: System) -> Evaluation:
        """Energy, forces and virial of the first model, as NumPy arrays."""
        return self.members[0].evaluate(system)

    def forces(self, system: System) -> Array:
        """Return the forces of every member, (members, n, 3) eV/Å."""
        return member_forces(self.members, system)

    def deviation(self, system: System) -> Array:
        """Return the deviation of the force on each atom, sqrt(<|F - <F>|^2>), (n,) eV/Å."""
        return force_deviation(self.forces(system))

    def save(self, path: str | Path) -> None:
        """Write all members to one model file; whole or not at all."""
        with atomic_path(path) as temporary:
            temporary.write_bytes(file_contents(self.members))


def member_forces(members: Sequence[Model], system: System) -> Array:
    """Return the forces of every model, (members, n, 3) eV/Å, in double precision."""
    return np.array([member.evaluate(system).forces for member in members], np.float64)


def load_ensemble(path: str | Path) -> Ensemble:
    """Read a model file with all its members; that of one model gives an ensemble of one.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is no Huozi model, is truncated, or its contents do not match its digest.
    """
    return Ensemble(tuple(load_members(path)))


def _parameters(model: Model) -> list[bytes]:
    """Return what makes two models the same."""
    return [np.asarray(x).tobytes() for x in jax.tree.leaves(model.params)]
