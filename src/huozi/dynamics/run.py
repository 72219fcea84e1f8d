"""Molecular dynamics as a run: recorded, checkpointed, resumed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from huozi.dynamics.blowup import BlowUpError, describe_violation, state_atoms, write_state
from huozi.dynamics.checkpoint import save_checkpoint
from huozi.dynamics.config import MDConfig
from huozi.dynamics.deviation import (
    FILE,
    DeviationError,
    append_deviation,
    keep_deviating,
    measure,
)
from huozi.dynamics.ensembles import make_integrator
from huozi.dynamics.loop import (
    BAD,
    STALE,
    Bounds,
    advance,
    filled,
    single_step,
    thermo_row,
    within,
)
from huozi.dynamics.progress import Clock, MDProgress
from huozi.dynamics.start import (
    check_others,
    check_system,
    claim_folder,
    digest_of_force_fields,
    fingerprint,
    first_state,
    make_bounds,
    make_schedule,
)
from huozi.dynamics.state import Integrator, State, temperature
from huozi.dynamics.table import Table, build_table
from huozi.dynamics.thermo import append_thermo, read_thermo, thermo_columns
from huozi.dynamics.trajectory import Trajectory, read_trajectory, write_segment
from huozi.neighbors import Evaluate, ForceField
from huozi.systems import System
from huozi.workflow import RunFolder

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class MDResult:
    """What a simulation leaves.

    Parameters
    ----------
    system : System
        The last configuration, positions not wrapped.
    velocities : (n, 3) array
        Å/fs, at the end.
    thermo : dict
        The thermodynamic log: column name to array (see `read_thermo`).
    out : Path or None
        The run's folder.
    steps_done : int
        Steps done by this call (0 when the run was finished before).
    ns_per_day : float
        Speed of this call without compilation; not a number when nothing was done.
    """

    system: System
    velocities: Array
    thermo: dict[str, Array]
    out: Path | None
    steps_done: int
    ns_per_day: float
    _frames: Trajectory | None = None

    @property
    def trajectory(self) -> Trajectory:
        """The frames; read from the run's folder at each access."""
        if self._frames is not None:
            return self._frames
        assert self.out is not None
        return read_trajectory(self.out)


def run_md(
    force_field: ForceField,
    system: System,
    config: MDConfig,
    out: str | Path | None = None,
    velocities: Array | None = None,
    progress: Callable[[MDProgress], None] | None = None,
    others: Sequence[ForceField] = (),
) -> MDResult:
    """Run molecular dynamics, or finish a run that was interrupted.

    With `out` the run is a folder: ``config.yaml``, ``events.jsonl``, ``thermo.csv``,
    ``trajectory/*.h5`` and ``checkpoint.npz``. Killed at any moment, the same call goes on from
    the last checkpoint and ends bitwise where an uninterrupted run ends. A finished run is not
    done again; with more `steps` it is continued.

    Parameters
    ----------
    force_field : ForceField
    system : System
        The starting configuration.
    config : MDConfig
    out : path, optional
        The run's folder; without it everything stays in memory.
    velocities : (n, 3) array, optional
        Å/fs; drawn at the configured temperature by default. The velocity of the centre of mass
        is taken out, except for Langevin dynamics.
    progress : callable, optional
        Called about twice a second with an `MDProgress`; `md_progress_bar` makes one.
    others : sequence of ForceField
        The other members of an ensemble: every `deviation_every` steps their forces are compared
        with those that move the atoms, and a line is added to ``model_devi.out`` (step; largest,
        least and mean deviation of the virial per atom, eV; the same of the forces, eV/Å).

    Returns
    -------
    MDResult

    Raises
    ------
    BlowUpError
        If a bound of the configuration is passed; ``last_good.extxyz`` holds the state before.
    DeviationError
        If the deviation of a force passes `deviation_limit` for the `deviation_frames`-th time;
        ``deviating.extxyz`` holds the frames.
        With a higher limit the same call goes on.
    ValueError
        If the system does not fit the ensemble or the force field, if the folder holds a run with
        another configuration or another process works in it, or if a deviation is limited but there
        are no `others`.
    """
    if out is None:
        with tempfile.TemporaryDirectory(prefix="huozi-md-") as folder:
            result = run_md(force_field, system, config, folder, velocities, progress, others)
            return replace(result, out=None, _frames=result.trajectory)
    check_system(system, config, velocities)
    check_others(force_field, others, config)
    evaluate = force_field.bind(system.species)
    with RunFolder(Path(out)).alone():
        run = _Run.prepare(force_field, evaluate, system, config, Path(out), velocities, others)
        return run.go(progress)


