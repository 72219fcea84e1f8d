"""Metropolis sampling of |psi|^2: moves of all electrons at once, exchanges of two spins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from huozi.arrays import jax, jnp
from huozi.wavefunction.cell import Cell
from huozi.wavefunction.molecule import Molecule

Array = jax.Array
LogPsi = Callable[[Array], Array]

TARGET_ACCEPTANCE = 0.5

WIDEST = 100.0
"""Bohr; in a cell with few electrons all moves may be accepted, however wide."""

EXCHANGES = 0.1
"""Of the moves: a spin-up and a spin-down electron trade places."""


def initial_walkers(rng: np.random.Generator, molecule: Molecule, walkers: int) -> Array:
    """Electrons near the nuclei, as many near each as its charge asks, (walkers, N, 3) bohr.

    Without nuclei they are anywhere in the cell.
    """
    if molecule.cell and not molecule.charges:
        places = rng.random((walkers, molecule.electrons, 3))
        return jnp.asarray(places @ molecule.cell.matrix)
    homes = _homes(molecule)
    charges, nuclei = np.array(molecule.charges, float), molecule.nuclei
    spread = np.minimum(1.0, 2 / charges[homes])[:, None]
    noise = rng.normal(size=(walkers, molecule.electrons, 3))
    return jnp.asarray(nuclei[homes] + spread * noise)


def _homes(molecule: Molecule) -> np.ndarray:
    """Nucleus of each electron: spins alternate over the nuclei so that charges are covered."""
    seats = [a for a, z in enumerate(molecule.charges) for _ in range(z)]
    count = molecule.electrons
    seats = (seats * (count // len(seats) + 1))[:count]
    return np.array(seats[::2] + seats[1::2])


def step_lengths(x: Array, charges: Array, nuclei: Array, cell: Cell | None = None) -> Array:
    """Relative length of an electron's moves, (..., N, 1): short near heavy nuclei, at most 4.

    Far electrons are few but their energies are the worst; long moves bring them back soon.
    """
    apart = x[..., None, :] - nuclei
    r2 = jnp.square(cell.nearest(apart) if cell else apart).sum(-1)
    return 1 / (0.25 + (1 / jnp.sqrt(r2 + 1 / charges**2)).sum(-1, keepdims=True))


def exchange(x: Array, key: Array, up: int, electrons: int) -> Array:
    """Let one electron of either spin, chosen at random, trade places, in one copy of the molecule.

    Between atoms far apart no path of small moves turns up-down into down-up; this does.

    Parameters
    ----------
    x : (walkers, K electrons, 3) array
        Of each copy `up` electrons come first; others follow.
    """
    first, second, copy = jax.random.split(key, 3)
    rows = jnp.arange(len(x))
    start = electrons * jax.random.randint(copy, rows.shape, 0, x.shape[1] // electrons)
    a = start + jax.random.randint(first, rows.shape, 0, up)
    b = start + jax.random.randint(second, rows.shape, up, electrons)
    return x.at[rows, a].set(x[rows, b]).at[rows, b].set(x[rows, a])


def sweep(
    log_psi: LogPsi,
    x: Array,
    key: Array,
    width: Array,
    charges: Array,
    nuclei: Array,
    spins: tuple[int, int],
    moves: int,
    cell: Cell | None = None,
) -> tuple[Array, Array, Array]:
    """Move all walkers `moves` times; in a cell they end within it.

    Gaussian steps of width `width` times `step_lengths`, of all electrons at once. The length
    depends on the place, so the ratio of the proposal densities enters the acceptance
    (Hastings). In a tenth of the moves an exchange of two electrons is proposed instead.

    Parameters
    ----------
    log_psi : callable
        (walkers, N, 3) to log|psi| (walkers,).
    x : (walkers, N, 3) array
        Bohr.
    width : array
        Scale of the steps, bohr.
    spins : (int, int)
        Electrons of spin up, which come first, and down.

    Returns
    -------
    x : (walkers, N, 3) array
    log : (walkers,) array
        log|psi| there.
    acceptance : array
        Fraction of steps accepted; exchanges, to which the width does not matter, left out.
    """
    up, down = spins

    def log_proposal(lengths: Array, squared: Array) -> Array:
        return (-3 * jnp.log(lengths) - squared / (2 * (width * lengths) ** 2)).sum((-2, -1))

    def move(
        carry: tuple[Array, Array], turn: tuple[Array, Array]
    ) -> tuple[tuple[Array, Array], Array]:
        (x, log), (key, length) = carry, turn
        keys = jax.random.split(key, 4)
        here = step_lengths(x, charges, nuclei, cell)
        proposed = x + length * width * here * jax.random.normal(keys[0], x.shape)
        there = step_lengths(proposed, charges, nuclei, cell)
        squared = jnp.square(proposed - x).sum(-1, keepdims=True)
        towards = log_proposal(there, squared) - log_proposal(here, squared)
        stepped = jnp.ones(len(x), bool)
        if up and down:
            stepped = jax.random.uniform(keys[2], towards.shape) >= EXCHANGES * length
            traded = exchange(x, keys[3], up, up + down)
            proposed = jnp.where(stepped[:, None, None], proposed, traded)
            towards = jnp.where(stepped, towards, 0.0)
        new = log_psi(proposed)
        ratio = 2 * (new - log) + towards
        accept = jnp.log(jax.random.uniform(keys[1], ratio.shape)) < ratio
        x = jnp.where(accept[:, None, None], proposed, x)
        counts = jnp.array([(accept & stepped).sum(), stepped.sum()])
        return (x, jnp.where(accept, new, log)), counts

    # The first move goes nowhere and finds log|psi|: compiling the network once, not twice.
    turns = (jax.random.split(key, moves + 1), jnp.minimum(jnp.arange(moves + 1.0), 1))
    start = (x, jnp.full(x.shape[0], -jnp.inf))
    (x, log), counts = jax.lax.scan(move, start, turns)
    accepted, stepped = counts[1:].sum(0)
    x = cell.wrapped(x) if cell else x
    return x, log, accepted / jnp.maximum(stepped, 1)


def adapt(width: Array, acceptance: Array, rate: float = 0.2) -> Array:
    """Widen steps that are accepted too often, shorten others."""
    return jnp.minimum(width * jnp.exp(rate * (acceptance - TARGET_ACCEPTANCE)), WIDEST)


ROUND = 50
"""Moves between two looks at log|psi|."""

ROUNDS = 60
"""Most rounds of moves until equilibrium."""


def equilibrate(
    problem: Any, params: Any, x: Array, width: Array, key: Array, moves: int
) -> tuple[Array, Array, int]:
    """Move walkers until log|psi| no longer drifts and the acceptance is near its target.

    Rounds of some 50 moves, in sweeps of `moves`; equilibrium is three rounds in which the mean
    log|psi| of the walkers changed by less than two standard errors.

    Returns
    -------
    x, width : arrays
    rounds : int

    Raises
    ------
    ValueError
        If log|psi| still drifts after 60 rounds.
    """
    sweeps = -(-ROUND // moves)
    keys = jax.random.split(jax.random.wrap_key_data(key), (ROUNDS, sweeps))
    before, calm = np.inf, 0
    for count in range(ROUNDS):
        for each in keys[count]:
            x, log, acceptance = problem.sweep(params, x, each, width, moves)
            width = adapt(width, acceptance)
        mean, error = float(log.mean()), float(log.std()) / np.sqrt(len(log))
        calm = calm + 1 if abs(mean - before) < 2 * np.sqrt(2) * error else 0
        before = mean
        if calm == 3:
            return x, width, count + 1
    raise ValueError(
        f"the walkers are not in equilibrium after {ROUNDS * ROUND} moves "
        f"(mean log|psi| {mean:.3g} ± {error:.1g}); check the geometry, or use more moves"
    )
