"""How a run begins: its input is checked, its folder claimed, its first state made."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from huozi.arrays import jax, jnp
from huozi.dynamics.checkpoint import load_checkpoint
from huozi.dynamics.config import MDConfig
from huozi.dynamics.deviation import FILE
from huozi.dynamics.log import cut_lines
from huozi.dynamics.loop import RUNNING, Bounds, Schedule, advance, single_step
from huozi.dynamics.state import (
    Integrator,
    State,
    standard_masses,
    thermal_velocities,
    without_drift,
)
from huozi.dynamics.table import Table
from huozi.dynamics.trajectory import segments
from huozi.neighbors import Evaluate, ForceField
from huozi.systems import System
from huozi.workflow import RunFolder

Array = NDArray[Any]

# Every launch of the loop clears and returns these buffers, so they must not be large; a launch
# lasts until the neighbour table wears out, some tens of steps in a liquid.
MOST_ROWS, MOST_FRAMES = 100, 50
_FRAME_BYTES = 8_000_000

FREE = (
    *("steps", "deviation_every", "deviation_limit", "deviation_frames"),
    *("max_temperature", "max_force", "max_displacement", "max_volume_ratio"),
)
"""Settings that a run may be continued with other values of: they do not change its course."""


def check_system(system: System, config: MDConfig, velocities: Array | None) -> None:
    """Refuse what cannot be simulated.

    Raises
    ------
    ValueError
        If there are no atoms, if npt is asked for without a periodic cell, or if velocities
        have another shape or are not finite.
    """
    if len(system) == 0:
        raise ValueError("the system has no atoms")
    if config.ensemble == "npt" and not system.pbc.all():
        raise ValueError(f"npt needs a cell periodic in all directions; pbc is {system.pbc}")
    if velocities is None:
        return
    if np.shape(velocities) != (len(system), 3):
        raise ValueError(
            f"velocities of shape ({len(system)}, 3) are expected; found {np.shape(velocities)}"
        )
    if not np.isfinite(velocities).all():
        atom = int(np.argwhere(~np.isfinite(velocities))[0, 0])
        raise ValueError(f"the velocity of atom {atom} is not finite: {velocities[atom]}")


def check_others(force_field: ForceField, others: Sequence[ForceField], config: MDConfig) -> None:
    """Refuse force fields that cannot be compared.

    Raises
    ------
    ValueError
        If a deviation is limited but there is nothing to compare with, or if another force field
        reaches further than the one that moves the atoms.
    """
    if config.deviation_limit is not None and not others:
        raise ValueError(
            "deviation_limit needs several models, found one; `huozi ensemble` joins models in "
            "one file"
        )
    for other in others:
        if other.cutoff > force_field.cutoff:
            raise ValueError(
                f"a model to compare with has a cutoff of {other.cutoff} Å, beyond the "
                f"{force_field.cutoff} Å of the model that moves the atoms"
            )


def fingerprint(evaluate: Evaluate, system: System, velocities: Array | None) -> dict[str, str]:
    """Digests of what a run starts from besides its configuration."""
    start = [system.species, system.positions, system.cell, system.pbc]
    if velocities is not None:
        start.append(np.asarray(velocities, float))
    return {"force_field": digest_of_force_fields([evaluate]), "structure": _digest(start)}


def digest_of_force_fields(evaluations: Sequence[Evaluate]) -> str:
    """Digest of parameters; the compiled kernel holds its models' and names them by a digest."""
    held = [getattr(getattr(each, "func", None), "digest", "") for each in evaluations]
    leaves = [leaf for each in evaluations for leaf in jax.tree.leaves(each)]
    return _digest([*leaves, np.frombuffer("".join(held).encode(), np.uint8)])


