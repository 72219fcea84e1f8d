"""Projection of a density matrix on an atom-centred basis: the descriptor of a functional.

For every atom I and shell (n, l) of the projection basis, which is the same on all atoms,

    D^I_nl,ab = sum_rs <a|r> P_rs <s|b>,        a, b = 1 ... 2l + 1

with P the one-particle density matrix in atomic orbitals r, s. The basis of DeePKS (Chen,
Zhang, Wang, E, J. Chem. Theory Comput. 17, 170, 2021) has 12 shells for each of l = 0, 1, 2.
Everything a self-consistent field and its forces need of D is here, in closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscf import gto

Array = NDArray[Any]
Shells = Sequence[Any]
"""Shells in PySCF's format: [l, [exponent, coefficient, coefficient, ...], ...]."""


def published_basis() -> list[Any]:
    """Return the basis of DeePKS: differences of neighbouring Gaussians, 108 functions an atom.

    Exponents 1.5^k, k = 17, 13, 10, 7, 5, 3, 2, 1, 0, -1, -2, -3, for l = 0, 1, 2.
    """
    exponents = 1.5 ** np.array([17, 13, 10, 7, 5, 3, 2, 1, 0, -1, -2, -3], float)
    differences = np.eye(len(exponents)) - np.eye(len(exponents), k=1)
    rows = np.column_stack([exponents, differences]).tolist()
    return [[ell, *rows] for ell in range(3)]


def shell_counts(basis: Shells) -> tuple[tuple[int, int], ...]:
    """Return (l, number of radial functions) for each l that occurs, ascending."""
    counts: dict[int, int] = {}
    for ell, *rows in basis:
        counts[ell] = counts.get(ell, 0) + len(rows[0]) - 1
    return tuple(sorted(counts.items()))