@dataclass
class _Run:
    """A run in progress: what stays the same, and where it stands."""

    folder: RunFolder
    system: System
    config: MDConfig
    integrator: Integrator
    evaluate: Evaluate
    others: list[Evaluate]
    bounds: Bounds
    cutoff: float
    state: State
    table: Table
    resumed: bool
    pending: list[dict[str, Array]]

    @classmethod
    def prepare(
        cls,
        force_field: ForceField,
        evaluate: Evaluate,
        system: System,
        config: MDConfig,
        out: Path,
        velocities: Array | None,
        others: Sequence[ForceField],
    ) -> _Run:
        """Check the input against the folder and stand at its checkpoint or at the start."""
        integrator = make_integrator(config, len(system))
        folder = RunFolder(out)
        skin, cutoff = config.skin, force_field.cutoff
        table = build_table(system.positions, system.cell, system.pbc, cutoff, skin)
        members = [other.bind(system.species) for other in others]
        inputs = fingerprint(evaluate, system, velocities)
        if members:
            inputs["ensemble"] = digest_of_force_fields(members)
        checkpoint = claim_folder(folder, config, inputs)
        bounds = make_bounds(config, system)
        if checkpoint is not None:
            state, width = checkpoint
            table = build_table(
                np.asarray(state.positions), np.asarray(state.cell), system.pbc, cutoff, skin, width
            )
        else:
            state = first_state(system, config, integrator, evaluate, table, velocities)
        return cls(
            folder=folder,
            system=system,
            config=config,
            integrator=integrator,
            evaluate=evaluate,
            others=members,
            bounds=bounds,
            cutoff=cutoff,
            state=state,
            table=table,
            resumed=checkpoint is not None,
            pending=[],
        )

    def go(self, progress: Callable[[MDProgress], None] | None) -> MDResult:
        """Run to the end."""
        config, start = self.config, int(self.state.step)
        if not self.resumed:
            self._begin()
        elif start < config.steps:
            self.folder.log("resume", step=start)
        schedule = make_schedule(config, len(self.system))
        pace, searched, clock = 10, start, Clock(config.timestep)
        while (step := int(self.state.step)) < config.steps:
            due = (step // config.checkpoint_every + 1) * config.checkpoint_every
            stop = min(config.steps, due, schedule.last_step(step), step + pace)
            if self.others:
                stop = min(stop, (step // config.deviation_every + 1) * config.deviation_every)
            self.state, records, status = advance(
                self.integrator, self.evaluate, self.state, self.table, self.bounds, stop, schedule
            )
            rows, frames = filled(records)
            self._keep(rows, frames)
            now = int(self.state.step)
            if int(status) == BAD or (int(status) == STALE and now == searched):
                self._fail()
            if now > step:
                self._compare(now)
            pace = clock.tick(now - step, self.table.width)
            if now in (due, config.steps):
                self._checkpoint()
            # The table is renewed at each checkpoint so that a resumed run, which must search
            # anew, adds up forces in the same order as one that was never interrupted.
            if int(status) == STALE or now == due:
                self.table, searched = self._search(), now
            if progress is not None:
                heat = float(temperature(self.state, self.integrator.dof))
                progress(MDProgress(now, config.steps, heat, clock.speed))
        done = int(self.state.step) - start
        if done or not self.resumed:
            speed = clock.mean_speed if np.isfinite(clock.mean_speed) else None
            self.folder.log("finished", step=config.steps, ns_per_day=speed)
        return self._result(done, clock.mean_speed)

    def _begin(self) -> None:
        """Check and record the state at step 0."""
        if not within(self.bounds, 0.0, self.state, self.integrator.dof):
            self._fail(self.state)
        self.folder.log("start", atoms=len(self.system), table_width=self.table.width)
        frame = {
            "positions": np.asarray(self.state.positions, np.float32)[None],
            "velocities": np.asarray(self.state.velocities, np.float32)[None],
            "cells": np.asarray(self.state.cell)[None],
            "steps": np.array([0]),
            "energies": np.asarray(self.state.energy)[None],
        }
        self._keep(np.asarray(thermo_row(self.state, self.integrator))[None], frame)
        self._compare(0)
        if self.config.steps == 0:
            self._checkpoint()

    def _compare(self, step: int) -> None:
        """Record the deviation of the others when it is due; keep frames beyond the limit."""
        if not self.others or step % self.config.deviation_every:
            return
        found, limit = measure(self.others, self.state, self.table), self.config.deviation_limit
        append_deviation(self.folder.path / FILE, step, found.numbers)
        atom = int(np.argmax(found.atoms))
        largest = float(found.atoms[atom])
        if limit is None or largest <= limit:
            return
        deviating, species = self.folder.path / "deviating.extxyz", self.system.species
        atoms = state_atoms(self.state, species, self.system.pbc)
        kept = keep_deviating(deviating, atoms, found.atoms, limit)
        self.folder.log("deviation", step=step, atom=atom, deviation_eV_per_A=largest)
        if kept < self.config.deviation_frames:
            return
        self._flush()
        raise DeviationError(
            f"the models differ at step {step} ({step * self.config.timestep:g} fs) by "
            f"{largest:.4g} eV/Å in the force on atom {atom} ({chemical_symbols[species[atom]]}), "
            f"more than deviation_limit {limit}; frames beyond it are in {deviating}. Label them "
            "and train on them, or give a higher limit to go on"
        )

    def _keep(self, rows: Array, frames: dict[str, Array]) -> None:
        if len(rows):
            mass, periodic = float(np.sum(self.state.masses)), bool(self.system.pbc.all())
            values = thermo_columns(rows, self.config.timestep, mass, periodic)
            append_thermo(self.folder.path / "thermo.csv", values)
        if len(frames["steps"]):
            self.pending.append(frames)

    def _flush(self) -> None:
        """Write the frames since the last checkpoint as one file."""
        if not self.pending:
            return
        arrays: dict[str, Any] = {
            name: np.concatenate([part[name] for part in self.pending]) for name in self.pending[0]
        }
        if not self.config.save_velocities:
            arrays["velocities"] = None
        trajectory = Trajectory(
            species=self.system.species,
            masses=np.asarray(self.state.masses),
            pbc=self.system.pbc,
            times=arrays["steps"] * self.config.timestep,
            **arrays,
        )
        write_segment(self.folder.path / "trajectory", trajectory)
        self.pending = []

    def _checkpoint(self) -> None:
        """Frames first: a checkpoint never knows of frames that are not there."""
        self._flush()
        save_checkpoint(self.folder.path / "checkpoint.npz", self.state, self.table.width)

    def _search(self) -> Table:
        positions, cell = np.asarray(self.state.positions), np.asarray(self.state.cell)
        return build_table(
            positions, cell, self.system.pbc, self.cutoff, self.config.skin, self.table.width
        )

    def _fail(self, refused: State | None = None) -> None:
        """Keep what is good and say what was not."""
        if refused is None:
            refused = single_step(self.integrator, self.evaluate, self.state, self.table)
        species, pbc = self.system.species, self.system.pbc
        what = describe_violation(
            self.bounds, self.state, refused, float(self.integrator.dof), species
        )
        step = int(refused.step)
        frame = step // self.config.trajectory_every
        last_good = self.folder.path / "last_good.extxyz"
        write_state(last_good, self.state, species, pbc)
        self._flush()
        self.folder.log("blow_up", step=step, frame=frame, what=what)
        raise BlowUpError(
            f"the simulation blew up at step {step} ({step * self.config.timestep:g} fs, after "
            f"frame {frame}): {what}; the last good state is in {last_good}. Try a shorter time "
            f"step, relax the structure first, or give a wider bound and go on; if none of it "
            "helps the force field is at fault"
        )

    def _result(self, done: int, speed: float) -> MDResult:
        cell, positions = np.asarray(self.state.cell), np.asarray(self.state.positions)
        return MDResult(
            system=replace(self.system, positions=positions, cell=cell),
            velocities=np.asarray(self.state.velocities),
            thermo=read_thermo(self.folder.path),
            out=self.folder.path,
            steps_done=done,
            ns_per_day=speed,
        )
