"""Force fields with exact answers, and the shortest way to run an integrator."""

from dataclasses import dataclass

import numpy as np
from ase.build import bulk

from huozi.arrays import jax, jnp
from huozi.dynamics.loop import RUNNING, Bounds, Schedule, advance
from huozi.dynamics.state import State, thermal_velocities
from huozi.dynamics.table import build_table
from huozi.neighbors import Evaluation
from huozi.potential.lennard_jones import LennardJones

ARGON = LennardJones(epsilon=0.0104, sigma=3.4, cutoff=7.0, onset=5.5)
NO_BOUNDS = Bounds(np.inf, np.inf, np.inf, np.array([0.0, np.inf]))


@dataclass(frozen=True)
class Wells:
    """Every atom in a harmonic well around the origin: E = k x^2 / 2."""

    stiffness: float
    cutoff: float = 0.1

    def bind(self, species):
        return jax.tree_util.Partial(_wells, jnp.asarray(self.stiffness))


def _wells(k, positions, cell, neighbors):
    virial = -k * positions.T @ positions
    return Evaluation(0.5 * k * jnp.sum(positions**2), -k * positions, virial)


@dataclass(frozen=True)
class CellSpring:
    """Free atoms in a cell with energy k tr(h^T h) / 2; an ideal gas for k = 0."""

    stiffness: float = 0.0
    cutoff: float = 0.1

    def bind(self, species):
        return jax.tree_util.Partial(_cell_spring, jnp.asarray(self.stiffness))


def _cell_spring(k, positions, cell, neighbors):
    energy = 0.5 * k * jnp.sum(cell**2)
    return Evaluation(energy, 0 * positions, -k * cell.T @ cell)


def argon(repeat=2, a=5.4, rattle=0.0):
    """An fcc crystal of 4 repeat^3 argon atoms."""
    atoms = bulk("Ar", a=a, cubic=True) * (repeat, repeat, repeat)
    if rattle:
        atoms.rattle(rattle, seed=1)
    return atoms


def make_state(integrator, force_field, atoms, velocities=None, temperature=300.0, seed=1):
    """State at step 0, and a table that never expires for fields without neighbours."""
    masses = atoms.get_masses()
    if velocities is None:
        velocities = thermal_velocities(masses, temperature, seed)
    skin = 1.0 if isinstance(force_field, LennardJones) else np.inf
    table = _table(force_field, atoms, skin)
    positions, cell = jnp.asarray(atoms.positions), jnp.asarray(atoms.cell.array)
    evaluate = force_field.bind(atoms.numbers)
    evaluation = evaluate(positions, cell, table.neighbors)
    state = State(
        jnp.asarray(0, jnp.int64),
        positions,
        jnp.asarray(velocities),
        cell,
        jnp.asarray(masses),
        *evaluation,
        integrator.initial_bath(),
    )
    return state, evaluate, table


def simulate(integrator, force_field, atoms, steps, every=1, **kwargs):
    """Run steps; return the thermo rows (see loop.THERMO), the frames and the last state."""
    state, evaluate, table = make_state(integrator, force_field, atoms, **kwargs)
    return continue_run(integrator, force_field, atoms, state, evaluate, table, steps, every)


def continue_run(integrator, force_field, atoms, state, evaluate, table, steps, every=1):
    schedule = Schedule(every, every)
    rows, cells, positions, velocities = [], [], [], []
    stop = int(state.step) + steps
    while int(state.step) < stop:
        last = min(stop, schedule.last_step(int(state.step)))
        state, records, status = advance(
            integrator, evaluate, state, table, NO_BOUNDS, last, schedule
        )
        count = int(records.thermo_count)
        rows.append(np.asarray(records.thermo[:count]))
        cells.append(np.asarray(records.cells[:count]))
        positions.append(np.asarray(records.positions[:count]))
        velocities.append(np.asarray(records.velocities[:count]))
        if int(status) != RUNNING:
            atoms = atoms.copy()
            atoms.positions, atoms.cell = np.asarray(state.positions), np.asarray(state.cell)
            table = _table(force_field, atoms, float(table.skin), table.width)
    frames = [np.concatenate(parts) for parts in (positions, velocities, cells)]
    return np.concatenate(rows), frames, state


def _table(force_field, atoms, skin, width=72):
    if np.isinf(skin):
        table = build_table(atoms.positions, atoms.cell.array, atoms.pbc, 0.1, 0.0, width)
        return table.__class__(table.neighbors, table.positions, table.cell, 0.1, np.inf)
    cell, pbc = atoms.cell.array, atoms.pbc
    return build_table(atoms.positions, cell, pbc, force_field.cutoff, skin, width)
