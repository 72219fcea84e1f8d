"""The lowest K states at once: natural excited states.

One wave function psi_i for every state, and one set of N electrons x_j for every state; together
they are one wave function of K N electrons,

    Psi(x_1 ... x_K) = det M,    M_ji = psi_i(x_j)

whose energy is the sum of the energies of all K states in the space of the psi_i: no penalty, no
order in which states are trained, and no orthogonality to be kept. With H psi_i / psi_i = L_i and
M' = (L_i(x_j) M_ji), the local energy of Psi is the trace of

    E = M^-1 M'

and the average of E over |Psi|^2 is the Hamiltonian in the (not orthogonal) basis of the psi_i: its
eigenvalues are the energies of the states. Other operators are averaged in the same way and taken
to the basis of its eigenvectors.

Source: Pfau, Axelrod, Sutterud, von Glehn & Spencer, Science 385, eadn0137 (2024).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from huozi.arrays import jax, jnp
from huozi.wavefunction import determinants as slater
from huozi.wavefunction import elimination, jets
from huozi.wavefunction.ansatz import Ansatz
from huozi.wavefunction.geometries import stack
from huozi.wavefunction.molecule import Molecule
from huozi.wavefunction.observables import spin_squared
from huozi.wavefunction.orbitals import hartree_fock

Array = jax.Array
Floats = NDArray[np.floating]
Params = dict[str, Any]


class Matrices(NamedTuple):
    """Operators at one configuration of all copies, in the basis of the K wave functions.

    Parameters
    ----------
    energy : (..., K, K) array
        Hartree, without the nuclei's own.
    place : (..., 3, K, K) array
        Sum of the electrons' positions, bohr.
    """

    energy: Array
    place: Array


@dataclass(frozen=True)
class States:
    """`count` wave functions of one ansatz as one of `count` copies of the electrons.

    As with several geometries the network is shared, and what `of_geometry` names belongs to each
    state. State k starts from the k-th excitation of Hartree-Fock's determinant.
    """

    ansatz: Ansatz
    count: int

    @property
    def of_geometry(self) -> tuple[str, ...]:
        """Parameters that states, and geometries, have for themselves."""
        return self.ansatz.of_geometry

    @property
    def precision(self) -> str:
        """Of the network."""
        return self.ansatz.precision

    def init(self, seed: int, molecule: Molecule | None) -> Params:
        """Parameters of all states; see `Ansatz.init`."""
        ansatz = self.ansatz
        if ansatz.pairing != "determinants":
            raise ValueError("several states need an ansatz with pairing='determinants'")
        params = ansatz.init(seed, None)
        if molecule is None:
            return stack(ansatz, [params] * self.count)
        start = hartree_fock(molecule, ansatz.basis, excited=True)
        usable = start.usable(ansatz.up)
        orbitals = start.orbitals[:, usable]
        sets = slater.excitations(
            ansatz.up, ansatz.down, start.levels[usable], self.count, ansatz.determinants
        )
        own = [
            {
                "coefficients": {s: orbitals[:, o] for s, o in zip(("up", "down"), occupied)},
                "basis": start.exponents,
            }
            for occupied in sets
        ]
        return stack(ansatz, [params | jax.tree.map(jnp.asarray, each) for each in own])

    def log_psi(self, params: Params, nuclei: Array, x: Array) -> Array:
        """Logarithm of |Psi| at positions (K N, 3)."""
        return self.sign_and_log(params, nuclei, x)[1]

    def sign_and_log(self, params: Params, nuclei: Array, x: Array) -> tuple[Array | None, Array]:
        """Sign and logarithm of |Psi| at positions (K N, 3)."""
        rows, scale = self._rows(params, nuclei, self._copies(x))
        sign, logarithm = slater.log_absolute(jets.determinant(rows))
        return sign, logarithm + scale

    def matrices(
        self,
        local_energy: Callable[[Ansatz, Params, Array], Array],
        params: Params,
        nuclei: Array,
        x: Array,
    ) -> Matrices:
        """Operators at one configuration.

        Parameters
        ----------
        local_energy : callable
            Of one state, by its parameters, at positions (N, 3).
        x : (K N, 3) array
        """

        def local(own: Params, copy: Array) -> Array:
            return jnp.append(local_energy(self.ansatz, own, copy), copy.sum(0))

        found = self._matrix(local, params, nuclei, x)
        return Matrices(found[0], found[1:])

    def spin(self, params: Params, nuclei: Array, x: Array) -> Array:
        """S^2 at one configuration (K N, 3), (K, K)."""
        ansatz = self.ansatz

        def local(own: Params, copy: Array) -> Array:
            return spin_squared(ansatz, ansatz.up, own, nuclei, copy[None])

        return self._matrix(local, params, nuclei, x)[0]

    def _matrix(self, local: Any, params: Params, nuclei: Array, x: Array) -> Array:
        """M^-1 M', (n, K, K), of n operators.

        Parameters
        ----------
        local : callable
            Parameters of a state, and positions (N, 3), to the operators' O psi / psi, (n,).
        """
        copies = self._copies(x)
        rows, _ = self._rows(params, nuclei, copies)
        _, inverse = elimination.determinant_and_inverse(rows)
        return inverse @ (jnp.moveaxis(self._each(local, params, copies), -1, 0) * rows)

    def _copies(self, x: Array) -> Array:
        return x.reshape(self.count, -1, 3)

    def _each(self, function: Any, params: Params, copies: Array) -> Any:
        """`function(parameters of state i, electrons of copy j)` in rows j and columns i."""
        axes = {name: 0 if name in self.of_geometry else None for name in params}
        of_states = jax.vmap(function, in_axes=(axes, None))
        return jax.vmap(of_states, in_axes=(None, 0))(params, copies)

    def _rows(self, params: Params, nuclei: Array, copies: Array) -> tuple[Array, Array]:
        """M with every row divided by its largest element, and the logarithm of the divisors."""
        sign, log = self._each(
            lambda own, copy: self.ansatz.sign_and_log(own, nuclei, copy), params, copies
        )
        largest = log.max(1, keepdims=True)
        return sign * jnp.exp(log - largest), largest.sum()


def copy_count(wave_function: Any) -> int:
    """Count the sets of electrons that a wave function is of: one for each of its states."""
    return wave_function.count if isinstance(wave_function, States) else 1


@functools.partial(jax.jit, static_argnums=0)
def spin_matrices(states: States, params: Params, nuclei: Array, x: Array) -> Array:
    """S^2 at configurations (B, K N, 3), (B, K, K)."""
    return jax.vmap(lambda r: states.spin(params, nuclei, r))(x)


class Spectrum(NamedTuple):
    """Of K states by energy, each with its standard error.

    Parameters
    ----------
    energy_Ha : (K,) array
    excitation_Ha : (K,) array
        Energy above the first state.
    spin_squared : (K,) array
        <S^2>.
    oscillator_strength : (K,) array
        Of the transition from the first state, in the length form.
    """

    energy_Ha: Floats
    energy_stderr: Floats
    excitation_Ha: Floats
    excitation_stderr: Floats
    spin_squared: Floats
    spin_squared_stderr: Floats
    oscillator_strength: Floats
    oscillator_strength_stderr: Floats


def spectrum(energy: Floats, place: Floats, spin: Floats) -> Spectrum:
    """Find the states from every chain's average matrices; errors by the jackknife over chains.

    Parameters
    ----------
    energy, place, spin : (B, K, K), (B, 3, K, K), (B, K, K) arrays
        Of B independent chains.
    """
    chains = (energy, place, spin)
    totals = [each.sum(0) for each in chains]
    count = len(energy)
    whole = _diagonalise(*(total / count for total in totals))
    without = [
        _diagonalise(*((total - each[b]) / (count - 1) for total, each in zip(totals, chains)))
        for b in range(count)
    ]
    columns = []
    for found, others in zip(whole, zip(*without)):
        spread = np.array(others)
        error = np.sqrt((count - 1) * spread.var(0))
        columns += [found, error]
    return Spectrum(*columns)


def _diagonalise(energy: Floats, place: Floats, spin: Floats) -> Sequence[Floats]:
    """Energies, excitations, S^2 and oscillator strengths by energy.

    Noise makes complex pairs of states of the same energy; their real parts count.
    """
    values, vectors = np.linalg.eig(energy)
    order = np.argsort(values.real)
    values, vectors = values[order].real, vectors[:, order]
    inverse = np.linalg.inv(vectors)
    above = values - values[0]
    moved = inverse @ place @ vectors
    # <0|r|k> <k|r|0>: the lengths of the eigenvectors, which are arbitrary, cancel.
    squared = (moved[:, 0, :] * moved[:, :, 0]).sum(0).real
    total = np.diagonal(inverse @ spin @ vectors).real
    return values, above, total, 2 / 3 * above * squared
