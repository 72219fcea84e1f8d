"""Hartree–Fock, density functionals, MP2 and coupled cluster by PySCF."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import Bohr, Hartree

from huozi.labels.labeller import LabelError, charge_and_multiplicity, checked, require
from huozi.labels.settings import PyscfLevel
from huozi.systems import Labels

CORRELATED = ("mp2", "ccsd", "ccsd(t)")
CC_ENERGY, CC_AMPLITUDES = 1e-9, 1e-7
"""Thresholds of coupled cluster: hartree, and norm of the change of the amplitudes."""
HOW = "pip install 'huozi[pyscf]'"


class PyscfLabeller:
    """Energy and forces of molecules, and of cells at the Gamma point with a semilocal functional.

    Forces are absent for open-shell CCSD(T). Source: Sun et al., J. Chem. Phys. 153, 024109 (2020).
    """

    def __init__(self, level: PyscfLevel) -> None:
        self.code = "PySCF " + require("pyscf", "2.6", HOW)
        if level.dispersion != "none":
            require("pyscf-dispersion", "1.0", HOW)
        self._level = level
        self._method = level.method.lower()
        if self._method not in ("hf", *CORRELATED):
            self._check_functional()
        elif level.smearing and self._method != "hf":
            raise ValueError(f"{level.method} has no smearing; set smearing to 0")
        elif level.density_fit and self._method in CORRELATED:
            raise ValueError(
                f"PySCF has no forces of {self._method} with density_fit, or those of other "
                "integrals than the energy's; set it to false"
            )
        elif level.dispersion != "none" and self._method != "hf":
            raise ValueError(f"{level.method} takes no dispersion correction; set it to none")
        suffix = "" if level.dispersion == "none" else f"-{level.dispersion}"
        self.level = f"{level.method}{suffix}/{level.basis}"

    def _check_functional(self) -> None:
        from pyscf.dft import libxc

        try:
            libxc.parse_xc(self._method)
        except (KeyError, ValueError):
            raise ValueError(
                f"method {self._level.method!r} is neither hf, mp2, ccsd, ccsd(t) nor a functional "
                "that libxc knows"
            ) from None

    def label(self, atoms: Atoms) -> Labels:
        """See `huozi.labels.Labeller`."""
        charge, multiplicity = charge_and_multiplicity(atoms, self._level)
        if atoms.pbc.any():
            return checked(self._cell(atoms, charge, multiplicity), atoms)
        return checked(self._molecule(atoms, charge, multiplicity), atoms)

    def _molecule(self, atoms: Atoms, charge: int, multiplicity: int) -> Labels:
        from pyscf import gto, scf

        level = self._level
        if (level.pseudo or "").lower().startswith("gth"):
            raise LabelError(
                f"pseudo {level.pseudo} is for cells; molecules and isolated atoms take a core "
                "potential, such as ccecp, or none: label them at a level of their own"
            )
        molecule = gto.Mole()
        molecule.stdout = sys.stdout  # PySCF keeps the one it found when it was imported
        molecule.build(
            atom=list(zip(atoms.symbols, atoms.positions)),
            unit="Angstrom",
            basis=level.basis,
            ecp=level.pseudo or {},
            charge=charge,
            spin=multiplicity - 1,
            verbose=4,
            parse_arg=False,
            dump_input=False,
        )
        if self._method in ("hf", *CORRELATED):
            field = scf.HF(molecule) if multiplicity == 1 else scf.UHF(molecule)
        else:
            field = molecule.KS(xc=self._method)
            field.grids.level = level.grid
        if level.dispersion != "none":
            field.disp = level.dispersion
        if level.density_fit:
            field = field.density_fit()
        field = self._converged(field)
        if self._method in CORRELATED:
            return self._correlated(field)
        # Libraries number their shells differently; an atom alone feels no force.
        forces = np.zeros((1, 3)) if len(atoms) == 1 else _forces(field.nuc_grad_method().kernel)
        return Labels(self._energy(field), forces)

    def _converged(self, field: Any) -> Any:
        """Run an SCF to convergence, or fail."""
        from pyscf.scf.addons import smearing

        level = self._level
        if self._is_smeared(field):
            # With one Fermi level for both spins the multiplicity would be lost.
            spin = field.mol.spin
            width = level.smearing / Hartree
            field = smearing(field, sigma=width, method="fermi", fix_spin=bool(spin))
        field.conv_tol, field.max_cycle = level.convergence, level.max_steps
        field.kernel()
        if not field.converged:
            raise LabelError(f"SCF did not converge in {level.max_steps} steps")
        return field

    def _energy(self, field: Any) -> float:
        """Energy, eV; the free energy with smearing, to which PySCF does not add the dispersion."""
        if not self._is_smeared(field):
            return float(field.e_tot) * Hartree
        dispersed = self._level.dispersion != "none"
        return float(field.e_free + (field.get_dispersion() if dispersed else 0.0)) * Hartree

    def _is_smeared(self, field: Any) -> bool:
        return self._level.smearing > 0 and field.mol.nelectron > 1

    def _correlated(self, field: Any) -> Labels:
        """MP2, CCSD or CCSD(T) on top of Hartree–Fock."""
        from pyscf import cc, mp

        alone = field.mol.natm == 1
        if self._method == "mp2":
            solver = mp.MP2(field).run()
            gradient = solver.nuc_grad_method().kernel
            return Labels(solver.e_tot * Hartree, np.zeros((1, 3)) if alone else _forces(gradient))
        solver = cc.CCSD(field)
        solver.conv_tol, solver.conv_tol_normt, solver.max_cycle = CC_ENERGY, CC_AMPLITUDES, 200
        solver.kernel()
        if not solver.converged:
            raise LabelError("the coupled-cluster equations did not converge")
        triples = self._method == "ccsd(t)"
        energy = float(solver.e_tot) + (float(solver.ccsd_t()) if triples else 0.0)
        forces: Any = None
        if alone:
            forces = np.zeros((1, 3))
        elif not triples:
            forces = _forces(solver.nuc_grad_method().kernel)
        elif field.istype("RHF"):
            forces = _forces(partial(_triples_gradient, solver))
        return Labels(energy * Hartree, forces)

    def _cell(self, atoms: Atoms, charge: int, multiplicity: int) -> Labels:
        """Semilocal functionals on multigrids: the one way with forces at the Gamma point."""
        from pyscf.dft import libxc
        from pyscf.pbc import dft, gto

        level, method = self._level, self._method
        if not atoms.pbc.all():
            raise LabelError("PySCF labels molecules and cells periodic in all directions alone")
        if method in ("hf", *CORRELATED) or libxc.is_hybrid_xc(method) or level.pseudo is None:
            raise LabelError(
                "cells need a functional without exact exchange and a pseudopotential "
                f"(pseudo: gth-pbe, basis: gth-dzvp); found {level.method}, pseudo {level.pseudo}"
            )
        if level.pseudo.lower().startswith("gth") and not level.basis.lower().startswith("gth"):
            raise LabelError(
                f"pseudo {level.pseudo} needs a basis made for it, such as gth-dzvp; found "
                f"{level.basis}"
            )
        cell = gto.Cell()
        cell.stdout = sys.stdout
        cell.build(
            atom=list(zip(atoms.symbols, atoms.positions)),
            a=atoms.cell.array,
            unit="Angstrom",
            basis=level.basis,
            pseudo=level.pseudo,
            charge=charge,
            spin=multiplicity - 1,
            ke_cutoff=level.cell_cutoff,
            verbose=4,
            parse_arg=False,
            dump_input=False,
        )
        kind = dft.RKS if multiplicity == 1 else dft.UKS
        field = kind(cell, xc=method).multigrid_numint()
        if level.dispersion != "none":
            raise LabelError("PySCF has no dispersion correction for cells")
        field = self._converged(field)
        return Labels(self._energy(field), _forces(field.nuc_grad_method().kernel))


def _triples_gradient(solver: Any) -> Any:
    """Gradient of CCSD(T); the class alone would take the response of CCSD without triples."""
    from pyscf.cc import ccsd_t_lambda
    from pyscf.grad import ccsd_t

    integrals = solver.ao2mo()
    converged, l1, l2 = ccsd_t_lambda.kernel(
        solver, integrals, solver.t1, solver.t2, max_cycle=200, tol=CC_AMPLITUDES
    )
    if not converged:
        raise LabelError("the response equations of CCSD(T) did not converge")
    return ccsd_t.Gradients(solver).kernel(solver.t1, solver.t2, l1, l2, eris=integrals)


def _forces(gradient: Callable[[], Any]) -> Any:
    """Return forces (n, 3), eV/Å, from a function that returns the gradient in atomic units."""
    return -np.asarray(gradient()) * Hartree / Bohr
