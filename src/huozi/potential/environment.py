"""The environment matrix: what DeepPot-SE and DPA-1 see of the neighbours.

    R_ij = (s, s x / r, s y / r, s z / r)      s(r) = w(r) / r

with a switch w that falls from 1 at the onset to 0 at the cutoff. Rows are standardised by
statistics of the centre's element before they are used.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from huozi.arrays import jnp
from huozi.potential.deeppot_settings import Neighbourhood


class Environment(NamedTuple):
    """Standardised rows of some atoms of one element.

    Parameters
    ----------
    inside : (n, m) bool
        Slots that hold a neighbour within the cutoff.
    switch : (n, m)
        w(r), zero elsewhere.
    matrix : (n, m, 4)
        Standardised R; `empty` in the first column of slots outside.
    empty : ()
        Standardised radial part of no neighbour: what deepmd-kit puts into unused slots.
    """

    inside: Any
    switch: Any
    matrix: Any
    empty: Any


def switch(distance: Any, onset: float, cutoff: float) -> Any:
    """Polynomial of fifth degree from 1 at the onset to 0 at the cutoff, smooth to second order."""
    u = jnp.clip((distance - onset) / (cutoff - onset), 0, 1)
    return u**3 * (-6 * u**2 + 15 * u - 10) + 1


def environment(
    vectors: Any, species: Any, config: Neighbourhood, mean: Any, deviation: Any
) -> Environment:
    """Environment matrices of atoms of one element.

    Parameters
    ----------
    vectors : (n, m, 3) array
        Displacements to the neighbours, Å; anything in empty slots.
    species : (n, m) int array
        Element of each neighbour; negative in empty slots.
    config : Neighbourhood
    mean : ()
        Mean of s around the centre's element, 1/Å.
    deviation : (2,)
        Standard deviation of the radial and of the angular columns, 1/Å.

    Source: Zhang et al., NeurIPS 31, 4436 (2018), equations 3 to 5.
    """
    occupied = species >= 0
    square = jnp.where(occupied, jnp.sum(vectors**2, -1), config.cutoff**2)
    distance = jnp.sqrt(square)
    inside = occupied & (distance < config.cutoff)
    weight = jnp.where(inside, switch(distance, config.onset, config.cutoff), 0)
    inverse = 1 / (distance + config.protection)
    radial = (weight * inverse - mean) / deviation[0]
    angular = (weight * inverse**2)[..., None] * vectors / deviation[1]
    angular = jnp.where(inside[..., None], angular, 0)
    matrix = jnp.concatenate([radial[..., None], angular], -1)
    return Environment(inside, weight, matrix, -mean / deviation[0])
