"""Orbitals in a basis of rounded Slater functions, started from Hartree-Fock.

A basis function exp(-zeta s) or (x, y, z) exp(-zeta s + Z (r - s)/2) of a nucleus uses the rounded
distance s = sqrt(r^2 + 1/Z^2) - 1/Z. The cusp factor exp(-Z (r - s)) of `jastrow.py` turns those of
zeta = Z and Z/2 into the hydrogen-like 1s and 2p, exactly, and gives every orbital the right slope
at every nucleus, which Gaussians miss. P waves have half the slope of s waves (Pack & Byers Brown,
J. Chem. Phys. 45, 556 (1966)), hence the other half of a cusp factor in p functions.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from huozi.arrays import jax, jnp
from huozi.wavefunction import jets
from huozi.wavefunction.features import kink, rounded, to_nuclei
from huozi.wavefunction.jastrow import nuclear_cusp
from huozi.wavefunction.jets import Value
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
    """

    charges: tuple[int, ...]
    bare: tuple[bool, ...]

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
        return len(self.s_atom) + 3 * len(self.p_atom)

    def init(self, decay: float) -> Params:
        """Logarithms of the exponents: even-tempered, from `decay` up to Z (s) and Z/2 (p).

        Parameters
        ----------
        decay : float
            Of the wave function far from all nuclei, 1/bohr.
        """
        s = [_ladder(decay, z, (self.s_atom == a).sum()) for a, z in enumerate(self.charges)]
        p = [_ladder(decay, z / 2, (self.p_atom == a).sum()) for a, z in enumerate(self.charges)]
        return {"s": np.concatenate(s), "p": np.concatenate(p)}

    def values(self, params: Params, vectors: Value, r2: Value) -> Value:
        """All functions at all electrons, (N, size)."""
        s_atom, p_atom = self.s_atom, self.p_atom
        s = rounded(r2, self.rounding)

        def chosen(quantity: Value, atom: np.ndarray) -> Value:
            return jets.linear(lambda v: v[..., atom], quantity)

        def radial(log_zeta: Array, atom: np.ndarray) -> Value:
            return jets.elementwise(lambda v: jnp.exp(-jnp.exp(log_zeta) * v), chosen(s, atom))

        less = jets.elementwise(lambda k: jnp.exp(self.cusps / 2 * k), kink(r2, self.cusps))
        p = jets.bilinear(
            lambda v, f: (v * f[..., None]).reshape(v.shape[0], -1),
            jets.linear(lambda v: v[..., p_atom, :], vectors),
            jets.multiply(radial(params["p"], p_atom), chosen(less, p_atom)),
        )
        return jets.linear(lambda a, b: jnp.concatenate([a, b], -1), radial(params["s"], s_atom), p)


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
    mean_field, highest = _solve(molecule, "aug-cc-pvdz" if excited else "cc-pvdz")
    if not excited and (highest > 0 or molecule.electrons > sum(molecule.charges)):
        mean_field, highest = _solve(molecule, "aug-cc-pvdz")
    grids = _grid(mean_field.mol)
    points, weights = grids.coords, grids.weights
    # Occupied ones first: those of open shells need not be the lowest by Roothaan's energies.
    order = np.argsort(-mean_field.mo_occ, kind="stable")
    target = mean_field.mol.eval_gto("GTOval", points) @ mean_field.mo_coeff[:, order]
    binding = WEAKEST_BINDING if excited else max(-highest, WEAKEST_BINDING)
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
    levels = np.asarray(mean_field.mo_energy)[order]
    return HartreeFock(float(mean_field.e_tot), signs * fitted, exponents, levels, missing)


def _solve(molecule: Molecule, gaussians: str) -> tuple[Any, float]:
    """Hartree-Fock and the level of its highest occupied orbital.

    Of open shells that of spin up: Roothaan's effective levels are means over both spins.
    """
    mean_field = run_pyscf(molecule, gaussians)
    levels = np.asarray(getattr(mean_field.mo_energy, "mo_ea", mean_field.mo_energy))
    return mean_field, float(levels[mean_field.mo_occ > 0].max())


def run_pyscf(molecule: Molecule, gaussians: str) -> Any:
    """Return a converged PySCF mean field, restricted, open-shell where needed, in the field.

    Atoms with a core potential get that and the Gaussians made for it.
    """
    try:
        from pyscf import gto, scf
        from pyscf.lib.exceptions import BasisNotFoundError
    except ImportError:
        raise ImportError("the starting orbitals need PySCF: pip install 'huozi[pyscf]'") from None
    cores = [p for p in molecule.potentials if p]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Basis may be available", UserWarning)
            mol = gto.M(
                atom=[(z, xyz) for z, xyz in zip(molecule.numbers, molecule.positions)],
                unit="bohr",
                basis={"default": gaussians} | {p.symbol: f"{p.name}-{gaussians}" for p in cores},
                ecp={p.symbol: p.name for p in cores},
                spin=molecule.up - molecule.down,
                charge=sum(molecule.charges) - molecule.electrons,
                verbose=0,
            )
    except BasisNotFoundError as error:
        raise ValueError(
            f"PySCF has no functions to start from: {error}; with --ecp ccecp it has them for "
            "most elements up to krypton"
        ) from None
    mean_field = scf.ROHF(mol) if molecule.up != molecule.down else scf.RHF(mol)
    if any(molecule.field):
        in_field = np.einsum("x,xij->ij", molecule.field, mol.intor("int1e_r"))
        core = mean_field.get_hcore() + in_field
        mean_field.get_hcore = lambda *_: core
        mean_field.energy_nuc = lambda *_: molecule.nuclear_energy
    mean_field.kernel()
    if not mean_field.converged:
        mean_field = mean_field.newton()
        mean_field.kernel()
    if not mean_field.converged:
        raise ValueError(f"Hartree-Fock of {molecule.name} does not converge; check the geometry")
    return mean_field


def _core_weights(molecule: Molecule, basis: Basis, points: np.ndarray) -> np.ndarray:
    """Weights of points (G,) in the fit: more within cores, where orbitals are small.

    A fit that is wrong there has nodes and an infinite energy next to them.
    """
    r2 = np.square(points[:, None] - molecule.nuclei).sum(-1)
    more = 3 * np.square(basis.rounding) / np.maximum(r2, 1e-6)
    return 1 + np.where(molecule.bare, 0, more).sum(1)


def _grid(mol: Any) -> Any:
    from pyscf import dft

    grids = dft.gen_grid.Grids(mol)
    grids.level = 2
    return grids.build()


def cusped_basis(
    molecule: Molecule, basis: Basis, exponents: Params, points: np.ndarray
) -> np.ndarray:
    """Basis functions times the nuclear cusp factor at points (G, 3)."""

    @jax.jit
    def values(points: Array, nuclei: Array) -> Array:
        vectors, r2 = to_nuclei(points, nuclei)
        cusp = jnp.exp(nuclear_cusp(r2, basis.cusps))[:, None]
        return basis.values(exponents, vectors, r2) * cusp

    return np.asarray(values(points, molecule.nuclei))
