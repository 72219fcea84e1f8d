"""Orbitals in a basis of rounded Slater functions, started from Hartree-Fock.

A basis function exp(-zeta s) or (x, y, z) exp(-zeta s + Z (r - s)/2) of a nucleus uses the rounded
distance s = sqrt(r^2 + 1/Z^2) - 1/Z. The cusp factor exp(-Z (r - s)) of `jastrow.py` turns those of
zeta = Z and Z/2 into the hydrogen-like 1s and 2p, exactly, and gives every orbital the right slope
at every nucleus, which Gaussians miss. P waves have half the slope of s waves (Pack & Byers Brown,
J. Chem. Phys. 45, 556 (1966)), hence the other half of a cusp factor in p functions.

In a cell distances and vectors are those of `cell.py`, which with a twist also makes the functions
turn their signs as the cell repeats. Without nuclei there are plane waves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from huozi.arrays import jax, jnp
from huozi.wavefunction import jets
from huozi.wavefunction.cell import Cell
from huozi.wavefunction.features import from_nuclei, kink, rounded, to_nuclei
from huozi.wavefunction.jastrow import nuclear_cusp
from huozi.wavefunction.jets import Value
from huozi.wavefunction.mean_field import electron_gas_energy, solve_mean_field
from huozi.wavefunction.molecule import Molecule

Array = jax.Array
Params = dict[str, Any]

LEAST_P_SHELLS = 2
"""Of every nucleus; from boron on three, or neighbours were too far apart to form a 2p orbital."""

LEAST_RATIO = 1.5
"""Of exponents that follow each other; of functions that are too alike large multiples cancel."""

POOR_FIT = 0.5
"""Empty orbitals of which the basis misses more are not used: d functions, mostly."""

WEAKEST_BINDING = 0.05
"""Hartree; weaker bound (or unbound) highest orbitals are treated as bound by this."""


@dataclass(frozen=True)
class Basis:
    """Functions of every nucleus.

    Two s functions and one more for every doubling of the charge, and two p shells, or one for
    every doubling begun. Orbitals in a core potential are smooth and fall towards the nucleus; they
    ask for five s functions at least, rounded off further.

    Parameters
    ----------
    charges, bare : tuple of int, tuple of bool
        Of the nuclei, see `Molecule`.
    cell : Cell, optional
    occupied : int
        Orbitals that must be there. Without nuclei they are plane waves, and those of the next
        shell, at least.
    """

    charges: tuple[int, ...]
    bare: tuple[bool, ...]
    cell: Cell | None = None
    occupied: int = 1

    @property
    def cusps(self) -> np.ndarray:
        """Charges where the wave function has a cusp, 0 at core potentials."""
        return np.array(self.charges, float) * self.bare

    @property
    def rounding(self) -> np.ndarray:
        """Lengths within which distances from each nucleus are rounded off, bohr."""
        charges = np.array(self.charges, float)
        return np.where(self.bare, 1 / charges, np.minimum(2.0, 3 / charges))

    @property
    def s_atom(self) -> np.ndarray:
        """Nucleus of each s function."""
        least = [2 if bare else 5 for bare in self.bare]
        counts = [max(n, 2 + round(np.log2(z))) for n, z in zip(least, self.charges)]
        return np.repeat(np.arange(len(counts)), counts)

    @property
    def p_atom(self) -> np.ndarray:
        """Nucleus of each p shell."""
        counts = [max(LEAST_P_SHELLS, int(np.ceil(np.log2(z)))) for z in self.charges]
        return np.repeat(np.arange(len(counts)), counts)

    @property
    def size(self) -> int:
        """Number of functions."""
        if waves := self.waves:
            return len(waves[1])
        return len(self.s_atom) + 3 * len(self.p_atom)

    @property
    def waves(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Wave vectors and phases of the plane waves, if these are the functions."""
        if self.charges or not self.cell:
            return None
        return self.cell.plane_waves(self.occupied + 1)

    def init_envelopes(self, shape: tuple[int, ...], matrix: Any) -> np.ndarray:
        """Coefficients (n, ...) of the first n functions in what the networks multiply.

        The s functions, alike; of plane waves all, drawn by `matrix(rows, columns)`.
        """
        if self.waves:
            return matrix(self.size, int(np.prod(shape))).reshape(self.size, *shape)
        return np.full((len(self.s_atom), *shape), 0.1)

    def init(self, decay: float) -> Params:
        """Logarithms of the exponents: even-tempered, from `decay` up to Z (s) and Z/2 (p).

        Parameters
        ----------
        decay : float
            Of the wave function far from all nuclei, 1/bohr.
        """
        s = [_ladder(decay, z, (self.s_atom == a).sum()) for a, z in enumerate(self.charges)]
        p = [_ladder(decay, z / 2, (self.p_atom == a).sum()) for a, z in enumerate(self.charges)]
        return {name: np.concatenate([[], *each]) for name, each in (("s", s), ("p", p))}

    def values(self, params: Params, x: Value, nuclei: Array, near: tuple[Value, Value]) -> Value:
        """All functions at all electrons, (N, size).

        Parameters
        ----------
        x : (N, 3)
            Electrons.
        near : (N, M, 3), (N, M)
            Vectors and squared distances of `to_nuclei`.
        """
        if waves := self.waves:
            vectors, phases = waves
            angles = jets.shift(jets.linear(lambda v: v @ vectors.T, x), -phases)
            return jets.elementwise(jnp.cos, angles)
        (vectors, r2), factors = near, None
        if self.cell and any(self.cell.twist):
            factors, vectors = self.cell.twisted(from_nuclei(x, nuclei))
        s_atom, p_atom = self.s_atom, self.p_atom
        s = rounded(r2, self.rounding)

        def chosen(quantity: Value, atom: np.ndarray) -> Value:
            return jets.linear(lambda v: v[..., atom], quantity)

        def radial(log_zeta: Array, atom: np.ndarray) -> Value:
            return jets.elementwise(lambda v: jnp.exp(-jnp.exp(log_zeta) * v), chosen(s, atom))

        even = radial(params["s"], s_atom)
        if factors is not None:
            even = jets.multiply(even, chosen(factors, s_atom))
        less = jets.elementwise(lambda k: jnp.exp(self.cusps / 2 * k), kink(r2, self.cusps))
        p = jets.bilinear(
            lambda v, f: (v * f[..., None]).reshape(v.shape[0], -1),
            jets.linear(lambda v: v[..., p_atom, :], vectors),
            jets.multiply(radial(params["p"], p_atom), chosen(less, p_atom)),
        )
        return jets.linear(lambda a, b: jnp.concatenate([a, b], -1), even, p)


