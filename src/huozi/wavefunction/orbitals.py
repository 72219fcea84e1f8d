"""Orbitals in a basis of rounded Slater functions, started from Hartree-Fock.

A basis function exp(-zeta s) or (x, y, z) exp(-zeta s) of a nucleus uses the rounded distance
s = sqrt(r^2 + 1/Z^2) - 1/Z and is smooth; the cusp factor of `jastrow.py` turns it into a Slater
function near its own nucleus and gives every orbital the right slope at every nucleus, which
Gaussians miss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from huozi.arrays import jax, jnp
from huozi.wavefunction import jets
from huozi.wavefunction.features import rounded, to_nuclei
from huozi.wavefunction.jastrow import nuclear_cusp
from huozi.wavefunction.jets import Value
from huozi.wavefunction.molecule import Molecule

Array = jax.Array
Params = dict[str, Any]

RATIO = 1.7
"""Between neighbouring exponents."""
SOFTEST = 0.35
"""Smallest exponent, 1/bohr; orbitals of ionisation energy I decay as sqrt(2 I)."""


@dataclass(frozen=True)
class Basis:
    """Which nucleus each shell belongs to, and the exponents to start from.

    Parameters
    ----------
    s_atom, p_atom : tuple of int
    s_zeta, p_zeta : tuple of float
        1/bohr.
    """

    s_atom: tuple[int, ...]
    s_zeta: tuple[float, ...]
    p_atom: tuple[int, ...]
    p_zeta: tuple[float, ...]

    @classmethod
    def for_molecule(cls, molecule: Molecule) -> Basis:
        """Even-tempered exponents: s from Z, p from Z/2, both down to the softest."""
        s = [(a, e) for a, z in enumerate(molecule.charges) for e in _exponents(float(z))]
        p = [(a, e) for a, z in enumerate(molecule.charges) for e in _exponents(max(0.5 * z, 1.0))]
        return cls(
            tuple(a for a, _ in s), tuple(e for _, e in s), tuple(a for a, _ in p),
            tuple(e for _, e in p),
        )  # fmt: skip

    @property
    def size(self) -> int:
        """Number of functions."""
        return len(self.s_atom) + 3 * len(self.p_atom)

    def init(self) -> Params:
        """Logarithms of the exponents."""
        return {"s": jnp.log(jnp.array(self.s_zeta)), "p": jnp.log(jnp.array(self.p_zeta))}

    def values(self, params: Params, vectors: Value, r2: Value, charges: Array) -> Value:
        """All functions at all electrons, (N, size)."""
        s_atom, p_atom = np.array(self.s_atom), np.array(self.p_atom)
        s = rounded(r2, 1 / charges)

        def radial(log_zeta: Array, atom: np.ndarray) -> Value:
            chosen = jets.linear(lambda v: v[..., atom], s)
            return jets.elementwise(lambda v: jnp.exp(-jnp.exp(log_zeta) * v), chosen)

        p = jets.bilinear(
            lambda v, f: (v * f[..., None]).reshape(v.shape[0], -1),
            jets.linear(lambda v: v[..., p_atom, :], vectors),
            radial(params["p"], p_atom),
        )
        return jets.linear(lambda a, b: jnp.concatenate([a, b], -1), radial(params["s"], s_atom), p)


def _exponents(largest: float) -> list[float]:
    count = max(1, round(np.log(largest / SOFTEST) / np.log(RATIO)) + 1)
    return [largest / RATIO**k for k in range(count)]


@dataclass(frozen=True)
class HartreeFock:
    """Restricted (open-shell) Hartree-Fock.

    Parameters
    ----------
    energy : float
        Hartree.
    orbitals : (size, n) array
        Occupied and empty orbitals by energy, in the rounded Slater basis.
    """

    energy: float
    orbitals: np.ndarray


def hartree_fock(molecule: Molecule, basis: Basis, gaussians: str = "cc-pvdz") -> HartreeFock:
    """Solve Hartree-Fock with PySCF and fit its orbitals in the rounded Slater basis.

    Raises
    ------
    ImportError
        Without PySCF.
    ValueError
        If Hartree-Fock does not converge.
    """
    mean_field = run_pyscf(molecule, gaussians)
    grids = _grid(mean_field.mol)
    points, weights = grids.coords, grids.weights
    target = mean_field.mol.eval_gto("GTOval", points) @ mean_field.mo_coeff
    design = cusped_basis(molecule, basis, points)
    root = np.sqrt(np.abs(weights))[:, None]
    norms = np.linalg.norm(root * design, axis=0)
    u, s, vt = np.linalg.svd(root * design / norms, full_matrices=False)
    damped = s / (s**2 + (1e-4 * s[0]) ** 2)
    fitted = vt.T @ (damped[:, None] * (u.T @ (root * target)))
    return HartreeFock(float(mean_field.e_tot), fitted / norms[:, None])


def run_pyscf(molecule: Molecule, gaussians: str) -> Any:
    """Return a converged PySCF mean field, restricted, open-shell where needed."""
    try:
        from pyscf import gto, scf
    except ImportError:
        raise ImportError("the starting orbitals need PySCF: pip install 'huozi[pyscf]'") from None
    mol = gto.M(
        atom=[(z, xyz) for z, xyz in zip(molecule.charges, molecule.positions)],
        unit="bohr",
        basis=gaussians,
        spin=molecule.up - molecule.down,
        charge=sum(molecule.charges) - molecule.electrons,
        verbose=0,
    )
    mean_field = scf.ROHF(mol) if molecule.up != molecule.down else scf.RHF(mol)
    mean_field.kernel()
    if not mean_field.converged:
        mean_field = mean_field.newton()
        mean_field.kernel()
    if not mean_field.converged:
        raise ValueError(f"Hartree-Fock of {molecule.name} does not converge; check the geometry")
    return mean_field


def _grid(mol: Any) -> Any:
    from pyscf import dft

    grids = dft.gen_grid.Grids(mol)
    grids.level = 2
    return grids.build()


def cusped_basis(molecule: Molecule, basis: Basis, points: np.ndarray) -> np.ndarray:
    """Basis functions times the nuclear cusp factor at points (G, 3)."""
    charges = jnp.array(molecule.charges, float)
    vectors, r2 = to_nuclei(jnp.asarray(points), jnp.asarray(molecule.nuclei))
    values = basis.values(basis.init(), vectors, r2, charges)
    return np.asarray(values * jnp.exp(nuclear_cusp(r2, charges))[:, None])
