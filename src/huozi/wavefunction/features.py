"""What the networks see of a configuration: functions of distances and directions without cusps.

First derivatives are continuous where particles coincide, so all cusps of the wave function come
from `jastrow.py`, where they are exact. Second derivatives need not be: next to a cusp the exact
wave function also has terms like r^3 and x r (Pack & Byers Brown, J. Chem. Phys. 45, 556 (1966)),
whose size the networks learn from the squares and the directions of `kink`.
"""

from __future__ import annotations

import numpy as np

from huozi.arrays import jax, jnp
from huozi.wavefunction import jets
from huozi.wavefunction.cell import Cell
from huozi.wavefunction.hamiltonian import SMALLEST_DISTANCE
from huozi.wavefunction.jets import Value

Array = jax.Array


def rounded(r2: Value, core: Array | np.ndarray | float) -> Value:
    """sqrt(r^2 + c^2) - c: the distance beyond c = `core`, a parabola within."""
    return jets.elementwise(lambda q: q / (jnp.sqrt(q + core**2) + core), r2)


def distance(r2: Value) -> Value:
    """Square root with a finite slope at zero."""
    return jets.elementwise(lambda q: jnp.sqrt(q + SMALLEST_DISTANCE**2), r2)


def kink(r2: Value, cusps: np.ndarray) -> Value:
    """Return r - rounded(r) for each nucleus: slope 1 there, constant some 1/Z away."""
    return jets.linear(jnp.subtract, distance(r2), rounded(r2, 1 / np.maximum(cusps, 1)))


def to_nuclei(x: Value, nuclei: Array, cell: Cell | None) -> tuple[Value, Value]:
    """Vectors (N, M, 3) from nuclei to electrons, and their squared lengths (N, M)."""
    return _measured(from_nuclei(x, nuclei), cell)


def from_nuclei(x: Value, nuclei: Array) -> Value:
    """Vectors (N, M, 3) as they are, whatever repeats."""
    return jets.shift(jets.linear(lambda v: v[:, None], x), -nuclei)


def between(x: Value, i: np.ndarray, j: np.ndarray, cell: Cell | None) -> tuple[Value, Value]:
    """Vectors (P, 3) from electrons j to electrons i, and their squared lengths (P,)."""
    return _measured(jets.separation(x, i, j), cell)


def _measured(vectors: Value, cell: Cell | None) -> tuple[Value, Value]:
    return cell.smooth(vectors) if cell else (vectors, jets.squared_length(vectors))


def electron_features(
    vectors: Value, r2: Value, charges: np.ndarray, cusps: np.ndarray, rounding: np.ndarray
) -> Value:
    """Describe where each electron is from the nuclei, (N, 9 M).

    Direction, logarithm of the distance, closeness, and from nuclei that make cusps the direction
    times Z `kink`, and the square of that.
    """
    far = rounded(r2, 1.0)
    scale = jets.elementwise(lambda s: 1 / (1 + s), far)
    directions = jets.bilinear(lambda v, s: v * s[..., None], vectors, scale)
    bend = jets.linear(lambda k: cusps * k, kink(r2, cusps))
    bent = jets.bilinear(lambda v, k: v * k[..., None], directions, bend)
    return jets.linear(
        lambda v, t, n, o, b: jnp.concatenate(
            [v, t[..., None], n[..., None], o, b[..., None]], -1
        ).reshape(v.shape[0], -1),
        directions,
        jets.elementwise(jnp.log1p, far),
        jets.elementwise(lambda s: jnp.exp(-charges * s), rounded(r2, rounding)),
        bent,
        jets.elementwise(jnp.square, bend),
    )


ELECTRON_FEATURES, PAIR_FEATURES = 9, 4
"""Of an electron for each nucleus, and of a pair of electrons."""


def pair_features(r2: Value) -> Value:
    """Logarithm of the distance, closeness at two scales and the square of a kink, (P, 4)."""
    return jets.linear(
        lambda *f: jnp.stack(f, -1),
        jets.elementwise(jnp.log1p, rounded(r2, 1.0)),
        _closeness(r2),
        jets.elementwise(lambda s: jnp.exp(-2 * s), rounded(r2, 0.5)),
        jets.elementwise(jnp.square, kink(r2, np.ones(1))),
    )


def bent_directions(apart: Value, r2: Value) -> Value:
    """Vectors between two electrons that begin like x r and end some bohr away, (P, 3)."""
    local = jets.multiply(kink(r2, np.ones(1)), _closeness(r2))
    return jets.bilinear(lambda v, f: v * f[..., None], apart, local)


NEAR_FEATURES = 7
"""Of an electron for all others."""


def near_features(x: Value, up: int, down: int, cell: Cell | None, dtype: str) -> Value:
    """Describe the others near each electron, (N, 7), spread to all coordinates.

    Sums over the others of its spin, and over those of the other spin, of closeness and closeness
    times the square of a kink; of the other spin also `bent_directions`. Between electrons of one
    spin, where the wave function itself begins like x, x r would change the slope of the cusp.
    """
    count = up + down
    i, j, same = electron_pairs(up, down)
    apart, r2 = between(x, i, j, cell)
    close = _closeness(r2)
    squares = jets.elementwise(jnp.square, kink(r2, np.ones(1)))
    seen = jets.linear(
        lambda v, *f: jnp.concatenate([v, jnp.stack(f, -1)], -1),
        bent_directions(apart, r2),
        close,
        jets.multiply(squares, close),
    )
    seen = jets.spread_pairs(jets.cast(seen, dtype), i, j, count)
    at_i, at_j = (np.arange(count)[:, None] == ends for ends in (i, j))
    # The direction from j to i is i's; for j it turns its sign.
    towards = ((1.0 * at_i - 1.0 * at_j) * ~same).astype(dtype)
    partners = np.stack([(at_i | at_j) * kind for kind in (same, ~same)]).astype(dtype)

    def total(pairs: Array) -> Array:
        numbers = jnp.einsum("sip,pc->isc", partners, pairs[:, 3:]).reshape(count, -1)
        return jnp.concatenate([towards @ pairs[:, :3], numbers], -1)

    return jets.linear(total, seen)


def _closeness(r2: Value) -> Value:
    return jets.elementwise(lambda s: jnp.exp(-s), rounded(r2, 1.0))


def electron_pairs(up: int, down: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return indices i < j of all pairs, and whether their spins are the same."""
    i, j = np.triu_indices(up + down, 1)
    return i, j, (i < up) == (j < up)
