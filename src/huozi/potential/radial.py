"""Radial basis: Chebyshev polynomials of a warped distance, cut off smoothly."""

from __future__ import annotations

from typing import Any

from huozi.arrays import jnp


def cutoff_function(distance: Any, cutoff: float) -> Any:
    """Return (1 - (r/rc)^2)^3 inside the cutoff and 0 outside: smooth to second order at rc."""
    x = distance / cutoff
    return jnp.where(x < 1, (1 - x * x) ** 3, 0)


def radial_basis(distance: Any, cutoff: float, count: int) -> list[Any]:
    """Radial functions B_n(r) = T_n(1 - 2 (1 - r/rc)^2) without the cutoff function.

    The warp puts more of the polynomials' resolution at short distances, where the energy
    varies most.

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
    list of arrays
        One array of the shape of `distance` for each function.
    """
    x = 1 - 2 * (1 - distance / cutoff) ** 2
    functions = [jnp.ones_like(x), x]
    while len(functions) < count:
        functions.append(2 * x * functions[-1] - functions[-2])
    return functions[:count]
