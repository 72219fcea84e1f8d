"""The loop that stays on the device: many steps and their records without the host."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from huozi.arrays import jax, jnp
from huozi.dynamics.state import (
    Integrator,
    State,
    kinetic_energy,
    pressure,
    temperature,
    volume,
)
from huozi.dynamics.table import Table, largest_move, room
from huozi.neighbors import Evaluate

RUNNING, STALE, BAD = 0, 1, 2
"""Why a chunk ended: all steps done; the neighbour table must be renewed; a bound was passed."""

THERMO = ("step", "potential", "kinetic", "conserved", "temperature", "pressure", "volume")
"""Columns of the device's thermo record: eV, K, eV/Å^3, Å^3."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Bounds:
    """Limits a sane simulation never passes.

    Parameters
    ----------
    temperature : float
        K.
    force : float
        Largest force on an atom, eV/Å.
    displacement : float
        Largest move of an atom in one step, Å, besides the strain of the cell.
    volume : (2,) array
        Smallest and largest volume, Å^3.
    """

    temperature: Any
    force: Any
    displacement: Any
    volume: Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Records:
    """Rows filled so far, and one spare row that the step in hand may overwrite.

    Parameters
    ----------
    thermo : (rows + 1, 7)
        See `THERMO`.
    positions, velocities : (frames + 1, n, 3)
        Å and Å/fs.
    cells : (frames + 1, 3, 3)
        Å.
    steps, energies : (frames + 1,)
        Step and potential energy, eV, of each frame.
    thermo_count, frame_count : () int
        Rows that count.
    """

    thermo: Any
    positions: Any
    velocities: Any
    cells: Any
    steps: Any
    energies: Any
    thermo_count: Any
    frame_count: Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Schedule:
    """What is recorded, and how much fits into one chunk.

    Parameters
    ----------
    thermo_every, trajectory_every : int
        Steps between records.
    rows, frames : int
        Records of each kind a chunk may hold.
    """

    thermo_every: Any
    trajectory_every: Any
    rows: int = field(default=1000, metadata={"static": True})
    frames: int = field(default=1000, metadata={"static": True})

    def last_step(self, step: int) -> int:
        """Last step that a chunk starting after `step` may reach without losing a record."""
        rows = (step // self.thermo_every + self.rows + 1) * self.thermo_every
        frames = (step // self.trajectory_every + self.frames + 1) * self.trajectory_every
        return min(rows, frames) - 1


@jax.jit
def advance(
    integrator: Integrator,
    evaluate: Evaluate,
    state: State,
    table: Table,
    bounds: Bounds,
    stop: Any,
    schedule: Schedule,
) -> tuple[State, Records, Any]:
    """Run until step `stop`, until the table wears out, or until a bound is passed.

    The loop ends before a step as large as the last could outrun the table. Should a step outrun
    it nevertheless, its forces are not to be trusted; it is taken back, like one that passes a
    bound. The state returned is always good.

    Returns
    -------
    state : State
    records : Records
    status : int
        `RUNNING`, `STALE` or `BAD`.
    """

    def unfinished(carry: tuple[State, Records, Any]) -> Any:
        state, _, status = carry
        return (state.step < stop) & (status == RUNNING)

    def one_step(carry: tuple[State, Records, Any]) -> tuple[State, Records, Any]:
        old, records, _ = carry
        new = integrator.step(old, lambda x, cell: evaluate(x, cell, table.neighbors))
        moves_cell = integrator.moves_cell
        left = room(table, new.positions, new.cell, moves_cell)
        moved = largest_move(old.positions, old.cell, new.positions, new.cell, moves_cell)
        held, good = left >= 0, within(bounds, moved, new, integrator.dof)
        keep = held & good
        state = jax.tree.map(lambda a, b: jnp.where(keep, a, b), new, old)
        records = _record(records, state, integrator, schedule, keep)
        status = jnp.where(held & ~good, BAD, jnp.where(left >= moved, RUNNING, STALE))
        return state, records, status

    start = (state, _empty(state, schedule), jnp.asarray(RUNNING))
    return jax.lax.while_loop(unfinished, one_step, start)


@jax.jit
def single_step(integrator: Integrator, evaluate: Evaluate, state: State, table: Table) -> State:
    """One step without any check, to see what a refused step would have been."""
    return integrator.step(state, lambda x, cell: evaluate(x, cell, table.neighbors))


@jax.jit
def within(bounds: Bounds, moved: Any, new: State, dof: Any) -> Any:
    """Whether a step that moved an atom this far, Å, stayed in bounds; not a number is outside."""
    pulled = jnp.max(jnp.sum(new.forces**2, axis=1))
    good = (moved <= bounds.displacement) & (pulled <= bounds.force**2)
    good &= jnp.isfinite(new.energy)
    good &= temperature(new, dof) <= bounds.temperature
    size = volume(new.cell)
    return good & (size >= bounds.volume[0]) & (size <= bounds.volume[1])


@jax.jit
def thermo_row(state: State, integrator: Integrator) -> Any:
    """One row (7,) of the thermo record."""
    return jnp.stack(
        [
            state.step.astype(jnp.float64),
            state.energy,
            kinetic_energy(state),
            integrator.conserved(state),
            temperature(state, integrator.dof),
            pressure(state, integrator.dof, integrator.timestep),
            volume(state.cell),
        ]
    )


def _empty(state: State, schedule: Schedule) -> Records:
    frames, n = schedule.frames + 1, len(state.masses)
    return Records(
        thermo=jnp.zeros((schedule.rows + 1, len(THERMO))),
        positions=jnp.zeros((frames, n, 3), jnp.float32),
        velocities=jnp.zeros((frames, n, 3), jnp.float32),
        cells=jnp.zeros((frames, 3, 3)),
        steps=jnp.zeros(frames, jnp.int64),
        energies=jnp.zeros(frames),
        thermo_count=jnp.asarray(0),
        frame_count=jnp.asarray(0),
    )


def _record(
    records: Records, state: State, integrator: Integrator, schedule: Schedule, keep: Any
) -> Records:
    """Write the state into the spare rows; they count when the step is due.

    Writing always and counting sometimes lets XLA update the arrays in place, where a
    conditional write would copy them.
    """
    row, frame = records.thermo_count, records.frame_count
    return Records(
        thermo=records.thermo.at[row].set(thermo_row(state, integrator)),
        positions=records.positions.at[frame].set(state.positions.astype(jnp.float32)),
        velocities=records.velocities.at[frame].set(state.velocities.astype(jnp.float32)),
        cells=records.cells.at[frame].set(state.cell),
        steps=records.steps.at[frame].set(state.step),
        energies=records.energies.at[frame].set(state.energy),
        thermo_count=row + (keep & (state.step % schedule.thermo_every == 0)),
        frame_count=frame + (keep & (state.step % schedule.trajectory_every == 0)),
    )


def filled(records: Records) -> tuple[Any, dict[str, Any]]:
    """Return the rows that count, on the host: thermo rows, and the arrays of the frames."""
    rows, frames = int(records.thermo_count), int(records.frame_count)
    names = ("positions", "velocities", "cells", "steps", "energies")
    return (
        np.asarray(records.thermo[:rows]),
        {name: np.asarray(getattr(records, name)[:frames]) for name in names},
    )
