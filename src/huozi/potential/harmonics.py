"""Real solid harmonics on the unit sphere up to degree 3."""

from __future__ import annotations

from math import sqrt
from typing import Any

from huozi.arrays import jnp

MAX_DEGREE = 3


def degree_slices(max_degree: int) -> tuple[slice, ...]:
    """Where the 2l + 1 components of each degree l lie among the (max_degree + 1)^2."""
    return tuple(slice(degree**2, (degree + 1) ** 2) for degree in range(max_degree + 1))


def real_harmonics(x: Any, y: Any, z: Any, max_degree: int) -> list[Any]:
    """Real spherical harmonics of unit vectors, normalised so that sum_m Y_lm^2 = 1.

    With this (Racah) normalisation, sum_m Y_lm(u) Y_lm(v) is the Legendre polynomial
    P_l(u . v).

    Parameters
    ----------
    x, y, z : arrays
        Components of unit vectors, any shape.
    max_degree : int
        Largest degree l, at most 3.

    Returns
    -------
    list of arrays
        (max_degree + 1)^2 arrays, by degree.

    Source: Helgaker, Jørgensen & Olsen, Molecular Electronic-Structure Theory, table 6.3.
    """
    if not 0 <= max_degree <= MAX_DEGREE:
        raise ValueError(f"harmonics go up to degree {MAX_DEGREE}; asked for {max_degree}")
    values = [jnp.ones_like(x)]
    if max_degree >= 1:
        values += [x, y, z]
    if max_degree >= 2:
        values += [
            sqrt(3) * x * y,
            sqrt(3) * y * z,
            (3 * z * z - 1) / 2,
            sqrt(3) * x * z,
            sqrt(3) / 2 * (x * x - y * y),
        ]
    if max_degree >= 3:
        values += [
            sqrt(5 / 8) * y * (3 * x * x - y * y),
            sqrt(15) * x * y * z,
            sqrt(3 / 8) * y * (5 * z * z - 1),
            (5 * z * z * z - 3 * z) / 2,
            sqrt(3 / 8) * x * (5 * z * z - 1),
            sqrt(15) / 2 * z * (x * x - y * y),
            sqrt(5 / 8) * x * (x * x - 3 * y * y),
        ]
    return values
