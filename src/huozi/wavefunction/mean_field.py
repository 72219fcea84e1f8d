"""Hartree-Fock: by PySCF for nuclei, in plane waves for a gas of electrons."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import eigh

from huozi.wavefunction.cell import Cell
from huozi.wavefunction.molecule import Molecule

LEAST_OVERLAP = 1e-6
"""Of the largest eigenvalue of the overlap; combinations with less are functions twice told."""

FAR_BELOW = 1e3
"""Hartree; lowers occupied orbitals below all empty ones."""


@dataclass(frozen=True)
class MeanField:
    """Restricted (open-shell) Hartree-Fock of PySCF.

    Parameters
    ----------
    solver : pyscf.scf object
        Converged.
    energy : float
        Hartree.
    coefficients : (functions, n) array
        Of the orbitals, real.
    levels, occupations : (n,) arrays
        Energies of the orbitals, hartree, and their electrons.
    highest : float
        Level of the highest occupied orbital; of open shells that of spin up, for Roothaan's
        effective levels are means over both spins. In a cell without what an electron's own
        images add to it.
    """

    solver: Any
    energy: float
    coefficients: np.ndarray
    levels: np.ndarray
    occupations: np.ndarray
    highest: float

    def orbitals(self, points: np.ndarray) -> np.ndarray:
        """All orbitals at points (G, 3), (G, n)."""
        mol = self.solver.mol
        if hasattr(mol, "pbc_eval_gto"):
            functions = mol.pbc_eval_gto("GTOval", points, kpt=self.solver.kpt).real
        else:
            functions = mol.eval_gto("GTOval", points)
        return functions @ self.coefficients

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Points (G, 3) and weights (G,) to integrate with."""
        if hasattr(self.solver.mol, "pbc_eval_gto"):
            from pyscf.pbc.dft.gen_grid import BeckeGrids as Grids
        else:
            from pyscf.dft.gen_grid import Grids
        grids = Grids(self.solver.mol)
        grids.level = 2
        grids.build()
        return grids.coords, grids.weights


def solve_mean_field(molecule: Molecule, gaussians: str) -> MeanField:
    """Solve Hartree-Fock, restricted, open-shell where needed, in the field or the cell.

    Atoms with a core potential get that and the Gaussians made for it.

    Raises
    ------
    ImportError
        Without PySCF.
    ValueError
        If it does not converge, or there are no Gaussians for an element.
    """
    try:
        from pyscf import gto, lib, scf
        from pyscf.lib.exceptions import BasisNotFoundError
    except ImportError:
        raise ImportError("the starting orbitals need PySCF: pip install 'huozi[pyscf]'") from None
    cores = [p for p in molecule.potentials if p]
    cell, shifted = molecule.cell, False
    form = dict(
        atom=[(z, xyz) for z, xyz in zip(molecule.numbers, molecule.positions)],
        unit="bohr",
        basis={"default": gaussians} | {p.symbol: f"{p.name}-{gaussians}" for p in cores},
        ecp={p.symbol: p.name for p in cores},
        spin=molecule.up - molecule.down,
        charge=sum(molecule.charges) - molecule.electrons,
        verbose=0,
    )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Basis may be available", UserWarning)
            mol = _cell(cell, form) if cell else gto.M(**form)
    except BasisNotFoundError as error:
        raise ValueError(
            f"PySCF has no functions to start from: {error}; with --ecp ccecp it has them for "
            "most elements up to krypton"
        ) from None
    if cell:
        from pyscf.pbc import scf as periodic

        # In flat cells this energy is positive and would lift occupied orbitals above empty ones.
        shifted = cell.own_energy < 0
        kind = periodic.ROHF if molecule.up != molecule.down else periodic.RHF
        how = "ewald" if shifted else None
        mean_field = kind(mol, kpt=cell.offset, exxdiv=how).density_fit()
    else:
        mean_field = scf.ROHF(mol) if molecule.up != molecule.down else scf.RHF(mol)
    if any(molecule.field):
        in_field = np.einsum("x,xij->ij", molecule.field, mol.intor("int1e_r"))
        core = mean_field.get_hcore() + in_field
        mean_field.get_hcore = lambda *_: core
        mean_field.energy_nuc = lambda *_: molecule.nuclear_energy
    # Sums in the order of one thread: in which direction an open shell points hangs on rounding.
    with lib.with_omp_threads(1):
        mean_field.kernel()
        if not mean_field.converged:
            mean_field = mean_field.newton()
            mean_field.kernel()
    if not mean_field.converged:
        raise ValueError(f"Hartree-Fock of {molecule.name} does not converge; check the geometry")
    found = (mean_field.mo_coeff, np.asarray(mean_field.mo_energy), np.asarray(mean_field.mo_occ))
    levels = np.asarray(getattr(mean_field.mo_energy, "mo_ea", mean_field.mo_energy))
    highest = float(levels[mean_field.mo_occ > 0].max())
    energy = float(mean_field.e_tot)
    if cell:
        found = _real_orbitals(mean_field, molecule.up, molecule.down)
        highest -= 2 * cell.own_energy if shifted else 0.0
        energy += 0.0 if shifted else molecule.electrons * cell.own_energy
    return MeanField(mean_field, energy, *found, highest)


