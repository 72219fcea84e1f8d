"""Determinants and inverses of many small matrices by elimination, in plain array operations.

Not by LAPACK: XLA's CPU backend lets a batched LU decomposition wait, on a thread of its pool, for
work that it sends to the same pool. Two at once, of the electrons of either spin, on a pool of two
threads wait for ever. The loops here are also fused with what is around them.
"""

from __future__ import annotations

from huozi.arrays import jax, jnp

Array = jax.Array

LEAST_PIVOT = 1e-150
"""In place of a pivot that is zero: det and inverse stay finite, and so does their product."""


@jax.custom_jvp
def determinant(matrix: Array) -> Array:
    """Take determinants (...) of matrices (..., n, n); the derivative is det(A) tr(A^-1 dA)."""
    return _eliminate(matrix, matrix.shape[-1])[0]


@determinant.defjvp
def _determinant_slope(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    value, inverse = determinant_and_inverse(primals[0])
    return value, value * (inverse.swapaxes(-1, -2) * tangents[0]).sum((-2, -1))


def determinant_and_inverse(matrix: Array) -> tuple[Array, Array]:
    """Find determinants (...) and inverses (..., n, n) of matrices (..., n, n).

    Of a singular matrix the inverse is large and finite; times the determinant it is the adjugate.
    """
    n = matrix.shape[-1]
    unit = jnp.broadcast_to(jnp.eye(n, dtype=matrix.dtype), matrix.shape)
    value, rows = _eliminate(jnp.concatenate([matrix, unit], -1), n)
    return value, rows[..., n:]


def _eliminate(rows: Array, n: int) -> tuple[Array, Array]:
    """Gauss-Jordan elimination of the first n columns of (..., n, m), with partial pivoting."""
    places = jnp.arange(n)
    value = jnp.ones(rows.shape[:-2], rows.dtype)
    for k in range(n):
        column = jnp.where(places < k, -1.0, jnp.abs(rows[..., k]))
        chosen = jnp.argmax(column, -1)[..., None]
        leading = ((places == chosen)[..., None] * rows).sum(-2)
        swapped = jnp.where((places == chosen)[..., None], rows[..., k : k + 1, :], rows)
        pivot = leading[..., k]
        pivot = jnp.where(jnp.abs(pivot) < LEAST_PIVOT, LEAST_PIVOT, pivot)
        value = value * jnp.where(chosen[..., 0] == k, pivot, -pivot)
        leading = leading / pivot[..., None]
        others = swapped - swapped[..., k : k + 1] * leading[..., None, :]
        rows = jnp.where((places == k)[:, None], leading[..., None, :], others)
    return value, rows
