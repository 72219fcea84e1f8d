"""What a fit needs of one converged self-consistent field: descriptors and how they move.

A sample is taken at the density of the current model. Energies of other models at this density
need the descriptor alone; their forces need how it moves with the nuclei; how strongly they pull
at the density shows when occupied and virtual orbitals are mixed a little. Both are directions:
columns of dD.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from huozi.arrays import jax
from huozi.files import atomic_path
from huozi.functional.invariants import invariants
from huozi.functional.projection import Array, Projection

PROBES = 24
"""Random mixtures of orbitals along which the pull at the density is measured."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Features of a molecule at one density, and the energy and forces that it had.

    Parameters
    ----------
    charges : (m,) int array
        Atomic numbers.
    features : (m, F) array
        Invariants of each atom.
    motions : (m, F, 3 natm + probes) array
        Their changes along the nuclear coordinates (bohr) and along the orbital probes.
    energy, delta : float
        Total energy and the model's part of it, hartree.
    forces : (natm, 3) array
        Of the total energy, hartree/bohr.
    density : (nao, nao) or (2, nao, nao) array
        To start the next field from.
    converged : bool
        Whether the field was self-consistent.
    cycles : int
        Iterations it took.
    missing : (probes,) array
        Change of the pull that would lead to the reference density, to first order; empty if there
        is none.
    """

    charges: Array
    features: Array
    motions: Array
    energy: float
    delta: float
    forces: Array
    density: Array
    converged: bool
    cycles: int
    missing: Array = field(default_factory=lambda: np.zeros(0))

    def save(self, path: Path) -> None:
        """Write a whole npz file or nothing."""
        with atomic_path(path) as aside, aside.open("wb") as stream:
            np.savez(stream, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Sample:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            values = {name: file[name] for name in file.files}
        scalars = {k: v.item() if v.ndim == 0 else v for k, v in values.items()}
        return cls(**scalars)


@jax.jit
def _features(blocks: Any, spins: Any, block_motions: Any, spin_motions: Any) -> Any:
    """Invariants (m, F) and their motions (m, F, d)."""

    def along(db: Any, dm: Any) -> Any:
        return jax.jvp(invariants, (blocks, spins), (db, dm))[1]

    moved = jax.vmap(along, in_axes=-1, out_axes=-1)(block_motions, spin_motions)
    return invariants(blocks, spins), moved


def _channels(blocks: Array) -> tuple[Array, Array]:
    """Total and difference of the spins; one spin stands for a closed shell."""
    if len(blocks) == 1:
        return 2 * blocks[0], np.zeros_like(blocks[0])
    return blocks[0] + blocks[1], blocks[0] - blocks[1]


def spin_densities(dm: Array) -> Array:
    """Return (1, nao, nao), one spin of a closed shell, or (2, nao, nao)."""
    dm = np.asarray(dm)
    return dm[None] / 2 if dm.ndim == 2 else dm


def take_sample(mf: Any, basis: Any, seed: int = 0, density: Array | None = None) -> Sample:
    """Sample a converged PySCF mean field, with or without a model in it.

    Parameters
    ----------
    mf : pyscf.scf.hf.SCF
        After ``kernel()``.
    basis : list
        Projection basis.
    seed : int
        Of the orbital probes.
    density : array, optional
        Reference density matrix, as in `Reference`.
    """
    projection = Projection(mf.mol, basis)
    densities = spin_densities(mf.make_rdm1())
    blocks = [np.stack(x) for x in zip(*(projection.blocks(p) for p in densities), strict=True)]
    nuclear = zip(*(projection.jacobian(p) for p in densities), strict=True)
    probes = [orbital_probes(mf, spin, seed) for spin in range(len(densities))]
    orbital = zip(*(projection.mixing(*p) for p in probes), strict=True)
    motions = [
        np.concatenate([np.stack(x).reshape(*b.shape, -1), np.stack(u)], axis=-1)
        for x, u, b in zip(nuclear, orbital, blocks, strict=True)
    ]
    totals, spins = zip(*(_channels(b) for b in blocks), strict=True)
    moved, twisted = zip(*(_channels(b) for b in motions), strict=True)
    values, changes = _features(totals, spins, moved, twisted)
    gradient = mf.nuc_grad_method()
    gradient.verbose = 0
    return Sample(
        charges=mf.mol.atom_charges()[projection.atoms],
        features=np.asarray(values),
        motions=np.asarray(changes),
        energy=float(mf.e_tot),
        delta=float(mf.scf_summary.get("delta", 0.0)),
        forces=-gradient.kernel(),
        density=np.asarray(mf.make_rdm1()),
        converged=bool(mf.converged),
        cycles=int(mf.cycles),
        missing=np.zeros(0) if density is None else missing_pull(mf, density, probes),
    )


def missing_pull(mf: Any, density: Array, probes: list[tuple[Array, Array]]) -> Array:
    """Change (probes,) of the pull, hartree, that leads the field to a density.

    With X the occupied-virtual part of the difference of the densities, the field is at the
    reference density, to first order, if the potential of the model changes by

        dV_ai = - (e_a - e_i) X_ai - G[dP]_ai

    which is the negative orbital gradient of the present functional at that density.

    Raises
    ------
    ValueError
        If the density matrix is of another basis or has another number of electrons.
    """
    own = spin_densities(mf.make_rdm1())
    overlap = mf.get_ovlp()
    if density.shape[-2:] != overlap.shape or density.ndim not in (2, 3):
        raise ValueError(
            f"density matrix of shape {density.shape}; the orbital basis has {len(overlap)} "
            "functions: is it of another basis?"
        )
    if density.ndim == 3 and len(own) == 1:
        density = density.sum(0)
    reference = spin_densities(density)
    for mine, theirs in zip(own, reference, strict=True):
        found, expected = np.sum(theirs * overlap), np.sum(mine * overlap)
        if abs(found - expected) > 1e-3:
            raise ValueError(
                f"the density matrix has {found:.3f} electrons of one spin, the molecule "
                f"{expected:.3f}: other order of the orbitals, or another basis?"
            )
    inverse = np.linalg.inv(overlap)
    ahead = [
        (inverse - p) @ overlap @ (r - p) @ overlap @ p for p, r in zip(own, reference, strict=True)
    ]
    change = np.stack([x + x.T for x in ahead])
    closed = len(own) == 1
    induced = mf.gen_response(hermi=1)(2 * change[0] if closed else change)
    induced, fock = (
        np.reshape(x, change.shape) for x in (np.asarray(induced), np.asarray(mf.get_fock()))
    )
    gradient = fock @ change @ overlap - overlap @ change @ fock + induced
    total = sum(
        np.einsum("rik,rs,si->k", moved, g, o, optimize=True)
        for (o, moved), g in zip(probes, gradient, strict=True)
    )
    return np.asarray(-(4 if closed else 2) * total)


def orbital_probes(mf: Any, spin: int, seed: int) -> tuple[Array, Array]:
    """Return occupied orbitals (nao, o) and random first-order changes of them (nao, o, probes).

    The change of orbital i is sum_a u_ai / sqrt(e_a - e_i) C_a with normal u: the mean square of
    the energy's change along the probes is then proportional to the energy that the field gains,
    to second order and without coupling, when it relaxes in the model's potential.
    """
    open_shell = np.ndim(mf.mo_energy) == 2
    orbitals = mf.mo_coeff[spin] if open_shell else mf.mo_coeff
    energies = mf.mo_energy[spin] if open_shell else mf.mo_energy
    restricted_open = not open_shell and np.any(mf.mo_occ == 1)
    occupation = mf.mo_occ[spin] if open_shell else mf.mo_occ
    occupied = occupation > 1 if restricted_open and spin == 1 else occupation > 0
    o, v = orbitals[:, occupied], orbitals[:, ~occupied]
    gap = np.maximum(energies[~occupied][:, None] - energies[occupied], 0.1)
    random = np.random.default_rng(seed).standard_normal((PROBES, *gap.shape))
    return o, np.einsum("ra,kai->rik", v, random / np.sqrt(gap))
