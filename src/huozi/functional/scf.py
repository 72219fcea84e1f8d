"""A learned functional as a PySCF method: restricted, unrestricted, restricted open shell.

    E[P] = E_base[P] + E_delta[P],        F = F_base + V,        V_rs = dE_delta / dP_rs

`NeuralKS` builds PySCF's own object of the base method and puts the correction into its
potential and energy, so that convergence aids, density fitting, scanners and drivers work as
they do for the base method. Without self-consistency (DeePHF: Chen, Zhang, Wang, E, J. Phys.
Chem. A 124, 7155, 2020) the correction is added to the energy of the base method's own field.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pyscf import dft, gto, lib, scf

from huozi.functional.gradients import ModelGradient, ResponseGradient
from huozi.functional.model import Model, load_model, orbital_digest
from huozi.functional.projection import Array, Projection

Shell = Literal["auto", "restricted", "unrestricted", "restricted-open"]


def NeuralKS(  # noqa: N802 - PySCF names its methods so
    mol: gto.Mole,
    xc: str = "hf",
    model: Model | str | Path = "",
    shell: Shell = "auto",
    self_consistent: bool = True,
) -> Any:
    """Mean field with a learned functional, used as any PySCF method.

    Parameters
    ----------
    mol : pyscf.gto.Mole
        With the orbital basis that the model was trained in.
    xc : str
        The base method that the model corrects: ``"hf"`` or a functional by PySCF's name.
    model : Model or path
        A model, its file, or the run folder that holds it.
    shell : {'auto', 'restricted', 'unrestricted', 'restricted-open'}
        Orbitals; ``auto`` is restricted for spin 0 and unrestricted otherwise.
    self_consistent : bool
        Whether the density follows the correction; otherwise it stays that of the base method.

    Returns
    -------
    pyscf.scf.hf.SCF
        PySCF's RHF, RKS, UHF, ... with the correction in its energy, potential and gradient.

    Raises
    ------
    ValueError
        If the model does not know an element, or was made for another base or orbital basis.

    Examples
    --------
    >>> mf = NeuralKS(mol, xc="hf", model="water.safetensors")  # doctest: +SKIP
    >>> mf.kernel(), mf.nuc_grad_method().kernel()  # doctest: +SKIP
    """
    found = model if isinstance(model, Model) else load_model(model)
    return attach(base_method(mol, xc, shell), found, self_consistent)


def base_method(mol: gto.Mole, xc: str, shell: Shell = "auto") -> Any:
    """Return PySCF's object of the base method, Hartree-Fock for ``"hf"``."""
    if shell == "auto":
        shell = "restricted" if mol.spin == 0 else "unrestricted"
    if shell == "restricted" and mol.spin != 0:
        raise ValueError(f"restricted orbitals need spin 0; the molecule has spin {mol.spin}")
    if xc.lower() == "hf":
        names = {"restricted": scf.RHF, "unrestricted": scf.UHF, "restricted-open": scf.ROHF}
        if mol.nelectron == 1:  # PySCF's class for one electron diagonalises without a potential
            names |= {"unrestricted": scf.uhf.UHF, "restricted-open": scf.rohf.ROHF}
        return names[shell](mol)
    names = {"restricted": dft.RKS, "unrestricted": dft.UKS, "restricted-open": dft.ROKS}
    mf = names[shell](mol)
    mf.xc = xc
    return mf


def attach(mf: Any, model: Model, self_consistent: bool = True) -> Any:
    """Return a copy of a PySCF mean field with the correction of a model.

    Raises
    ------
    ValueError
        If the model does not know an element, or was made for another base or orbital basis.
    """
    _check_base(mf, model)
    _check_orbitals(mf.mol, model)
    mixin = _Corrected if self_consistent else _Added
    return lib.set_class(mixin(mf, model), (mixin, mf.__class__))


if TYPE_CHECKING:
    _Mixed: Any
else:
    _Mixed = object


