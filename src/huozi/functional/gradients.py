"""Analytic nuclear gradients of a mean field with a learned functional."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from huozi.functional.projection import Array

if TYPE_CHECKING:
    _Mixed: Any
else:
    _Mixed = object


class ModelGradient(_Mixed):
    """Mixed into PySCF's gradient class of the base method.

    With orbital energies of the whole Fock matrix, the base class contributes the motion of the
    orbital basis through its overlap (the energy-weighted density) for both parts. What remains of
    the model is the motion of the overlaps between orbitals and projection basis at fixed P.
    """

    __name_mixin__ = "Neural"

    def __init__(self, gradient: Any) -> None:
        self.__dict__.update(gradient.__dict__)

    def grad_elec(
        self, mo_energy: Any = None, mo_coeff: Any = None, mo_occ: Any = None, atmlst: Any = None
    ) -> Array:
        """Electronic part of dE/dX (atoms, 3), hartree/bohr."""
        mf = self.base
        mo_coeff = mf.mo_coeff if mo_coeff is None else mo_coeff
        mo_occ = mf.mo_occ if mo_occ is None else mo_occ
        base = super().grad_elec(mo_energy, mo_coeff, mo_occ, atmlst)
        dm = np.asarray(mf.make_rdm1(mo_coeff, mo_occ))
        energy, alpha, beta = mf.model_energy(dm)
        projection = mf.projection()
        if dm.ndim == 2:
            own = projection.gradient(dm, alpha)
        else:
            own = projection.gradient(dm[0], alpha) + projection.gradient(dm[1], beta)
        return np.asarray(base) + (own if atmlst is None else own[list(atmlst)])
