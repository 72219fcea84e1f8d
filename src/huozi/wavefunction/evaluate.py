"""The energy of a wave function, with an error bar and a verdict on convergence."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from huozi.arrays import jax
from huozi.wavefunction.observables import Observables, spin_squared
from huozi.wavefunction.optimize import Problem
from huozi.wavefunction.sampler import equilibrate
from huozi.wavefunction.statistics import chain_average

Array = jax.Array


@dataclass(frozen=True)
class Estimate:
    """Result of an evaluation.

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
    dipole_au, dipole_stderr : list of float
        Dipole moment from the origin of the coordinates, e bohr, and its standard errors.
    forces_Ha_per_bohr, forces_stderr : list of lists of float
        On the nuclei, (M, 3), and their standard errors; empty with core potentials, for which
        the estimator of `observables.py` does not hold.
    spin_squared, spin_squared_stderr : float
        <S^2>, S (S + 1) for a pure spin state, and its standard error.
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
    dipole_au: list[float]
    dipole_stderr: list[float]
    forces_Ha_per_bohr: list[list[float]]
    forces_stderr: list[list[float]]
    spin_squared: float
    spin_squared_stderr: float


def evaluate(
    problem: Problem,
    params: Any,
    x: Array,
    width: Array,
    budget: float | None = None,
    steps: int | None = None,
    moves: int = 10,
    seed: int | None = None,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> Estimate:
    """Sample |psi|^2 anew and average the local energy, the dipole moment, the forces and S^2.

    S^2 takes one evaluation of psi and one more for every pair of opposite spins, and is measured
    once in so many samples: less than a tenth of the moves between them.

    Parameters
    ----------
    x, width : (walkers, N, 3) array, array
        Walkers to start from, and the scale of their moves; equilibrated first.
    budget : float, optional
        Wall time, s.
    steps : int, optional
        Samples of every walker, in place of `budget`.
    moves : int
        Metropolis moves between samples.
    seed : int, optional
        A fresh one without it.

    Raises
    ------
    ValueError
        If neither `budget` nor `steps` is given, or walkers are lost.
    """
    if (budget is None) == (steps is None):
        raise ValueError("an evaluation needs either a budget in seconds or a number of steps")
    begun = time.monotonic()
    seed = secrets.randbits(31) if seed is None else seed
    key = jax.random.key(seed)
    x, width, _ = equilibrate(problem, params, x, width, jax.random.key_data(key), moves)

    energies, accepted = [], []
    molecule = problem.molecule
    observables = Observables(
        np.array(molecule.charges, float), molecule.nuclei, np.array(molecule.field)
    )
    evaluations = 1 + molecule.up * molecule.down
    while True:
        key, use = jax.random.split(key)
        x, _, acceptance = problem.sweep(params, x, use, width, moves)
        local, terms = problem.measure(params, x)
        energies.append(np.asarray(local))
        observables.add(energies[-1], terms, np.asarray(x))
        if (len(energies) - 1) % evaluations == 0:
            nuclei = molecule.nuclei
            spin = spin_squared(problem.wave_function, molecule.up, params, nuclei, x)
            observables.add_spin(np.asarray(spin))
        accepted.append(float(acceptance))
        spent = time.monotonic() - begun
        done = len(energies) / steps if steps else spent / (budget or 1.0)
        if report:
            report({"event": "samples", "step": len(energies), "done": min(1.0, done)})
        if done >= 1 and len(energies) >= 2:
            break
    spent = time.monotonic() - begun
    found = _estimate(np.array(energies), observables, accepted, spent, seed)
    return replace(found, forces_Ha_per_bohr=[], forces_stderr=[]) if molecule.potentials else found


def _estimate(
    energies: np.ndarray,
    observables: Observables,
    accepted: list[float],
    seconds: float,
    seed: int,
) -> Estimate:
    fine = np.isfinite(energies).all(0)
    lost = int((~np.isfinite(energies)).sum())
    if lost > 1e-3 * energies.size:
        raise ValueError(
            f"{lost} of {energies.size} local energies are not finite; "
            "the wave function has broken down: train again with precision float64"
        )
    mean = chain_average(energies[:, fine])
    measured = (
        *observables.dipole(fine),
        *observables.forces(fine),
        *observables.spin_squared(fine),
    )
    return Estimate(
        mean.value,
        mean.error,
        mean.variance,
        mean.autocorrelation_time,
        float(np.mean(accepted)),
        seconds,
        int(energies.size),
        lost,
        seed,
        *(values.tolist() for values in measured),
    )
