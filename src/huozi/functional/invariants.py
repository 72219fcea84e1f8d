"""Rotation-invariant, smooth features of projected density matrices.

The eigenvalues of a block D_nl are invariant, but where two of them meet they have no derivative,
and the field of a model of them jumps. Their symmetric functions carry the same information
(Newton's identities) and are polynomials of D. Here: the trace and the central moments

    q_1 = tr D,      q_k = tr (D - q_1 / (2l + 1))^k / (q_1 + c)^(k - 1),      k = 2 ... 2l + 1

The denominator (D has no negative eigenvalue, c = 0.1) makes all of them homogeneous of about
first order in the density, so that they grow alike away from the training data. Of the spin
density blocks M = D_alpha - D_beta there is tr M^2 of every block, which is even in the spin and
zero for closed shells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from huozi.arrays import jnp

SOFTENING = 0.1


def count(shells: Sequence[tuple[int, int]]) -> int:
    """Return the number of features of an atom for shells (l, number of radial functions)."""
    return sum(n * (2 * ell + 2) for ell, n in shells)


def powers(shells: Sequence[tuple[int, int]]) -> list[int]:
    """Return the power k of each feature, 0 for those of the spin density."""
    orders = [k for ell, n in shells for k in range(1, 2 * ell + 2) for _ in range(n)]
    return orders + [0] * sum(n for _, n in shells)


def invariants(blocks: Sequence[Any], spins: Sequence[Any] | None = None) -> Any:
    """Features (..., count) of blocks D and M, each (..., n, 2l + 1, 2l + 1) for each l.

    Without `spins`, M is zero: a closed shell.
    """
    columns = []
    for block in blocks:
        size = block.shape[-1]
        trace = jnp.trace(block, axis1=-2, axis2=-1)
        columns.append(trace)
        centred = block - (trace / size)[..., None, None] * jnp.eye(size)
        scaled = centred / (trace + SOFTENING)[..., None, None]
        power = centred
        for _ in range(2, size + 1):
            power = power @ scaled
            columns.append(jnp.trace(power, axis1=-2, axis2=-1))
    if spins is None:
        columns += [jnp.zeros(block.shape[:-2]) for block in blocks]
    else:
        columns += [jnp.sum(m * m, axis=(-2, -1)) for m in spins]
    return jnp.concatenate(columns, axis=-1)
