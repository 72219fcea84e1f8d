"""The energy of a wave function, with an error bar and a verdict on convergence."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, astuple, dataclass, replace
from typing import Any

import numpy as np

from huozi.arrays import jax
from huozi.wavefunction.excited import spectrum, spin_matrices
from huozi.wavefunction.observables import Observables, spin_squared
from huozi.wavefunction.optimize import Problem
from huozi.wavefunction.sampler import equilibrate
from huozi.wavefunction.statistics import chain_average

Array = jax.Array

LEAST_SAMPLES = 2
"""Of every walker; one has no error bar."""


@dataclass(frozen=True)
class Energy:
    """An energy, and how it was sampled.

    Parameters
    ----------
    energy_Ha, stderr_Ha : float
        Mean local energy and its standard error, hartree.
    variance_Ha2 : float
        Of the local energy.
    autocorrelation_time : float
        In samples, which are `moves` Metropolis moves apart.
    acceptance : float
    seconds : float
        Wall time.
    samples : int
        Configurations in all.
    lost : int
        Samples whose energy was not finite; they are left out.
    seed : int
    """

    energy_Ha: float
    stderr_Ha: float
    variance_Ha2: float
    autocorrelation_time: float
    acceptance: float
    seconds: float
    samples: int
    lost: int
    seed: int


@dataclass(frozen=True)
class Estimate(Energy):
    """Result of an evaluation.

    Parameters
    ----------
    dipole_au, dipole_stderr : list of float
        Dipole moment from the origin of the coordinates, e bohr, and its standard errors; empty
        in a cell, where it depends on how that is cut.
    forces_Ha_per_bohr, forces_stderr : list of lists of float
        On the nuclei, (M, 3), and their standard errors; empty with core potentials and in a
        cell, for which the estimator of `observables.py` does not hold.
    spin_squared, spin_squared_stderr : float
        <S^2>, S (S + 1) for a pure spin state, and its standard error.
    """

    dipole_au: list[float]
    dipole_stderr: list[float]
    forces_Ha_per_bohr: list[list[float]]
    forces_stderr: list[list[float]]
    spin_squared: float
    spin_squared_stderr: float


@dataclass(frozen=True)
class StatesEstimate(Energy):
    """Result of an evaluation of several states; the energy is the sum of theirs.

    Parameters
    ----------
    states : dict of lists
        The fields of `Spectrum`, one number for each state: energies, excitations (hartree), <S^2>,
        oscillator strengths, and the standard error of each.
    """

    states: dict[str, list[float]]


@dataclass(frozen=True)
class Sample:
    """One configuration of every walker.

    Parameters
    ----------
    x : (B, N, 3) array
    energies : (B,) array
        Local energies, hartree.
    terms : ForceTerms or Matrices
        See `Problem.measure`.
    acceptance : float
    spin_due : bool
        Whether S^2, which costs one evaluation of psi and one more for every pair of opposite
        spins, is to be measured: so often that it takes less than a tenth of the moves.
    """

    x: Array
    energies: np.ndarray
    terms: Any
    acceptance: float
    spin_due: bool


def sampled(
    problem: Problem,
    params: Any,
    x: Array,
    width: Array,
    seed: int,
    budget: float | None = None,
    steps: int | None = None,
    moves: int = 10,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> Iterator[Sample]:
    """Sample |psi|^2 anew until budget or steps are spent; see `evaluate`."""
    limit = length("an evaluation", budget, steps, LEAST_SAMPLES)
    begun = time.monotonic()
    key, first = jax.random.split(jax.random.key(seed))
    x, width, _ = equilibrate(problem, params, x, width, jax.random.key_data(first), moves)
    evaluations = 1 + problem.molecule.up * problem.molecule.down
    count, done = 0, 0.0
    while done < 1 or count < LEAST_SAMPLES:
        key, use = jax.random.split(key)
        x, _, acceptance = problem.sweep(params, x, use, width, moves)
        local, terms = problem.measure(params, x)
        yield Sample(x, np.asarray(local), terms, float(acceptance), count % evaluations == 0)
        count += 1
        done = (time.monotonic() - begun if steps is None else count) / limit
        if report:
            report({"event": "samples", "step": count, "done": min(1.0, done)})


def evaluate(
    problem: Problem,
    params: Any,
    x: Array,
    width: Array,
    seed: int | None = None,
    **options: Any,
) -> Estimate:
    """Sample |psi|^2 anew and average the local energy, the dipole moment, the forces and S^2.

    Parameters
    ----------
    x, width : (walkers, N, 3) array, array
        Walkers to start from, and the scale of their moves; equilibrated first.
    seed : int, optional
        A fresh one without it.
    budget : float, optional
        Wall time, s.
    steps : int, optional
        Samples of every walker, in place of `budget`.
    moves : int, optional
        Metropolis moves between samples, 10 by default.
    report : callable, optional
        Called after each sample, for a display.

    Raises
    ------
    ValueError
        If neither `budget` nor `steps` is given, or too little, or walkers are lost.
    """
    begun = time.monotonic()
    seed = secrets.randbits(31) if seed is None else seed
    energies, accepted = [], []
    molecule = problem.molecule
    nuclei = molecule.nuclei
    observables = Observables(np.array(molecule.charges, float), nuclei, np.array(molecule.field))
    for sample in sampled(problem, params, x, width, seed, **options):
        energies.append(sample.energies)
        accepted.append(sample.acceptance)
        observables.add(sample.energies, sample.terms, np.asarray(sample.x))
        if sample.spin_due:
            psi = problem.wave_function
            observables.add_spin(
                np.asarray(spin_squared(psi, molecule.up, params, nuclei, sample.x))
            )
    energy, fine = _averaged(energies, accepted, begun, seed)
    measured = (
        *observables.dipole(fine),
        *observables.forces(fine),
        *observables.spin_squared(fine),
    )
    found = Estimate(*astuple(energy), *(values.tolist() for values in measured))
    if molecule.potentials or molecule.cell:
        found = replace(found, forces_Ha_per_bohr=[], forces_stderr=[])
    return replace(found, dipole_au=[], dipole_stderr=[]) if molecule.cell else found


def evaluate_states(
    problem: Problem,
    params: Any,
    x: Array,
    width: Array,
    seed: int | None = None,
    **options: Any,
) -> StatesEstimate:
    """Sample the wave function of several states (`excited.py`): energies, S^2, strengths.

    Parameters and errors are those of `evaluate`; walkers are (walkers, K N, 3).
    """
    begun = time.monotonic()
    seed = secrets.randbits(31) if seed is None else seed
    states, molecule = problem.wave_function, problem.molecule
    energies, accepted, spins = [], [], 0
    energy = place = spin = np.zeros(())
    for sample in sampled(problem, params, x, width, seed, **options):
        energies.append(sample.energies)
        accepted.append(sample.acceptance)
        energy = energy + np.asarray(sample.terms.energy)
        place = place + np.asarray(sample.terms.place)
        if sample.spin_due:
            spin = spin + np.asarray(spin_matrices(states, params, molecule.nuclei, sample.x))
            spins += 1
    summed, fine = _averaged(energies, accepted, begun, seed)
    count = len(energies)
    own = molecule.nuclear_energy * np.eye(states.count)
    found = spectrum(energy[fine] / count + own, place[fine] / count, spin[fine] / spins)
    named = {name: values.tolist() for name, values in found._asdict().items()}
    return StatesEstimate(**asdict(summed), states=named)


def length(what: str, budget: float | None, steps: int | None, least: int) -> float:
    """Return the budget (s) or the number of steps of `what`, whichever is given.

    Raises
    ------
    ValueError
        If none or both are given, or too little: no time, or fewer than `least` steps.
    """
    if (budget is None) == (steps is None):
        raise ValueError(f"{what} needs either a budget in seconds or a number of steps")
    if budget is not None and not budget > 0:
        raise ValueError(f"{what} takes time; found a budget of {budget} s")
    if steps is not None and steps < least:
        raise ValueError(f"{what} takes {least} steps or more; found {steps}")
    return float(steps if budget is None else budget)  # type: ignore[arg-type]


def refuse_losses(lost: int, count: int, what: str) -> None:
    """Stop if more than one in a thousand of `count` samples is lost, as `what` says."""
    if lost > 1e-3 * count:
        raise ValueError(
            f"{lost} of {count} {what}; "
            "the wave function has broken down: train again, in another folder, with --config "
            "and in that file ansatz: {precision: float64}"
        )


def _averaged(
    samples: list[np.ndarray], accepted: list[float], begun: float, seed: int
) -> tuple[Energy, np.ndarray]:
    """Average the energies, and mask the chains where all of them are finite.

    Raises
    ------
    ValueError
        If many are not.
    """
    energies = np.array(samples)
    fine = np.isfinite(energies).all(0)
    lost = int((~np.isfinite(energies)).sum())
    refuse_losses(lost, energies.size, "local energies are not finite")
    mean = chain_average(energies[:, fine])
    found = Energy(
        mean.value,
        mean.error,
        mean.variance,
        mean.autocorrelation_time,
        float(np.mean(accepted)),
        time.monotonic() - begun,
        energies.size,
        lost,
        seed,
    )
    return found, fine