class _WithModel(_Mixed):
    """A PySCF mean field that knows a model and its energy at a density."""

    _keys: ClassVar = {"model"}

    def __init__(self, mf: Any, model: Model) -> None:
        self.__dict__.update(mf.__dict__)
        self.model = model
        self._projection: Projection | None = None

    def projection(self) -> Projection:
        """Overlaps with the projection basis at the present geometry."""
        if self._projection is None:
            self._projection = Projection(self.mol, self.model.basis)
        return self._projection

    def model_energy(self, dm: Array) -> tuple[float, list[Array], list[Array]]:
        """Return E_delta in hartree and its derivatives by the blocks of each spin's P.

        Parameters
        ----------
        dm : (nao, nao) or (2, nao, nao) array
        """
        projection = self.projection()
        closed = dm.ndim == 2
        total = projection.blocks(dm if closed else dm[0] + dm[1])
        spin = None if closed else projection.blocks(dm[0] - dm[1])
        symbols = [self.mol.atom_pure_symbol(i) for i in projection.atoms]
        kinds = np.array([self.model.elements.index(s) for s in symbols])
        energy, by_total, by_spin = self.model.evaluate(kinds, total, spin)
        if by_spin is None:
            return energy, by_total, by_total
        pairs = list(zip(by_total, by_spin, strict=True))
        return energy, [t + s for t, s in pairs], [t - s for t, s in pairs]

    def reset(self, mol: Any = None) -> Any:
        """Forget what belongs to the last geometry."""
        self._projection = None
        return super().reset(mol)

    def _no_second_derivatives(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError(
            "a learned functional has no second derivatives in PySCF: take differences of forces"
        )

    Hessian = TDA = TDHF = TDDFT = stability = _no_second_derivatives

    def density_fit(self, *args: Any, **options: Any) -> Any:
        """Return the method with density fitting of the base method's two-electron integrals."""
        mixin = _Corrected if isinstance(self, _Corrected) else _Added
        plain = lib.view(self, lib.drop_class(self.__class__, mixin))
        return attach(plain.density_fit(*args, **options), self.model, mixin is _Corrected)


class _Corrected(_WithModel):
    """Mixed into a PySCF mean-field class by `attach`: the field follows the model."""

    __name_mixin__ = "Neural"

    def get_veff(
        self,
        mol: Any = None,
        dm: Any = None,
        dm_last: Any = None,
        vhf_last: Any = None,
        hermi: int = 1,
    ) -> Any:
        """Effective potential of the base method and of the model."""
        dm = self.make_rdm1() if dm is None else dm
        last = getattr(vhf_last, "plain", vhf_last)
        plain = super().get_veff(mol, dm, dm_last, last, hermi)
        density = np.asarray(dm)
        if plain.ndim == 3 and density.ndim == 2:
            density = np.array([density, density]) / 2
        energy, alpha, beta = self.model_energy(density)
        potential = self.projection().potential(alpha)
        if plain.ndim == 3:
            potential = np.array([potential, self.projection().potential(beta)])
        return lib.tag_array(np.asarray(plain) + potential, plain=plain, delta=energy)

    def energy_elec(self, dm: Any = None, h1e: Any = None, vhf: Any = None) -> tuple[float, float]:
        """Electronic energy, and the part of it that is not linear in the density."""
        dm = self.make_rdm1() if dm is None else dm
        if getattr(vhf, "plain", None) is None:
            vhf = self.get_veff(self.mol, dm)
        energy, two_electron = super().energy_elec(dm, h1e, vhf.plain)
        self.scf_summary["delta"] = vhf.delta
        return energy + vhf.delta, two_electron + vhf.delta

    def nuc_grad_method(self) -> Any:
        """Analytic nuclear gradients."""
        base = super().nuc_grad_method()
        return lib.set_class(ModelGradient(base), (ModelGradient, base.__class__))

    Gradients = nuc_grad_method


class _Added(_WithModel):
    """Mixed into a PySCF mean-field class by `attach`: the field is the base method's."""

    __name_mixin__ = "Perturbed"

    def scf(self, dm0: Any = None, **options: Any) -> float:
        """Return the energy of the base method's field and of the model at its density."""
        super().scf(dm0, **options)
        energy, *_ = self.model_energy(np.asarray(self.make_rdm1()))
        self.scf_summary["delta"] = energy
        self.e_tot += energy
        return float(self.e_tot)

    def nuc_grad_method(self) -> Any:
        """Analytic nuclear gradients, with the response of the base method's field."""
        base = super().nuc_grad_method()
        return lib.set_class(ResponseGradient(base), (ResponseGradient, base.__class__))

    Gradients = nuc_grad_method


def orbital_digests(mol: gto.Mole) -> dict[str, str]:
    """Return the digest of the orbital basis of each element of a molecule."""
    digests: dict[str, str] = {}
    for atom in range(mol.natm):
        if mol.atom_charge(atom) == 0:
            continue
        symbol = mol.atom_pure_symbol(atom)
        shells = mol._basis.get(mol.atom_symbol(atom), mol._basis.get(symbol))
        found = orbital_digest([shells, bool(mol.cart), mol.atom_nelec_core(atom)])
        if digests.setdefault(symbol, found) != found:
            raise ValueError(f"atoms of {symbol} have different orbital bases; one is expected")
    return digests


def _check_base(mf: Any, model: Model) -> None:
    found = getattr(mf, "xc", "hf")
    same = found.lower() == model.base.lower()
    if not same and "hf" not in (found.lower(), model.base.lower()):
        same = dft.libxc.parse_xc(found) == dft.libxc.parse_xc(model.base)
    if not same:
        raise ValueError(
            f"the model corrects {model.base!r}, not {found!r}: "
            f"use xc={model.base!r}, or train a model for {found!r}"
        )


def _check_orbitals(mol: gto.Mole, model: Model) -> None:
    for symbol, found in orbital_digests(mol).items():
        if symbol not in model.orbitals:
            raise ValueError(
                f"the model knows {', '.join(model.elements)}, not {symbol}: "
                f"train it on molecules with {symbol}"
            )
        if model.orbitals[symbol] != found:
            raise ValueError(
                f"the model was trained with the orbital basis {model.orbital_name or 'unnamed'}; "
                f"that of {symbol} in this molecule ({mol.basis!r}) is another"
            )
