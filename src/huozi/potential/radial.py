"""Radial basis: Chebyshev polynomials of a warped distance, cut off smoothly."""

from __future__ import annotations

from typing import Any

from huozi.arrays import jnp


def radial_basis(distance: Any, cutoff: float, count: int) -> tuple[list[Any], list[Any]]:
    """Radial functions B_n(r) = T_n(1 - 2 (1 - r/rc)^2) (1 - (r/rc)^2)^3 and their derivatives.

    They vanish beyond the cutoff and are smooth to second order there. The warp puts more of the
    polynomials' resolution at short distances, where the energy varies most.

    Parameters
    ----------
    distance : array
        Å, any shape.
    cutoff : float
        Å.
    count : int
        Number of functions, at least 2.

    Returns
    -------
    values, derivatives : lists of arrays
        One array of the shape of `distance` for each function; derivatives in 1/Å.
    """
    q = distance / cutoff
    x, dx = 1 - 2 * (1 - q) ** 2, 4 * (1 - q) / cutoff
    w = jnp.where(q < 1, 1 - q * q, 0)
    envelope, slope = w**3, -6 * q / cutoff * w * w
    values = [jnp.ones_like(x), x]
    derivatives = [jnp.zeros_like(x), jnp.ones_like(x)]
    while len(values) < count:
        derivatives.append(2 * values[-1] + 2 * x * derivatives[-1] - derivatives[-2])
        values.append(2 * x * values[-1] - values[-2])
    return (
        [t * envelope for t in values],
        [d * dx * envelope + t * slope for t, d in zip(values, derivatives, strict=True)],
    )
