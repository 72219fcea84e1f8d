"""Lennard-Jones atoms: the smallest complete force field, for tests and teaching."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from huozi.arrays import jax, jnp
from huozi.neighbors import (
    Evaluate,
    Evaluation,
    Neighbors,
    displacements,
    forces_from_pairs,
    virial_from_pairs,
)


@dataclass(frozen=True)
class LennardJones:
    """Equal Lennard-Jones atoms of one or more elements.

    Without `onset` the potential is truncated and shifted (LJTS: the energy goes to zero at the
    cutoff, the force jumps there), the model of published simulations. With `onset` a quintic
    switch brings energy, force and curvature to zero between onset and cutoff.

    Parameters
    ----------
    epsilon : float
        Well depth, eV.
    sigma : float
        Distance of zero energy, Å.
    cutoff : float
        Å.
    onset : float, optional
        Where the switch begins, Å.
    elements : tuple of int
        Atomic numbers it applies to (argon by default).

    Raises
    ------
    ValueError
        If the onset does not lie between zero and the cutoff.
    """

    epsilon: float
    sigma: float
    cutoff: float
    onset: float | None = None
    elements: tuple[int, ...] = (18,)

    def __post_init__(self) -> None:
        if self.onset is not None and not 0 < self.onset < self.cutoff:
            raise ValueError(
                f"the onset must lie between 0 and the cutoff of {self.cutoff} Å; "
                f"found {self.onset} Å"
            )

    def bind(self, species: Any) -> Evaluate:
        """Return the evaluation for atoms of these atomic numbers, (n,) int.

        Raises
        ------
        ValueError
            If an element is not among `elements`.
        """
        unknown = sorted(set(np.asarray(species).tolist()) - set(self.elements))
        if unknown:
            raise ValueError(
                f"atomic number {unknown[0]} is unknown to this Lennard-Jones potential, "
                f"which knows {list(self.elements)}"
            )
        smooth = self.onset is not None
        parameters = jnp.array([self.epsilon, self.sigma, self.cutoff, self.onset or 0.0])
        function = _evaluate_switched if smooth else _evaluate_shifted
        return jax.tree_util.Partial(function, parameters)


def _lennard_jones(square: Any, epsilon: Any, sigma: Any) -> Any:
    """Pair energy from the squared distance."""
    sixth = (sigma**2 / square) ** 3
    return 4 * epsilon * (sixth**2 - sixth)


def _shifted(square: Any, parameters: Any) -> Any:
    epsilon, sigma, cutoff, _ = parameters
    shift = _lennard_jones(cutoff**2, epsilon, sigma)
    return _lennard_jones(square, epsilon, sigma) - shift


def _switched(square: Any, parameters: Any) -> Any:
    epsilon, sigma, cutoff, onset = parameters
    x = jnp.clip((jnp.sqrt(square) - onset) / (cutoff - onset), 0, 1)
    switch = 1 - x**3 * (10 - 15 * x + 6 * x**2)
    return switch * _lennard_jones(square, epsilon, sigma)


def _evaluate_shifted(
    parameters: Any, positions: Any, cell: Any, neighbors: Neighbors
) -> Evaluation:
    return _evaluate(_shifted, parameters, positions, cell, neighbors)


def _evaluate_switched(
    parameters: Any, positions: Any, cell: Any, neighbors: Neighbors
) -> Evaluation:
    return _evaluate(_switched, parameters, positions, cell, neighbors)


def _evaluate(
    pair: Any, parameters: Any, positions: Any, cell: Any, neighbors: Neighbors
) -> Evaluation:
    """Sum a pair energy over the table, each pair being in it twice."""
    vectors = displacements(positions, cell, neighbors)

    def total(vectors: Any) -> Any:
        square = jnp.sum(vectors**2, axis=-1)
        inside = neighbors.mask & (square < parameters[2] ** 2)
        return 0.5 * jnp.sum(jnp.where(inside, pair(jnp.where(inside, square, 1.0), parameters), 0))

    energy, gradient = jax.value_and_grad(total)(vectors)
    forces = forces_from_pairs(gradient, neighbors)
    return Evaluation(energy, forces, virial_from_pairs(gradient, vectors))