def _digest(arrays: list[Any]) -> str:
    total = hashlib.sha256()
    for array in map(np.asarray, arrays):
        total.update(f"{array.dtype}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:16]


def claim_folder(
    folder: RunFolder, config: MDConfig, inputs: dict[str, str]
) -> tuple[State, int] | None:
    """Write the configuration, or check that the folder holds this very run.

    Returns
    -------
    (State, int) or None
        The last checkpoint and its table width; None when the run starts anew. Records after
        the checkpoint are removed, they will be made again.

    Raises
    ------
    ValueError
        If the folder holds another run, or this one with more steps done than now wanted.
    """
    wanted = {"verb": "md", "config": config.model_dump(), "inputs": inputs}
    before = folder.stored_config("md")
    checkpoint = load_checkpoint(folder.path / "checkpoint.npz")
    frames = segments(folder.path / "trajectory")
    # Of a run that failed at its first step nothing is kept, so it may begin with others.
    if before and (checkpoint or frames):
        _compare(folder.path, before, wanted)
    step = int(checkpoint[0].step) if checkpoint else -1
    if step > config.steps:
        raise ValueError(
            f"{folder.path} has {step} steps already, more than the {config.steps} wanted"
        )
    folder.write_config(wanted)
    for log in ("thermo.csv", FILE):
        cut_lines(folder.path / log, step)
    if not checkpoint and not frames:
        (folder.path / "deviating.extxyz").unlink(missing_ok=True)
    for segment in frames:
        if int(segment.stem) > step:
            segment.unlink()
    return checkpoint


def _compare(path: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    before = found.get("config", {})
    for name, value in wanted["config"].items():
        # A setting that is newer than the run had its default then.
        earlier = before.get(name, MDConfig.model_fields[name].default)
        if earlier != value and name not in FREE:
            what = f"{name} {earlier}, not {value}"
            raise ValueError(f"{path} holds a run with {what}; choose another folder")
    for name, value in wanted["inputs"].items():
        # A run may gain other models to compare with, but not change them.
        earlier = found.get("inputs", {}).get(name, value if name == "ensemble" else None)
        if earlier != value:
            what = f"another {name.replace('_', ' ')}"
            raise ValueError(f"{path} holds a run with {what}; choose another folder")


def make_bounds(config: MDConfig, system: System) -> Bounds:
    """Limits of a run; a cell that does not move needs none."""
    volume = (0.0, np.inf)
    if config.ensemble == "npt":
        volume = (
            system.volume / config.max_volume_ratio,
            system.volume * config.max_volume_ratio,
        )
    return Bounds(
        config.max_temperature, config.max_force, config.max_displacement, np.array(volume)
    )


def make_schedule(config: MDConfig, atoms: int) -> Schedule:
    """Plan what is recorded when, in buffers of limited size."""
    frames = int(np.clip(_FRAME_BYTES // (24 * atoms), 1, MOST_FRAMES))
    return Schedule(config.thermo_every, config.trajectory_every, MOST_ROWS, frames)


def first_state(
    system: System,
    config: MDConfig,
    integrator: Integrator,
    evaluate: Evaluate,
    table: Table,
    velocities: Array | None,
) -> State:
    """Make the state at step 0, with velocities drawn or given."""
    masses = standard_masses(system.species)
    drift = config.ensemble == "nvt" and config.thermostat == "langevin"
    if velocities is None:
        velocities = thermal_velocities(masses, config.temperature, config.seed, drift)
    elif not drift:
        velocities = without_drift(np.asarray(velocities, float), masses)
    state = State(
        step=jnp.asarray(0, jnp.int64),
        positions=jnp.asarray(system.positions),
        velocities=jnp.asarray(velocities),
        cell=jnp.asarray(system.cell),
        masses=jnp.asarray(masses),
        energy=jnp.zeros(()),
        forces=jnp.zeros((len(system), 3)),
        virial=jnp.zeros((3, 3)),
        bath=integrator.initial_bath(),
    )
    # A step that takes no time evaluates the forces: the loop is compiled once, nothing else is.
    still = replace(integrator, timestep=0.0)
    bounds, schedule = make_bounds(config, system), make_schedule(config, len(system))
    after, _, status = advance(still, evaluate, state, table, bounds, 1, schedule)
    if int(status) != RUNNING:
        after = single_step(still, evaluate, state, table)
    return replace(state, energy=after.energy, forces=after.forces, virial=after.virial)
