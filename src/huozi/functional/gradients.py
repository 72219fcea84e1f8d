"""Analytic nuclear gradients of a mean field with a learned functional.

With the model in the field the energy is stationary and its gradient needs no response. Without
(`ResponseGradient`), E_delta at the base method's density P is the derivative by t of the
self-consistent energy of E_base + t E_delta at t = 0. The order of derivatives is free:

    d E_delta[P(X)] / dX = d/dt (gradient of the field of E_base + t E_delta)
                         = explicit motion of the projection at fixed P
                           + gradient formula of the base method along (P', F')

P' is the first-order response of the base method's field to the potential V of the model and
F' = V + G[P'] that of its Fock matrix: one set of coupled-perturbed equations (the Z-vector),
whatever the number of atoms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pyscf import lib

from huozi.functional.projection import Array

if TYPE_CHECKING:
    _Mixed: Any
else:
    _Mixed = object


class _WithModel(_Mixed):
    """What both classes of gradients share: they take over a gradient object of PySCF."""

    def __init__(self, gradient: Any) -> None:
        self.__dict__.update(gradient.__dict__)

    def _orbitals(self, mo_energy: Any, mo_coeff: Any, mo_occ: Any) -> tuple[Any, Any, Any]:
        """Energies, coefficients and occupations; those of the field where none are given."""
        mf = self.base
        return (
            mf.mo_energy if mo_energy is None else mo_energy,
            mf.mo_coeff if mo_coeff is None else mo_coeff,
            mf.mo_occ if mo_occ is None else mo_occ,
        )


class ModelGradient(_WithModel):
    """Mixed into PySCF's gradient class of the base method.

    With orbital energies of the whole Fock matrix, the base class contributes the motion of the
    orbital basis through its overlap (the energy-weighted density) for both parts. What remains of
    the model is the motion of the overlaps between orbitals and projection basis at fixed P.
    """

    __name_mixin__ = "Neural"

    def grad_elec(
        self, mo_energy: Any = None, mo_coeff: Any = None, mo_occ: Any = None, atmlst: Any = None
    ) -> Array:
        """Electronic part of dE/dX (atoms, 3), hartree/bohr."""
        mf = self.base
        _, mo_coeff, mo_occ = self._orbitals(mo_energy, mo_coeff, mo_occ)
        base = super().grad_elec(mo_energy, mo_coeff, mo_occ, atmlst)
        own = explicit_gradient(mf, np.asarray(mf.make_rdm1(mo_coeff, mo_occ)))
        return np.asarray(base) + (own if atmlst is None else own[list(atmlst)])


class ResponseGradient(_WithModel):
    """Mixed into PySCF's gradient class when the model is added to the base method's field."""

    __name_mixin__ = "Perturbed"

    def grad_elec(
        self, mo_energy: Any = None, mo_coeff: Any = None, mo_occ: Any = None, atmlst: Any = None
    ) -> Array:
        """Electronic part of dE/dX (atoms, 3), hartree/bohr."""
        mf = self.base
        mo_energy, mo_coeff, mo_occ = self._orbitals(mo_energy, mo_coeff, mo_occ)
        base = np.asarray(super().grad_elec(mo_energy, mo_coeff, mo_occ, atmlst))
        own = explicit_gradient(mf, np.asarray(mf.make_rdm1(mo_coeff, mo_occ)))
        fock = response_fock(mf, mo_energy, mo_coeff, mo_occ)
        # The formula's derivative by central difference: PySCF has it for fixed functionals only.
        step = STEP / np.abs(fock).max()
        ends = [
            np.asarray(super(ResponseGradient, self).grad_elec(*orbitals, mo_occ, atmlst))
            for orbitals in (shifted(mo_energy, mo_coeff, s * step * fock) for s in (1, -1))
        ]
        response = (ends[0] - ends[1]) / (2 * step)
        return base + response + (own if atmlst is None else own[list(atmlst)])


STEP = 1e-3
"""Largest change of a Fock matrix element, hartree: the error is of second order in it."""


def explicit_gradient(mf: Any, dm: Array) -> Array:
    """dE_delta/dX (natm, 3), hartree/bohr, by the motion of the projection at fixed P."""
    _, alpha, beta = mf.model_energy(dm)
    projection = mf.projection()
    if dm.ndim == 2:
        return np.asarray(projection.gradient(dm, alpha))
    return np.asarray(projection.gradient(dm[0], alpha) + projection.gradient(dm[1], beta))


def response_fock(mf: Any, mo_energy: Array, mo_coeff: Array, mo_occ: Array) -> Array:
    """First-order change of a base method's Fock matrix when the model's potential is switched on.

    In molecular orbitals of each spin, (nmo, nmo) or (2, nmo, nmo); hartree. Solves

        (e_a - e_i) u_ai + G[P'(u)]_ai = - V_ai

    Source: Gerratt & Mills, J. Chem. Phys. 49, 1719 (1968); Handy & Schaefer, J. Chem. Phys. 81,
    5031 (1984).
    """
    if np.ndim(mo_energy) == 1 and np.any(np.asarray(mo_occ) == 1):
        raise NotImplementedError(
            "forces without self-consistency exist for restricted closed shells and unrestricted "
            "orbitals; use shell='unrestricted'"
        )
    closed = np.ndim(mo_energy) == 1
    energies, coeff, occupations = (
        np.asarray(x)[None] if closed else np.asarray(x) for x in (mo_energy, mo_coeff, mo_occ)
    )
    dm = np.asarray(mf.make_rdm1(mo_coeff, mo_occ))
    _, alpha, beta = mf.model_energy(dm)
    slopes = [alpha] if closed else [alpha, beta]
    potential = np.stack([mf.projection().potential(x) for x in slopes])
    virtual = [np.outer(n == 0, n > 0) for n in occupations]
    gaps = [e[:, None] - e for e in energies]
    respond = mf.gen_response(mo_coeff, mo_occ, hermi=1)

    def to_orbitals(v: Array) -> Array:
        return np.einsum("spm,spq,sqn->smn", coeff, v, coeff, optimize=True)

    def amplitudes(v: Array) -> Array:
        """- v_ai / (e_a - e_i), flat."""
        return np.concatenate([-x[k] / g[k] for x, k, g in zip(v, virtual, gaps)])

    def induced(flat: Array) -> Array:
        """G[P'(u)] in atomic orbitals."""
        parts = np.split(flat, np.cumsum([k.sum() for k in virtual])[:-1])
        change = np.zeros_like(potential)
        for s, (k, u) in enumerate(zip(virtual, parts)):
            whole = np.zeros(k.shape)
            whole[k] = u
            change[s] = coeff[s] @ (whole * occupations[s]) @ coeff[s].T
        change += change.swapaxes(1, 2)
        found = np.asarray(respond(change[0] if closed else change))
        return found[None] if closed else found

    def operator(rows: Array) -> Array:
        return np.array([-amplitudes(to_orbitals(induced(x))) for x in np.atleast_2d(rows)])

    start = amplitudes(to_orbitals(potential))
    solution = lib.krylov(operator, start, tol=1e-10, max_cycle=60).reshape(-1)
    fock = to_orbitals(potential + induced(solution))
    return fock[0] if closed else fock


def shifted(mo_energy: Array, mo_coeff: Array, change: Array) -> tuple[Array, Array]:
    """Orbital energies and orbitals of a Fock matrix that is changed a little."""
    fock = np.asarray(change) + np.stack([np.diag(e) for e in np.atleast_2d(mo_energy)]).reshape(
        change.shape
    )
    energies, turns = np.linalg.eigh(fock)
    return energies, np.asarray(mo_coeff) @ turns
