"""What the networks see of a configuration: functions of distances and directions.

They are smooth, also where particles coincide, and the cusps of the wave function come from
`jastrow.py`, where they are exact. One thing is left for `kinked` to do: near a nucleus of charge Z
the part of the wave function with angular momentum l has the slope -Z/(l + 1) (Pack & Byers Brown,
J. Chem. Phys. 45, 556 (1966)), and the nuclear cusp factor gives p waves that of s waves.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from huozi.arrays import jax, jnp
from huozi.wavefunction import jets
from huozi.wavefunction.hamiltonian import SMALLEST_DISTANCE
from huozi.wavefunction.jets import Value

Array = jax.Array


def rounded(r2: Value, core: Array | np.ndarray | float) -> Value:
    """sqrt(r^2 + c^2) - c: the distance beyond c = `core`, a parabola within."""
    return jets.elementwise(lambda q: q / (jnp.sqrt(q + core**2) + core), r2)


def to_nuclei(x: Value, nuclei: Array) -> tuple[Value, Value]:
    """Vectors (N, M, 3) from nuclei to electrons, and their squared lengths (N, M)."""
    vectors = jets.shift(jets.linear(lambda v: v[:, None], x), -nuclei)
    return vectors, jets.squared_length(vectors)


def distance(r2: Value) -> Value:
    """Square root with a finite slope at zero."""
    return jets.elementwise(lambda q: jnp.sqrt(q + SMALLEST_DISTANCE**2), r2)


def kinked(
    function: Callable[[Value, Value], Value],
    nuclei: Array,
    vectors: Value,
    r2: Value,
    cusps: np.ndarray,
    atoms: np.ndarray | None = None,
) -> Value:
    """Smooth functions of one electron, (N, F), with the kinks of p waves at the nuclei.

    To a function with slopes g_A at the nuclei

        sum_A (Z_A/2) r_A (1 - r_A^2/c_A^2)^4 g_A . (r - R_A)

    is added. Times the nuclear cusp factor its p wave is g_A . (r - R_A) (1 - Z_A r_A/2), as it
    should be, and the local energy does not jump where an electron passes a nucleus. The addition
    ends at c_A = 3/Z_A, or at the next nucleus, whose slopes it thus leaves alone.

    Parameters
    ----------
    function : callable
        Of `vectors` (N, M, 3) and `r2` (N, M), see `to_nuclei`.
    cusps : (M,) array
        Charges Z, zero where a core potential rounds off the wave function.
    atoms : (F,) array or None
        Nuclei at which functions have the right kink already.
    """

    def along(direction: Array) -> Array:
        def at(places: Array) -> Array:
            return function(*to_nuclei(places, nuclei))

        return jax.jvp(at, (nuclei,), (jnp.broadcast_to(direction, nuclei.shape),))[1]

    slopes = jax.vmap(along)(jnp.eye(3))  # (3, M, F)
    if atoms is not None:
        slopes *= np.arange(len(cusps))[:, None] != atoms
    matrix = slopes.swapaxes(0, 1).reshape(3 * len(cusps), -1)
    between = jnp.square(nuclei[:, None] - nuclei).sum(-1) + np.diag(np.full(len(cusps), np.inf))
    reach2 = jnp.minimum(between.min(0), np.square(3 / np.maximum(cusps, 1)))
    within = jets.elementwise(lambda q: jnp.maximum(1 - q / reach2, 0) ** 4, r2)
    length = jets.multiply(jets.elementwise(lambda r: cusps / 2 * r, distance(r2)), within)
    kinks = jets.bilinear(lambda v, k: (v * k[..., None]).reshape(v.shape[0], -1), vectors, length)
    return jets.linear(lambda f, k: f + k @ matrix, function(vectors, r2), kinks)


def electron_features(
    vectors: Value, r2: Value, charges: np.ndarray, rounding: np.ndarray
) -> Value:
    """Directions, logarithms of the distances and closeness to each nucleus, (N, 5 M)."""
    far = rounded(r2, 1.0)
    scale = jets.elementwise(lambda s: 1 / (1 + s), far)
    directions = jets.bilinear(lambda v, s: v * s[..., None], vectors, scale)
    near = jets.elementwise(lambda s: jnp.exp(-charges * s), rounded(r2, rounding))
    return jets.linear(
        lambda v, t, n: jnp.concatenate([v, t[..., None], n[..., None]], -1).reshape(
            v.shape[0], -1
        ),
        directions,
        jets.elementwise(jnp.log1p, far),
        near,
    )


def pair_features(r2: Value) -> Value:
    """Logarithm of the distance and closeness at two scales, (P, 3)."""
    far = rounded(r2, 1.0)
    return jets.linear(
        lambda *f: jnp.stack(f, -1),
        jets.elementwise(jnp.log1p, far),
        jets.elementwise(lambda s: jnp.exp(-s), far),
        jets.elementwise(lambda s: jnp.exp(-2 * s), rounded(r2, 0.5)),
    )


def electron_pairs(up: int, down: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return indices i < j of all pairs, and whether their spins are the same."""
    i, j = np.triu_indices(up + down, 1)
    return i, j, (i < up) == (j < up)
