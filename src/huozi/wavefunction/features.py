"""What the networks see of a configuration: smooth functions of distances and directions.

Every function here has derivatives of all orders, also where particles coincide. All cusps of
the wave function therefore come from `jastrow.py`, where they are exact.
"""

from __future__ import annotations

import numpy as np

from huozi.arrays import jax, jnp
from huozi.wavefunction import jets
from huozi.wavefunction.jets import Value

Array = jax.Array


def rounded(r2: Value, core: Array | np.ndarray | float) -> Value:
    """sqrt(r^2 + c^2) - c: the distance beyond c = `core`, a parabola within."""
    return jets.elementwise(lambda q: q / (jnp.sqrt(q + core**2) + core), r2)


def to_nuclei(x: Value, nuclei: Array) -> tuple[Value, Value]:
    """Vectors (N, M, 3) from nuclei to electrons, and their squared lengths (N, M)."""
    vectors = jets.shift(jets.linear(lambda v: v[:, None], x), -nuclei)
    return vectors, jets.squared_length(vectors)


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