def _ladder(softest: float, hardest: float, count: int) -> np.ndarray:
    return np.log(np.geomspace(softest, max(hardest, LEAST_RATIO ** (count - 1) * softest), count))


@dataclass(frozen=True)
class HartreeFock:
    """Restricted (open-shell) Hartree-Fock.

    Parameters
    ----------
    energy : float
        Hartree.
    orbitals : (size, n) array
        Occupied and empty orbitals by energy, in the rounded Slater basis.
    exponents : dict
        Parameters of that basis.
    levels : (n,) array
        Energies of the orbitals, hartree.
    missing : (n,) array
        Part of each orbital, of its norm, that the basis cannot form.
    """

    energy: float
    orbitals: np.ndarray
    exponents: Params
    levels: np.ndarray
    missing: np.ndarray

    def usable(self, occupied: int) -> np.ndarray:
        """Tell the orbitals that are occupied or that the basis can form, (n,)."""
        return (self.missing < POOR_FIT) | (np.arange(len(self.levels)) < occupied)


def hartree_fock(molecule: Molecule, basis: Basis, excited: bool = False) -> HartreeFock:
    """Solve Hartree-Fock with PySCF and fit its orbitals in the rounded Slater basis.

    Of a gas of electrons the plane waves are there already.

    Far away every wave function falls like exp(-sqrt(2 I) r); the ionisation energy I is that of
    the highest occupied orbital (Koopmans). Softer functions would only add tails of high energy,
    unless the electron is `excited`. That, anions, and an electron that is not bound without them
    (the outer one of triplet helium) have diffuse Gaussians.

    Raises
    ------
    ImportError
        Without PySCF.
    ValueError
        If Hartree-Fock does not converge, or there are no Gaussians for an element.
    """
    if molecule.cell and not molecule.charges:
        return _plane_waves(molecule, basis)
    mean_field = solve_mean_field(molecule, "aug-cc-pvdz" if excited else "cc-pvdz")
    unbound = mean_field.highest > 0 or molecule.electrons > sum(molecule.charges)
    # In a cell the zero of the levels is arbitrary, and diffuse functions overlap too much.
    if unbound and not excited and not molecule.cell:
        mean_field = solve_mean_field(molecule, "aug-cc-pvdz")
    points, weights = mean_field.grid()
    # Occupied ones first: those of open shells need not be the lowest by Roothaan's energies.
    order = np.argsort(-mean_field.occupations, kind="stable")
    target = mean_field.orbitals(points)[:, order]
    binding = WEAKEST_BINDING if excited else max(-mean_field.highest, WEAKEST_BINDING)
    exponents = basis.init(np.sqrt(2 * binding))
    design = cusped_basis(molecule, basis, exponents, points)
    root = np.sqrt(np.abs(weights) * _core_weights(molecule, basis, points))[:, None]
    norms = np.linalg.norm(root * design, axis=0)
    u, s, vt = np.linalg.svd(root * design / norms, full_matrices=False)
    damped = s / (s**2 + (1e-4 * s[0]) ** 2)
    fitted = vt.T @ (damped[:, None] * (u.T @ (root * target))) / norms[:, None]
    # Signs are arbitrary; a rule makes them the same in neighbouring geometries.
    signs = np.where(np.arange(basis.size, 0, -1) @ fitted < 0, -1.0, 1.0)
    target, rest = root * target, root * (target - design @ fitted)
    missing = np.linalg.norm(rest, axis=0) / np.linalg.norm(target, axis=0)
    found = (signs * fitted, exponents, mean_field.levels[order], missing)
    return HartreeFock(mean_field.energy, *found)


