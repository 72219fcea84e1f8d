"""The electronic Hamiltonian in atomic units: local energy of a wave function."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from huozi.arrays import jax, jnp
from huozi.wavefunction.jets import Jet, seed

Array = jax.Array
SMALLEST_DISTANCE = 1e-12
"""Bohr; keeps 1/r finite when particles coincide."""


def local_energy(
    log_psi: Callable[[Jet], Jet], charges: Array, nuclei: Array, x: Array
) -> tuple[Array, Array]:
    """Local energy H psi / psi of one configuration, without the nuclei's own repulsion.

        E_L = -1/2 sum_d [ d_d^2 log|psi| + (d_d log|psi|)^2 ] + V

    Parameters
    ----------
    log_psi : callable
        Jet of positions to jet of log|psi|.
    charges : (M,) array
    nuclei, x : (M, 3), (N, 3) arrays
        Bohr.

    Returns
    -------
    kinetic, potential : arrays
        Hartree.
    """
    jet = log_psi(seed(x))
    kinetic = -0.5 * (jet.laplacian + jnp.square(jet.gradient).sum())
    return kinetic, potential_energy(charges, nuclei, x)


def potential_energy(charges: Array, nuclei: Array, x: Array) -> Array:
    """Attraction by the nuclei and repulsion of the electrons, hartree."""
    to_nuclei = _distance(x[:, None] - nuclei)
    i, j = np.triu_indices(x.shape[0], 1)
    return (1 / _distance(x[i] - x[j])).sum() - (charges / to_nuclei).sum()


def _distance(vectors: Array) -> Array:
    return jnp.sqrt(jnp.square(vectors).sum(-1) + SMALLEST_DISTANCE**2)
