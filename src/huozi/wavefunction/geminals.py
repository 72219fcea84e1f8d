"""One determinant of functions of two electrons: an antisymmetrised geminal power.

    A = det [G | phi_u],    G(i, j) = sum_m w_m phi_m(i) phi_m(j)    (i spin up, j spin down)

The columns after those of the down electrons are orbitals of unpaired electrons. With as many terms
as pairs A is a product of Slater determinants, the start. Each further term adds the excitations of
all pairs into its orbital, several at once too, at the cost of another orbital: with determinants
their number grows exponentially. The Jastrow factor takes away what is too much of them.

Source: Casula & Sorella, J. Chem. Phys. 119, 6500 (2003), doi:10.1063/1.1604379.
"""

from __future__ import annotations

import numpy as np

from huozi.arrays import jax, jnp
from huozi.wavefunction import determinants as slater
from huozi.wavefunction import jets
from huozi.wavefunction.jets import Value

Array = jax.Array


def paired(up: int, down: int, orbitals: int, terms: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose the orbitals (1, columns) of up and of down electrons, by number.

    The doubly occupied ones come first, then empty ones by energy, then those of the unpaired
    electrons. Where there are too few empty ones all are taken again.
    """
    choice = [*range(down), *range(up, orbitals)]
    pairs = (choice * terms)[: max(terms, down)] if down else []
    columns = ([*pairs, *range(down, up)], pairs)
    return np.array([columns[0]], int), np.array([columns[1]], int)


def log_geminal(up: Value, down: Value | None, weights: Array) -> tuple[Array | None, Value]:
    """Logarithm of |A|.

    Parameters
    ----------
    up : (1, n, M + unpaired)
        Orbitals of the electrons (rows).
    down : (1, n - unpaired, M), or None
    weights : (M,)

    Returns
    -------
    sign : array, or None for jets
    logarithm : as the arguments
    """
    matrix, scale = slater.scaled(up)
    if down is not None:
        down, more = slater.scaled(down)
        scale = scale + more
        terms = len(weights)
        pairs = jets.einsum(
            "kim,kjm->kij", jets.linear(lambda v: v[..., :terms] * weights, matrix), down
        )
        matrix = jets.linear(lambda g, v: jnp.concatenate([g, v[..., terms:]], -1), pairs, matrix)
    value = jets.linear(lambda v: v[0], jets.determinant(matrix))
    sign, logarithm = slater.log_absolute(value)
    return sign, jets.shift(logarithm, scale)