def _cell(cell: Cell, form: dict[str, Any]) -> Any:
    from pyscf.pbc import gto

    # PySCF wants vectors of a right hand; the opposite ones make the same lattice.
    return gto.M(a=cell.matrix * np.sign(np.linalg.det(cell.matrix)), **form)


def _real_orbitals(
    mean_field: Any, up: int, down: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coefficients, levels and occupations of orbitals in a cell, real, occupied ones first.

    The matrices are real at twists of 0 and 1/2, PySCF's orbitals have any phase.
    """
    fock, overlap = np.real(mean_field.get_fock()), np.real(mean_field.get_ovlp())
    density = np.real(mean_field.make_rdm1())
    density = density.sum(0) if density.ndim == 3 else density
    sizes, vectors = eigh(overlap)
    independent = sizes > LEAST_OVERLAP * sizes.max()
    unit = vectors[:, independent] / np.sqrt(sizes[independent])
    filled = overlap @ density @ overlap
    orbitals = unit @ eigh(unit.T @ (fock - FAR_BELOW * filled) @ unit)[1]
    levels = np.einsum("in,ij,jn->n", orbitals, fock, orbitals)
    occupations = (np.arange(len(levels))[:, None] < [up, down]).sum(1)
    return orbitals, levels, occupations


def electron_gas_energy(
    cell: Cell, up: int, down: int, waves: tuple[np.ndarray, np.ndarray]
) -> float:
    """Energy of the determinant of the first plane waves, hartree; of closed shells Hartree-Fock's.

    Parameters
    ----------
    waves : (n, 3), (n,) arrays
        Vectors and phases of `Cell.plane_waves`.
    """
    vectors, phases = (each[: max(up, down)] for each in waves)
    orbitals = [_exponentials(k, phase) for k, phase in zip(vectors, phases)]
    energy = (up + down) * cell.own_energy
    energy += sum(np.square(vectors[:n]).sum() / 2 for n in (up, down))
    density: dict[tuple[int, ...], complex] = {}
    for m, first in enumerate(orbitals):
        for n, second in enumerate(orbitals):
            product: dict[tuple[int, ...], complex] = {}
            for k, a in first:
                for q, b in second:
                    between = tuple(np.rint((q - k) @ cell.matrix.T / (2 * np.pi)).astype(int))
                    product[between] = product.get(between, 0) + np.conj(a) * b
            shared = sum(max(m, n) < count for count in (up, down))
            energy -= shared * _coulomb(cell, product) / 2
            if m == n:
                for between, value in product.items():
                    density[between] = density.get(between, 0) + shared * value
    return energy + _coulomb(cell, density) / 2


def _exponentials(k: np.ndarray, phase: float) -> list[tuple[np.ndarray, complex]]:
    """Write a normalised cos(k . r - phase) as a sum of exp(i q . r): pairs of q and factor."""
    if not k.any():
        return [(k, 1.0)]
    factor = np.exp(-1j * phase) / np.sqrt(2)
    return [(k, factor), (-k, np.conj(factor))]


def _coulomb(cell: Cell, density: dict[tuple[int, ...], complex]) -> float:
    """Coulomb integral of |density|^2, hartree; by whole multiples of the reciprocal vectors."""
    waves = np.array(list(density)) @ cell.reciprocal
    squares = np.square(waves).sum(1)
    moving = squares > 1e-9
    values = np.square(np.abs(list(density.values())))
    return float(4 * np.pi / cell.volume * (values[moving] / squares[moving]).sum())
