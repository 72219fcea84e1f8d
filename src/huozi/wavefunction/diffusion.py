"""Diffusion Monte Carlo: the lowest energy that the nodes of a wave function allow.

Walkers follow the Schrödinger equation in imaginary time: they drift along grad log|psi|, diffuse,
and their weights grow where the local energy is low. What is left is psi times the lowest state
that vanishes wherever psi does, and its energy, the mean local energy, is an upper bound that is
only as wrong as the nodes are (Reynolds et al., J. Chem. Phys. 77, 5593 (1982)); for two electrons
of opposite spin, which have none in their ground state, it is exact. Errors remain of the time
step, which vanish with it. With core potentials psi takes the place of that state in their
integrals, and there is no bound (locality approximation: Mitas, Shirley & Ceperley, J. Chem. Phys.
95, 3467 (1991)).

Source: drift limited near nuclei and nodes, and the effective time step, Umrigar, Nightingale &
Runge, J. Chem. Phys. 99, 2865 (1993); weights bounded in proportion to the root of the electrons,
Zen et al., Phys. Rev. B 93, 241118 (2016); constant number of walkers, Calandra Buonaura & Sorella,
Phys. Rev. B 57, 11446 (1998). Walkers replace each other within groups only: groups move
independently, and their spread gives the error however long the correlation in time.
"""

from __future__ import annotations

import functools
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from huozi.arrays import jax, jnp
from huozi.wavefunction.cell import Cell
from huozi.wavefunction.evaluate import Energy, length, refuse_losses
from huozi.wavefunction.excited import copy_count
from huozi.wavefunction.hamiltonian import distance
from huozi.wavefunction.observables import ForceTerms
from huozi.wavefunction.optimize import Problem
from huozi.wavefunction.sampler import equilibrate
from huozi.wavefunction.statistics import first_settled

Array = jax.Array

FIRST_TIME_STEP = 0.02
"""1/hartree, times Z^-2 of the largest charge; from there on the refused moves decide."""

REFUSED = 0.01
"""Part of the moves that a time step found by itself has refused."""

CUT = 0.2
"""Times the root of electrons over time step: the farthest from the mean that energies weigh."""

GROUPS, LEAST_GROUP = 16, 32
"""Of walkers, and the fewest in each; with fewer walkers given, some begin twice."""

EVEN = 0.9
"""A group is drawn anew when its weights are worth less than this part of its walkers."""

SEARCH, SEARCHES = 10, 6
"""Steps between two looks at the refused moves, and looks; the last three decide."""

START = 0.1
"""Part of the steps that the average leaves out at least."""

LEAST_STEPS = 40
"""Fewer make no average."""

PATIENCE, IMPATIENCE = 50, 1.1
"""Refused moves after which a walker's next ones count more, and by how much each time: it cannot
stay for ever where its weight grows (Umrigar, Nightingale & Runge)."""

MEMORY = 10.0
"""1/hartree; so long the growth of a group counts, which takes the bias of few walkers away."""


@dataclass(frozen=True)
class Projection(Energy):
    """Result of diffusion Monte Carlo; samples of the autocorrelation time are single steps.

    The standard error is that of sampling. What the time step adds is not part of it: compare
    with a run at half of it. `lost` are moves that were refused because they ended where the
    energy is not finite.

    Parameters
    ----------
    time_step : float
        1/hartree.
    imaginary_time : float
        Of the average, 1/hartree.
    discarded : float
        Part of the run before it, in which the energy still fell.
    start_Ha, start_stderr_Ha : float
        Mean local energy before the first step, that of the wave function itself.
    drift_Ha, drift_stderr_Ha : float
        Of the energy from the first to the second half of the average.
    """

    time_step: float
    imaginary_time: float
    discarded: float
    start_Ha: float
    start_stderr_Ha: float
    drift_Ha: float
    drift_stderr_Ha: float


class Row(NamedTuple):
    """What one step leaves behind, of G groups of walkers.

    Parameters
    ----------
    energy, variance : (G,) arrays
        Weighted mean of the local energies, hartree, and their variance.
    growth : (G,) array
        Logarithm of the growth of all weights of a group, were they not held by the trial energy.
    effective : float
        Time step, 1/hartree, less what refused moves would have gone.
    acceptance : float
        Mean chance of the moves to be accepted.
    lost : int
        Moves that ended where the energy is not finite; they are refused.
    """

    energy: Any
    variance: Any
    growth: Any
    effective: Any
    acceptance: Any
    lost: Any