class Projection:
    """Overlaps of a molecule's orbitals with a projection basis on each of its atoms.

    Parameters
    ----------
    mol : pyscf.gto.Mole
        Spherical or Cartesian; ghost atoms carry no projection functions.
    basis : list
        Shells in PySCF's format.

    Attributes
    ----------
    atoms : (m,) int array
        Atoms of `mol` that carry the basis.
    overlaps : list of (nao, m, n, 2l + 1) arrays
        <r|a>, an array for each l of `shell_counts(basis)`.
    """

    def __init__(self, mol: gto.Mole, basis: Shells) -> None:
        self.mol = mol
        charges = mol.atom_charges()
        self.atoms = np.flatnonzero(charges > 0)
        coords = mol.atom_coords()[self.atoms]
        self._shells = shell_counts(basis)
        # Ghosts: only the places matter. Cartesian molecules keep spherical projections.
        self._centres = gto.M(
            atom=[("ghost-He", x) for x in coords],
            basis={"ghost-He": list(basis)},
            unit="Bohr",
            verbose=0,
        )
        self._columns = _columns(self._centres, self._shells)
        self.overlaps = self._split(self._integrals("int1e_ovlp"))

    def _integrals(self, name: str) -> Array:
        if not self.mol.cart:
            return np.asarray(gto.intor_cross(name, self.mol, self._centres))
        # A mixed pair of Cartesian and spherical functions: transform the projection side.
        cartesian = self._centres.copy()
        cartesian.cart = True
        raw = gto.intor_cross(f"{name}_cart", self.mol, cartesian)
        return np.asarray(raw @ self._centres.cart2sph_coeff(normalized="sp"))

    def _split(self, integrals: Array) -> list[Array]:
        lead, m = integrals.shape[:-1], len(self.atoms)
        return [
            np.ascontiguousarray(integrals[..., columns]).reshape(*lead, m, n, 2 * ell + 1)
            for columns, (ell, n) in zip(self._columns, self._shells, strict=True)
        ]

    def blocks(self, dm: Array) -> list[Array]:
        """Return D for each l, (m, n, 2l + 1, 2l + 1), of a density matrix (nao, nao)."""
        return [
            np.matmul(b.transpose(1, 2, 3, 0), t.transpose(1, 2, 0, 3))
            for b, t in zip(self.overlaps, self._half(dm), strict=True)
        ]

    def _half(self, dm: Array) -> list[Array]:
        return [(dm @ b.reshape(len(dm), -1)).reshape(b.shape) for b in self.overlaps]

    def potential(self, slopes: Sequence[Array]) -> Array:
        """Return dE/dP (nao, nao) from dE/dD, symmetric blocks as those of `blocks`."""
        nao = self.overlaps[0].shape[0]
        total = np.zeros((nao, nao))
        for b, g in zip(self.overlaps, slopes, strict=True):
            total += (
                b.reshape(nao, -1)
                @ np.matmul(b.transpose(1, 2, 0, 3), g).transpose(2, 0, 1, 3).reshape(nao, -1).T
            )
        return (total + total.T) / 2

    def gradient(self, dm: Array, slopes: Sequence[Array]) -> Array:
        """Return dE/dX (natm, 3), hartree/bohr, by the motion of both bases at fixed P.

        Parameters
        ----------
        dm : (nao, nao) array
            Density matrix.
        slopes : list of arrays
            dE/dD for each l.
        """
        gradient = np.zeros((self.mol.natm, 3))
        pairs = zip(self._moved(), self._half(dm), slopes, strict=True)
        for moved, half, slope in pairs:
            weight = 2 * np.matmul(half.transpose(1, 2, 0, 3), slope).transpose(2, 0, 1, 3)
            terms = np.einsum("xrina,rina->xri", moved, weight)
            for atom, (_, _, start, stop) in enumerate(self.mol.aoslice_by_atom()):
                gradient[atom] -= terms[:, start:stop].sum((1, 2))
            gradient[self.atoms] += terms.sum(1).T
        return gradient

    def _moved(self) -> list[Array]:
        """<nabla r|a> (3, nao, m, n, 2l + 1) for each l; translation gives the other side."""
        return self._split(self._integrals("int1e_ipovlp"))

    def jacobian(self, dm: Array) -> list[Array]:
        """Return dD/dX (m, n, 2l + 1, 2l + 1, natm, 3) of the electrons of one spin.

        Orbitals follow the nuclei and stay orthonormal by the symmetric connection, dP = - P S^X P.
        With this motion - dE/dD dD/dX is what E adds to the forces of a self-consistent field,
        where PySCF has the second term in its energy-weighted density.

        Parameters
        ----------
        dm : (nao, nao) array
            Density matrix of the electrons of one spin, P S P = P.
        """
        s1 = -self.mol.intor("int1e_ipovlp", comp=3)
        result = []
        for moved, half in zip(self._moved(), self._half(dm), strict=True):
            shape = half.shape[1:]
            stretched = s1 @ half.reshape(len(dm), -1)
            stretched = stretched.reshape(3, *half.shape)
            block = np.zeros((*shape, shape[-1], self.mol.natm, 3))
            for atom, (_, _, start, stop) in enumerate(self.mol.aoslice_by_atom()):
                own = slice(start, stop)
                change = -(moved[:, own] + stretched[:, own])
                block[..., atom, :] += np.einsum("xrina,rinb->inabx", change, half[own])
            for i, home in enumerate(self.atoms):
                block[i, ..., home, :] += np.einsum("xrna,rnb->nabx", moved[:, :, i], half[:, i])
            result.append(block + block.swapaxes(2, 3))
        return result

    def mixing(self, orbitals: Array, changes: Array) -> list[Array]:
        """Return dD (m, n, 2l + 1, 2l + 1, k) when the orbitals of one spin change.

        Parameters
        ----------
        orbitals : (nao, o) array
            Occupied orbitals.
        changes : (nao, o, k) array
            Their first-order changes, k of them.
        """
        nao, o = orbitals.shape
        result = []
        for b in self.overlaps:
            flat = b.reshape(nao, -1).T
            still = (flat @ orbitals).reshape(*b.shape[1:], o)
            moving = (flat @ changes.reshape(nao, -1)).reshape(*b.shape[1:], *changes.shape[1:])
            change = np.einsum("inao,inbok->inabk", still, moving)
            result.append(change + change.swapaxes(2, 3))
        return result


def _columns(centres: gto.Mole, shells: Sequence[tuple[int, int]]) -> list[NDArray[np.intp]]:
    """Columns of the projection functions of each l, in the order atom, n, m."""
    found: dict[int, list[int]] = {ell: [] for ell, _ in shells}
    start = 0
    for shell in range(centres.nbas):
        ell = centres.bas_angular(shell)
        size = (2 * ell + 1) * centres.bas_nctr(shell)
        found[ell] += range(start, start + size)
        start += size
    return [np.array(found[ell]) for ell, _ in shells]
