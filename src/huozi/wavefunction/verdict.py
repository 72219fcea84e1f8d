"""Whether an energy can be trusted, in plain words and from the run's own numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from huozi.wavefunction.diffusion import Projection
from huozi.wavefunction.evaluate import Estimate, StatesEstimate
from huozi.wavefunction.mean_field import electron_gas_energy, solve_mean_field
from huozi.wavefunction.molecule import Molecule
from huozi.wavefunction.statistics import drift, extrapolate_to_zero_variance

LARGEST_REFERENCE = 80
"""Basis functions up to which CCSD(T) takes seconds."""

LARGEST_IMPURITY = 0.05
"""Of <S^2>; states further from all S (S + 1) are mixtures of two spins."""

LARGEST_DRIFT_ERROR = 2e-4
"""Hartree; above it a run is too short, or too noisy, to be called converged."""


LARGEST_PROJECTED_DRIFT_ERROR = 1e-3
"""Hartree; of diffusion Monte Carlo, where two halves of one run are compared."""

LEAST_ACCEPTANCE = 0.98
"""Of diffusion Monte Carlo; with more refused moves the error of the time step counts."""

LEAST_IMAGINARY_TIME = 5.0
"""1/hartree; excited states with gaps of some tenths of a hartree take as long to die out."""

LARGEST_T1 = 0.02
"""T1 diagnostic up to which coupled cluster is compared with, twice that for open shells (Lee &
Taylor, Int. J. Quantum Chem. S23, 199 (1989)); beyond, for stretched bonds above all, CCSD(T) may
be far below the exact energy."""


def reference_energies(molecule: Molecule) -> dict[str, float]:
    """Hartree-Fock and, where it takes seconds and can be trusted, CCSD(T) in cc-pVTZ, hartree.

    In a cell Hartree-Fock in cc-pVDZ; of a gas the determinant of plane waves, which is
    Hartree-Fock's where shells are closed. Empty without PySCF.
    """
    try:
        if molecule.cell and not molecule.charges:
            cell, up, down = molecule.cell, molecule.up, molecule.down
            closed = all(len(cell.plane_waves(n)[0]) == n for n in (up, down) if n)
            energy = electron_gas_energy(cell, up, down, cell.plane_waves(up))
            return {"HF" if closed else "plane waves": energy}
        # In a cell larger ones would take long, and are nearly dependent on each other.
        gaussians = "cc-pVDZ" if molecule.cell else "cc-pVTZ"
        mean_field = solve_mean_field(molecule, gaussians.lower())
    except (ImportError, RuntimeError, ValueError):
        return {}
    basis = f"ccECP-{gaussians}" if molecule.potentials else gaussians
    found = {f"HF/{basis}": mean_field.energy}
    small = len(mean_field.coefficients) <= LARGEST_REFERENCE
    if molecule.electrons > 1 and small and not molecule.cell:
        from pyscf import cc

        coupled = cc.CCSD(mean_field.solver)
        coupled.verbose = 0
        coupled.kernel()
        if coupled.converged and is_single_reference(coupled):
            triples = coupled.ccsd_t() if molecule.electrons > 2 else 0.0
            found[f"CCSD(T)/{basis}"] = float(coupled.e_tot + triples)
    return found


def is_single_reference(coupled: Any) -> bool:
    """Whether the norm of the singles, over the root of the electrons, is small."""
    is_open = isinstance(coupled.t1, tuple)
    shells = coupled.t1 if is_open else (coupled.t1, coupled.t1)
    norm = np.sqrt(sum(np.square(t).sum() for t in shells) / 2)
    bound = 2 * LARGEST_T1 if is_open else LARGEST_T1
    return bool(norm / np.sqrt(coupled.mol.nelectron) <= bound)


def judge(
    estimate: Estimate | StatesEstimate,
    steps: Sequence[dict[str, Any]],
    references: dict[str, float],
    unpaired: int,
) -> tuple[str, dict[str, Any]]:
    """Say whether the energy is converged, and the numbers behind it.

    Parameters
    ----------
    steps : sequence of dict
        The ``steps`` events of the run.
    references : dict
        Energies of the ground state by name, hartree. Of several states the first is compared
        with them, and everything else looks at the sum.
    unpaired : int
        Electrons up less those down: spins are half of this, or more by whole numbers.

    Returns
    -------
    verdict : str
    numbers : dict
        ``drift_Ha`` and its error over the last third of the run, ``extrapolated_Ha`` (energy at
        zero variance) where it can be found, and ``references_Ha``.
    """
    numbers: dict[str, Any] = {"references_Ha": references}
    notes = []
    last = steps[len(steps) * 2 // 3 :]
    if len(last) >= 8:
        change, error = drift(np.array([e["energy_Ha"] for e in last]))
        numbers |= {"drift_Ha": change, "drift_stderr_Ha": error}
        if change < -2 * error and change < -1e-4:
            notes.append(
                f"the energy still fell by {-change * 1e3:.2f} mHa in the last third of the run"
            )
        elif not error <= LARGEST_DRIFT_ERROR:  # nor is it a number
            notes.append(f"the drift of the energy is known to {error * 1e3:.2f} mHa only")
    else:
        notes.append("the run is too short to tell a drift")
    found = extrapolate_to_zero_variance(
        np.array([e["energy_Ha"] for e in steps[len(steps) // 4 :]]),
        np.array([e["variance"] for e in steps[len(steps) // 4 :]]),
    )
    if found:
        numbers |= {"extrapolated_Ha": found[0], "extrapolated_stderr_Ha": found[1]}
        gap = estimate.energy_Ha - found[0]
        if gap > 1e-3 + 2 * np.hypot(found[1], estimate.stderr_Ha):
            notes.append(f"extrapolation to zero variance lies {gap * 1e3:.1f} mHa lower")
    ground, error = estimate.energy_Ha, estimate.stderr_Ha
    if isinstance(estimate, StatesEstimate):
        ground, error = (estimate.states[name][0] for name in ("energy_Ha", "energy_stderr"))
    notes += _mixed_spins(estimate, unpaired)
    notes += _lower(ground, error, references)
    again = "; run train again with a larger budget" if notes else ""
    return _sentence(notes, ground, references) + again, numbers


def judge_projection(found: Projection, references: dict[str, float]) -> str:
    """Say whether the energy of diffusion Monte Carlo can be trusted; see `judge`."""
    notes = []
    longer = "give diffuse a larger budget"
    if found.drift_Ha < -2 * found.drift_stderr_Ha and found.drift_Ha < -1e-4:
        notes.append(f"the energy still fell by {-found.drift_Ha * 1e3:.2f} mHa ({longer})")
    elif not found.drift_stderr_Ha <= LARGEST_PROJECTED_DRIFT_ERROR:
        error = found.drift_stderr_Ha
        notes.append(f"the drift of the energy is known to {error * 1e3:.2f} mHa only ({longer})")
    if found.imaginary_time < LEAST_IMAGINARY_TIME:
        notes.append(f"it ran for {found.imaginary_time:.2g}/Ha of imaginary time only ({longer})")
    if found.acceptance < LEAST_ACCEPTANCE:
        part = 100 * (1 - found.acceptance)
        notes.append(f"{part:.1f} % of the moves were refused (take a shorter --time-step)")
    lower = _lower(found.energy_Ha, found.stderr_Ha, references)
    notes += [f"{note} (its nodes are poor: train longer)" for note in lower]
    return _sentence(notes, found.energy_Ha, references)


def _lower(ground: float, error: float, references: dict[str, float]) -> list[str]:
    """Name the references below an energy."""
    return [
        f"{name} is lower, by {(ground - energy) * 1e3:.2f} mHa"
        for name, energy in references.items()
        if not ground <= energy + 3 * error
    ]


def _sentence(notes: list[str], ground: float, references: dict[str, float]) -> str:
    """Make a verdict of what speaks against an energy, or else of what lies above it."""
    if notes:
        return "not converged: " + "; ".join(notes)
    below = [f"{(e - ground) * 1e3:.1f} mHa below {n}" for n, e in references.items()]
    return "converged: no drift" + "".join(", " + text for text in below)


def _mixed_spins(estimate: Estimate | StatesEstimate, unpaired: int) -> list[str]:
    """Name states of no pure spin: multiplets that are cut, or a run that is too short."""
    if isinstance(estimate, Estimate):
        values, errors = [estimate.spin_squared], [estimate.spin_squared_stderr]
    else:
        values, errors = (estimate.states[n] for n in ("spin_squared", "spin_squared_stderr"))
    pure = abs(unpaired) / 2 + np.arange(10)
    notes = []
    for k, (value, error) in enumerate(zip(values, errors), 1):
        if np.abs(pure * (pure + 1) - value).min() > LARGEST_IMPURITY + 3 * error:
            of_many = f"state {k} is", ", others may be missing"
            name, rest = of_many if isinstance(estimate, StatesEstimate) else ("the state is", "")
            notes.append(f"{name} of no pure spin (<S^2> = {value:.2f}){rest}")
    return notes
