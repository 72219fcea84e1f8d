"""Sums of products of determinants, and the electron configurations they start from."""

from __future__ import annotations

import numpy as np

from huozi.arrays import jax, jnp
from huozi.wavefunction import jets
from huozi.wavefunction.jets import Jet, Value

Array = jax.Array
SMALLEST = 1e-100
"""Floor of |psi| in units of its rows' largest elements: its logarithm and the squares of its
logarithmic derivatives are finite also on the nodes, and where all orbitals underflow."""
LEAST_SCALE = 1e-300
"""Floor of those largest elements."""


def configurations(up: int, down: int, orbitals: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Occupied orbitals of `count` determinants, (count, up) and (count, down).

    The first is Hartree-Fock's. The others move the highest pair of opposite spins into the empty
    orbitals in turn: the excitations that near-degenerate levels and stretched bonds need.
    Without pairs or empty orbitals the first configuration is repeated.
    """
    first = (list(range(up)), list(range(down)))
    chosen = [first]
    for empty in range(up, orbitals):
        for pair in range(down - 1, -1, -1)[:2]:
            moved = [[empty if o == pair else o for o in spin] for spin in first]
            chosen.append((moved[0], moved[1]))
    chosen = chosen[:1] + sorted(chosen[1:], key=lambda c: (c[0][-1] == first[0][-1], 0))
    chosen = (chosen + [first] * count)[:count]
    return (
        np.array([c[0] for c in chosen], int).reshape(count, up),
        np.array([c[1] for c in chosen], int).reshape(count, down),
    )


def excitations(
    up: int, down: int, levels: np.ndarray, states: int, count: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Occupied orbitals of `count` determinants, (count, up) and (count, down), of every state.

    The ground state has those of `configurations`. State k starts from the k-th excitation of one
    electron by the energies of the orbitals, `levels`; its other determinants are those next in
    energy, above all the same excitation of the other spin: both together are singlet or triplet.

    Raises
    ------
    ValueError
        If there are fewer excitations than states.
    """
    first = (list(range(up)), list(range(down)))
    found = []
    for spin, occupied in enumerate((up, down)):
        for i, empty in np.ndindex(occupied, len(levels) - occupied):
            moved = [list(each) for each in first]
            moved[spin][i] = occupied + empty
            found.append((levels[occupied + empty] - levels[i], moved))
    found.sort(key=lambda each: each[0])
    if len(found) < states - 1:
        raise ValueError(
            f"{states} states are asked for; the starting orbitals allow {len(found) + 1}"
        )
    sets = [configurations(up, down, len(levels), count)]
    for chosen in found[: states - 1]:
        near = sorted(found, key=lambda each: (each is not chosen, abs(each[0] - chosen[0])))
        used = ([moved for _, moved in near] + [chosen[1]] * count)[:count]
        shapes = zip(zip(*used), (up, down))
        both = [np.array(spin, int).reshape(count, n) for spin, n in shapes]
        sets.append((both[0], both[1]))
    return sets


def log_sum(up: Value | None, down: Value | None, weights: Array) -> tuple[Array | None, Value]:
    """Logarithm of |sum_k w_k det(up_k) det(down_k)|.

    Parameters
    ----------
    up, down : (K, n, n), or None
        Orbitals of the electrons (rows); None where a spin has no electrons.
    weights : (K,)

    Returns
    -------
    sign : array, or None for jets
    logarithm : as the arguments
    """
    scales = jnp.zeros(())
    product: Value | None = None
    for matrix in (up, down):
        if matrix is None:
            continue
        matrix, scale = scaled(matrix)
        scales = scales + scale
        factor = jets.determinant(matrix)
        product = factor if product is None else jets.multiply(product, factor)
    sign, logarithm = log_absolute(jets.linear(lambda v: v @ weights, product))
    return sign, jets.shift(logarithm, scales)


def log_absolute(total: Value) -> tuple[Array | None, Value]:
    """Sign (None for jets) and logarithm of the absolute value, element by element."""
    if isinstance(total, Jet):
        value = jnp.where(total.value < 0, -1.0, 1.0) * _floored(total.value)
        gradient = total.gradient / value
        laplacian = total.laplacian / value - jnp.square(gradient).sum(0)
        logarithm = jnp.log(jnp.abs(value))
        return None, Jet(jnp.concatenate([logarithm[None], gradient, laplacian[None]]))
    return jnp.sign(total), jnp.log(_floored(total))


def _floored(total: Array) -> Array:
    return jnp.maximum(jnp.abs(total), SMALLEST)


def scaled(matrix: Value) -> tuple[Value, Array]:
    """Divide rows of (K, n, columns) by their largest element, or far electrons would underflow.

    Returns
    -------
    matrix : as it came
    logarithm : array
        Of the product of the divisors.
    """
    value = jax.lax.stop_gradient(matrix.value if isinstance(matrix, Jet) else matrix)
    largest = jnp.maximum(jnp.abs(value).max((0, 2), keepdims=True), LEAST_SCALE)
    return jets.linear(lambda v: v / largest, matrix), jnp.log(largest).sum()
