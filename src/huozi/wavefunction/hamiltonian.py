"""The electronic Hamiltonian in atomic units: local energy of a wave function."""

from __future__ import annotations

import numpy as np

from huozi.arrays import jax, jnp
from huozi.wavefunction.cell import Cell
from huozi.wavefunction.jets import Jet

Array = jax.Array
SMALLEST_DISTANCE = 1e-12
"""Bohr; keeps 1/r finite when particles coincide."""


def kinetic_energy(log_psi: Jet) -> Array:
    """Local kinetic energy, hartree, from the jet of log|psi| of positions.

        -1/2 sum_d [ d_d^2 log|psi| + (d_d log|psi|)^2 ]

    With `potential_energy` it makes the local energy E_L = H psi / psi, without the nuclei's own
    repulsion.
    """
    return -0.5 * (log_psi.laplacian + jnp.square(log_psi.gradient).sum())


def potential_energy(charges: Array, nuclei: Array, x: Array, cell: Cell | None = None) -> Array:
    """Attraction by the nuclei and repulsion of the electrons, hartree.

    In a cell also the repulsion of the nuclei.
    """
    if cell:
        return cell.energy(
            jnp.concatenate([charges, -jnp.ones(len(x))]), jnp.concatenate([nuclei, x])
        )
    to_nuclei = distance(x[:, None] - nuclei)
    i, j = np.triu_indices(x.shape[0], 1)
    return (1 / distance(x[i] - x[j])).sum() - (charges / to_nuclei).sum()


def distance(vectors: Array) -> Array:
    """Length of vectors (..., 3), never quite zero."""
    return jnp.sqrt(jnp.square(vectors).sum(-1) + SMALLEST_DISTANCE**2)
