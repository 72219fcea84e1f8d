"""What a wave function says beside its energy: forces on nuclei, dipole moments, spin.

The plain estimator of a force, Z_A sum_i (r_i - R_A) / |r_i - R_A|^3, has infinite variance. With
the trial derivative Q psi of the wave function, Q_A = Z_A sum_i (r_i - R_A) / |r_i - R_A|, which
moves the cusp along with its nucleus, the force is

    F_A = nuclear repulsion + < grad Q_A . grad log|psi| > - 2 < (E_L - E) Q_A >

The first average is the zero-variance estimator (the Laplacian of Q_A cancels the divergence),
the second removes the bias of first order in the error of psi.

Source: Assaraf & Caffarel, J. Chem. Phys. 113, 4028 (2000); 119, 10536 (2003).

The wave function of electrons whose spins are assigned stands for an antisymmetric one of places
and spins. There S^2 = S_z (S_z + 1) + S_- S_+, and S_- S_+ is N_down less the sum of all
exchanges of the places of an electron up and one down:

    (S^2 psi / psi)(x) = s_z (s_z + 1) + N_down - sum_(i up, j down) psi(P_ij x) / psi(x)

It is S (S + 1) everywhere for an eigenstate, e.g. a restricted determinant.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from huozi.arrays import jax, jnp
from huozi.wavefunction.hamiltonian import distance

Array = jax.Array
Floats = NDArray[np.floating]


class ForceTerms(NamedTuple):
    """What the force on every nucleus is averaged from, and the gradient of log|psi|.

    Parameters
    ----------
    pull : (..., M, 3) array
        grad Q . grad log|psi|, Ha/bohr.
    warp : (..., M, 3) array
        Q, 1/bohr.
    slope : (..., N, 3) array
        Gradient of log|psi|, 1/bohr.
    """

    pull: Array
    warp: Array
    slope: Array


def force_terms(gradient: Array, charges: Array, nuclei: Array, x: Array) -> ForceTerms:
    """Terms of the forces at one configuration.

    Parameters
    ----------
    gradient, x : (N, 3) arrays
        Of log|psi|, 1/bohr; positions of the electrons, bohr.
    charges, nuclei : (M,), (M, 3) arrays
        Of the nuclei; bohr.
    """
    vectors = x[:, None] - nuclei
    r = distance(vectors)[..., None]
    units = vectors / r
    slopes = gradient[:, None]
    across = (slopes - units * (units * slopes).sum(-1, keepdims=True)) / r
    pull, warp = ((charges[:, None] * each).sum(0) for each in (across, units))
    return ForceTerms(pull, warp, gradient)


@functools.partial(jax.jit, static_argnums=(0, 1))
def spin_squared(wave_function: Any, up: int, params: Any, nuclei: Array, x: Array) -> Array:
    """Local values of S^2, (B,).

    Parameters
    ----------
    wave_function : Psiformer or another ansatz with `sign_and_log`
    up : int
        Electrons of spin up, the first of all.
    nuclei, x : (M, 3), (B, N, 3) arrays
        Bohr.
    """
    count = x.shape[1]
    orders = [np.arange(count)]
    for i, j in np.ndindex(up, count - up):
        orders.append(np.arange(count))
        orders[-1][[i, up + j]] = up + j, i
    signs, logarithms = jax.lax.map(
        lambda order: jax.vmap(lambda r: wave_function.sign_and_log(params, nuclei, r[order]))(x),
        jnp.asarray(np.stack(orders)),
    )
    ratios = signs[1:] * signs[0] * jnp.exp(logarithms[1:] - logarithms[0])
    s_z = up - count / 2
    return s_z * (s_z + 1) + count - up - ratios.sum(0)


def nuclear_forces(charges: Floats, nuclei: Floats) -> Floats:
    """Repulsion of the nuclei, (M, 3), Ha/bohr."""
    apart = nuclei[:, None] - nuclei
    r = np.linalg.norm(apart, axis=-1) + np.eye(len(nuclei))
    return np.asarray(
        (charges[:, None, None] * charges[:, None] * apart / r[..., None] ** 3).sum(1)
    )


class Observables:
    """Sums over time for every chain: as the chains are independent, their spread is the error.

    Parameters
    ----------
    charges, nuclei : (M,), (M, 3) arrays
    field : (3,) array
        Electric field on the nuclei, hartree/(e bohr).

    Results are averages over the chains that are `fine`, a mask (B,).
    """

    def __init__(self, charges: Floats, nuclei: Floats, field: Floats) -> None:
        self.charges, self.nuclei, self.field = charges, nuclei, field
        self.energy = self.electrons = self.pull = self.warp = self.product = np.zeros(())
        self.count = 0
        self.spin = np.zeros(())
        self.spin_count = 0

    def add(self, energies: Floats, terms: ForceTerms, x: Floats) -> None:
        """Take in one sample of every chain: (B,), (B, M, 3) and (B, N, 3)."""
        pull, warp = np.asarray(terms.pull), np.asarray(terms.warp)
        self.energy = self.energy + energies
        self.electrons = self.electrons + x.sum(1)
        self.pull = self.pull + pull
        self.warp = self.warp + warp
        self.product = self.product + energies[:, None, None] * warp
        self.count += 1

    def add_spin(self, local: Floats) -> None:
        """Take in one sample of S^2 of every chain, (B,)."""
        self.spin = self.spin + local
        self.spin_count += 1

    def spin_squared(self, fine: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Mean of S^2 and its standard error."""
        return _average(self.spin[fine] / self.spin_count)

    def dipole(self, fine: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Dipole moment (3,) from the origin of the coordinates, e bohr, and its standard error."""
        nuclear = self.charges @ self.nuclei
        return _average(nuclear - self.electrons[fine] / self.count)

    def forces(self, fine: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Force on every nucleus (M, 3), Ha/bohr, and its standard error."""
        names = (self.energy, self.pull, self.warp, self.product)
        energy, pull, warp, product = (total[fine] / self.count for total in names)
        mean, centre = energy.mean(), warp.mean(0)
        # Average over time of (E_L - mean) (Q - centre), chain by chain.
        covariance = product - mean * warp - centre * (energy - mean)[:, None, None]
        nuclear = nuclear_forces(self.charges, self.nuclei) + np.outer(self.charges, self.field)
        return _average(nuclear + pull - 2 * covariance)


def _average(chains: Floats) -> tuple[Floats, Floats]:
    return chains.mean(0), chains.std(0, ddof=1) / np.sqrt(len(chains))