class Walkers(NamedTuple):
    """Walkers and what the next step needs to know of them.

    Parameters
    ----------
    x : (B, N, 3) array
        Bohr.
    sign, log : (B,) arrays
        Of psi.
    energy : (B,) array
        Local, hartree.
    slope : (B, N, 3) array
        Gradient of log|psi|, 1/bohr.
    weight : (B,) array
    age : (B,) array
        Moves refused since the last one.
    """

    x: Array
    sign: Array
    log: Array
    energy: Array
    slope: Array
    weight: Array
    age: Array


def diffuse(
    problem: Problem,
    params: Any,
    x: Array,
    width: Array,
    seed: int | None = None,
    budget: float | None = None,
    steps: int | None = None,
    time_step: float | None = None,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> Projection:
    """Project the lowest state with the nodes of a wave function out; its energy.

    Parameters
    ----------
    x, width : (walkers, N, 3) array, array
        Walkers to start from, and the scale of Metropolis moves to equilibrate them with. They
        are made at least 512, in sixteen groups.
    seed : int, optional
        A fresh one without it.
    budget : float, optional
        Wall time, s.
    steps : int, optional
        Of imaginary time, in place of `budget`; at least 40.
    time_step : float, optional
        1/hartree; by itself such that one move in a hundred is refused.
    report : callable, optional
        Called after each step, for a display.

    Raises
    ------
    ValueError
        If neither `budget` nor `steps` is given or they are too small, for several states, or if
        local energies are not finite.
    """
    limit = length("diffusion", budget, steps, LEAST_STEPS)
    if time_step is not None and not 0 < time_step < np.inf:
        raise ValueError(f"the time step must be positive; found {time_step}")
    if copy_count(problem.wave_function) > 1:
        raise ValueError("diffusion is of one state; this wave function is of several")
    begun = time.monotonic()
    seed = secrets.randbits(31) if seed is None else seed
    molecule = problem.molecule
    charges, nuclei, cell = np.array(molecule.charges, float), molecule.nuclei, molecule.cell
    key, first = jax.random.split(jax.random.key(seed))
    x = _in_groups(x, problem.devices)
    x, _, _ = equilibrate(problem, params, x, width, jax.random.key_data(first), moves=10)
    walkers = _look(problem, params, x)
    if not np.isfinite(walkers.energy).all():
        raise ValueError("local energies are not finite; the wave function has broken down")
    start = (float(walkers.energy.mean()), float(walkers.energy.std()) / np.sqrt(len(x)))
    trial = start[0]

    def step(tau: float) -> Row:
        nonlocal key, walkers
        key, *keys = jax.random.split(key, 4)
        proposed = _propose(charges, nuclei, tau, walkers.x, walkers.slope, keys[0], cell)
        fresh = _look(problem, params, proposed)
        numbers = (charges, nuclei, tau, trial)
        walkers, row = _settle(numbers, walkers, fresh, keys[1], keys[2], cell)
        return Row(*jax.device_get(row))

    tau = time_step or FIRST_TIME_STEP / max(molecule.charges, default=1) ** 2
    tried = []
    for _ in range(0 if time_step else SEARCHES):
        refused = 1 - np.mean([step(tau).acceptance for _ in range(SEARCH)])
        # They grow as the time step to the power of 3/2 (measured from H2 to ten atoms).
        tau *= float(np.clip((REFUSED / max(refused, 1e-9)) ** (2 / 3), 0.5, 2))
        tried.append(tau)
    tau = float(np.exp(np.log(tried[-3:]).mean())) if tried else tau
    rows: list[Row] = []
    sums, done = [0.0], 0.0
    while done < 1 or len(rows) < LEAST_STEPS:
        rows.append(step(tau))
        # The newest half forgets the start as the walkers do.
        sums.append(sums[-1] + float(rows[-1].energy.mean()))
        half = len(rows) // 2
        trial = (sums[-1] - sums[half]) / (len(rows) - half)
        done = (time.monotonic() - begun if steps is None else len(rows)) / limit
        if report:
            event = {"event": "samples", "step": len(rows), "done": min(1.0, done)}
            report(event | {"energy_Ha": trial})
    lost = sum(int(row.lost) for row in rows)
    refuse_losses(lost, len(rows) * len(x), "moves ended where the local energy is not finite")
    return _projection(rows, tau, start, len(x), time.monotonic() - begun, seed)


def _in_groups(x: Array, devices: int) -> Array:
    """Repeat walkers (B, N, 3) until they make groups of equal size that devices can share."""
    unit = int(np.lcm(GROUPS, devices))
    count = unit * -(-max(len(x), GROUPS * LEAST_GROUP) // unit)
    return x[np.arange(count) % len(x)]


def _look(problem: Problem, params: Any, x: Array) -> Walkers:
    """Measure walkers at (B, N, 3); all weigh the same."""
    energy, terms = problem.measure(params, x)
    assert isinstance(terms, ForceTerms)  # there is one state
    sign, log = problem.sign_and_log(params, x)
    return Walkers(x, sign, log, energy, terms.slope, jnp.ones(len(x)), jnp.zeros(len(x)))


def _drift(
    charges: Array, nuclei: Array, tau: Array, x: Array, slope: Array, cell: Cell | None = None
) -> Array:
    """Move of the electrons along their slopes in one step, (B, N, 3).

    Near a node the slope is one over the distance, and a straight step would go far too far: this
    is its average over the way. Close to a nucleus it is as it is, for the slope is limited there.
    """
    speed = distance(slope)[..., None]
    part = jnp.asarray(0.5)
    if len(charges):
        vectors = x[:, :, None] - nuclei
        vectors = cell.nearest(vectors) if cell else vectors
        apart = distance(vectors)
        nearest = apart.argmin(-1, keepdims=True)
        near = jnp.take_along_axis(apart, nearest, -1)
        away = jnp.take_along_axis(vectors, nearest[..., None], 2)[:, :, 0] / near
        outwards = (slope * away).sum(-1, keepdims=True) / speed
        reach = jnp.square(charges[nearest] * near)
        part = (1 + outwards) / 2 + reach / (10 * (4 + reach))
    return 2 * tau * slope / (1 + jnp.sqrt(1 + 2 * part * jnp.square(speed) * tau))


@functools.partial(jax.jit, static_argnums=6)
def _propose(
    charges: Array,
    nuclei: Array,
    tau: Array,
    x: Array,
    slope: Array,
    key: Array,
    cell: Cell | None = None,
) -> Array:
    noise = jnp.sqrt(tau) * jax.random.normal(key, x.shape)
    return x + _drift(charges, nuclei, tau, x, slope, cell) + noise


@functools.partial(jax.jit, static_argnums=5)
def _settle(
    numbers: tuple[Array, Array, Array, Array],
    old: Walkers,
    new: Walkers,
    key: Array,
    draw: Array,
    cell: Cell | None = None,
) -> tuple[Walkers, Row]:
    """Accept or refuse moves, weigh the walkers by the energies on the way, and draw them anew.

    `numbers` are charges, nuclei, time step and trial energy.
    """
    charges, nuclei, tau, trial = numbers

    def diffused(start: Walkers, end: Walkers) -> Array:
        landed = start.x + _drift(charges, nuclei, tau, start.x, start.slope, cell)
        return jnp.square(end.x - landed).sum((1, 2))

    there, back = diffused(old, new), diffused(new, old)
    ratio = 2 * (new.log - old.log) + (there - back) / (2 * tau)
    ratio += jnp.log(IMPATIENCE) * jnp.maximum(old.age - PATIENCE, 0)
    found = jnp.isfinite(new.energy) & jnp.isfinite(ratio)
    ratio = jnp.where(found & (new.sign == old.sign), ratio, -jnp.inf)
    accept = jnp.log(jax.random.uniform(key, ratio.shape)) < ratio
    kept = jax.tree.map(
        lambda n, o: jnp.where(accept.reshape(-1, *[1] * (n.ndim - 1)), n, o), new, old
    )
    kept = kept._replace(age=jnp.where(accept, 0.0, old.age + 1))
    chance = jnp.exp(jnp.minimum(ratio, 0.0))
    effective = tau * (there * chance).sum() / there.sum()
    cut = CUT * jnp.sqrt(old.x.shape[1] / tau)
    gains = [jnp.clip(each.energy - trial, -cut, cut) for each in (old, kept)]
    factor = jnp.exp(-effective * (gains[0] + gains[1]) / 2)
    weight, before = (w.reshape(GROUPS, -1) for w in (old.weight * factor, old.weight))
    local, total = kept.energy.reshape(GROUPS, -1), weight.sum(1)
    energy = (weight * local).sum(1) / total
    row = Row(
        energy,
        (weight * jnp.square(local - energy[:, None])).sum(1) / total,
        jnp.log(total / before.sum(1)) - effective * trial,
        effective,
        chance.mean(),
        (~found).sum(),
    )
    return _drawn_anew(kept, weight, draw), row


def _drawn_anew(walkers: Walkers, weight: Array, key: Array) -> Walkers:
    """Give walkers their weights, (G, B/G); where those of a group are uneven, draw it anew.

    That is as many walkers, each as often as its weight says to within one; all weigh the same.
    """
    groups, size = weight.shape
    sums = jnp.cumsum(weight, 1)
    places = (jax.random.uniform(key, (groups, 1)) + jnp.arange(size)) / size
    drawn = jax.vmap(jnp.searchsorted)(sums / sums[:, -1:], places).clip(0, size - 1)
    worth = sums[:, -1:] ** 2 / jnp.square(weight).sum(1, keepdims=True)
    even = worth >= EVEN * size
    chosen = jnp.where(even, jnp.arange(size), drawn) + size * jnp.arange(groups)[:, None]
    fresh = jax.tree.map(lambda each: each[chosen.ravel()], walkers)
    return fresh._replace(weight=jnp.where(even, weight, 1.0).ravel())


def _projection(
    rows: list[Row],
    tau: float,
    start: tuple[float, float],
    walkers: int,
    seconds: float,
    seed: int,
) -> Projection:
    """Average the steps after the start is forgotten; the groups tell the error (jackknife)."""
    energy, variance, growth = (
        np.array([getattr(row, name) for row in rows]) for name in ("energy", "variance", "growth")
    )
    effective = np.array([row.effective for row in rows])
    first = max(first_settled(energy.mean(1)), round(START * len(rows)))
    # The growth of a group over the last steps is the weight of its energy.
    centre = -growth[first:].mean(1).sum() / effective[first:].sum()
    grown = np.cumsum(growth + effective[:, None] * centre, 0)
    grown = np.concatenate([np.zeros((1, energy.shape[1])), grown])
    until = np.arange(first, len(rows)) + 1
    logs = grown[until] - grown[np.maximum(0, until - max(1, round(MEMORY / tau)))]
    weights = np.exp(logs - logs.max())
    energy, variance = energy[first:], variance[first:]

    def leaving_one_out(part: slice) -> np.ndarray:
        products, sums = (weights * energy)[part].sum(0), weights[part].sum(0)
        return (products.sum() - products) / (sums.sum() - sums)

    def error(each: np.ndarray) -> float:
        return float(np.sqrt((len(each) - 1) * each.var()))

    half = len(until) // 2
    change = leaving_one_out(slice(half, None)) - leaving_one_out(slice(half))
    mean = float((weights * energy).sum() / weights.sum())
    stderr = error(leaving_one_out(slice(None)))
    single = energy.var() / energy.shape[1]  # the square of the error if steps were independent
    return Projection(
        energy_Ha=mean,
        stderr_Ha=stderr,
        variance_Ha2=float((weights * (variance + (energy - mean) ** 2)).sum() / weights.sum()),
        autocorrelation_time=max(1.0, len(until) * stderr**2 / single) if single > 0 else 1.0,
        acceptance=float(np.mean([row.acceptance for row in rows[first:]])),
        seconds=seconds,
        samples=len(until) * walkers,
        lost=int(sum(row.lost for row in rows)),
        seed=seed,
        time_step=tau,
        imaginary_time=float(effective[first:].sum()),
        discarded=first / len(rows),
        start_Ha=start[0],
        start_stderr_Ha=start[1],
        drift_Ha=float(change.mean()),
        drift_stderr_Ha=error(change),
    )
