"""The one contract between energy functions and everything that moves atoms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from huozi.neighbors.pairs import Neighbors


class Evaluation(NamedTuple):
    """Energy and its derivatives for one configuration.

    Parameters
    ----------
    energy : () float64
        eV.
    forces : (n, 3) float64
        eV/Å.
    virial : (3, 3) float64
        eV; minus the derivative of the energy with respect to strain.
    """

    energy: Any
    forces: Any
    virial: Any


Evaluate = Callable[[Any, Any, Neighbors], Evaluation]
"""Pure function (positions (n, 3) Å, cell (3, 3) Å, neighbours) -> Evaluation, traceable by JAX."""


class ForceField(Protocol):
    """An energy function of short range.

    Neighbours beyond the cutoff may be present in the table (a skin); they must not count.
    """

    @property
    def cutoff(self) -> float:
        """Range of the interaction, Å."""

    def bind(self, species: Any) -> Evaluate:
        """Return the evaluation for atoms of these atomic numbers, (n,) int, in this order.

        The result is a JAX pytree (``jax.tree_util.Partial``) and may be passed into ``jax.jit``.

        Raises
        ------
        ValueError
            If an element is unknown to the energy function.
        """