def _plane_waves(molecule: Molecule, basis: Basis) -> HartreeFock:
    """Hartree-Fock of a gas: its orbitals are the functions themselves."""
    assert molecule.cell
    assert basis.waves
    energy = electron_gas_energy(molecule.cell, molecule.up, molecule.down, basis.waves)
    count = basis.size
    levels = np.square(basis.waves[0]).sum(1) / 2
    return HartreeFock(energy, np.eye(count), basis.init(1.0), levels, np.zeros(count))


def _core_weights(molecule: Molecule, basis: Basis, points: np.ndarray) -> np.ndarray:
    """Weights of points (G,) in the fit: more within cores, where orbitals are small.

    A fit that is wrong there has nodes and an infinite energy next to them.
    """
    r2 = np.square(points[:, None] - molecule.nuclei).sum(-1)
    more = 3 * np.square(basis.rounding) / np.maximum(r2, 1e-6)
    return 1 + np.where(molecule.bare, 0, more).sum(1)


def cusped_basis(
    molecule: Molecule, basis: Basis, exponents: Params, points: np.ndarray
) -> np.ndarray:
    """Basis functions times the nuclear cusp factor at points (G, 3)."""

    @jax.jit
    def values(points: Array, nuclei: Array) -> Array:
        near = to_nuclei(points, nuclei, basis.cell)
        cusp = jnp.exp(nuclear_cusp(near[1], basis.cusps))[:, None]
        return basis.values(exponents, points, nuclei, near) * cusp

    return np.asarray(values(points, molecule.nuclei))
