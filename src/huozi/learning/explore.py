"""Walkers: molecular dynamics with the present model, watched by the ensemble."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from huozi.dynamics import BlowUpError, MDConfig, read_trajectory, run_md
from huozi.files import write_json
from huozi.learning.descriptor import describe
from huozi.learning.ensemble import (
    Files,
    Inputs,
    deviation,
    member_files,
    task_models,
)
from huozi.learning.generate import CLOSE, closest, electronic_state
from huozi.learning.settings import Explore
from huozi.potential import Model, member_forces
from huozi.systems import Dataset, Frame, System, read, write
from huozi.workflow import Outcome, Task, task


@dataclass(frozen=True)
class State:
    """One thermodynamic state: K, and GPa unless the volume is constant."""

    temperature: float
    pressure: float | None

    def __str__(self) -> str:
        suffix = "" if self.pressure is None else f", {self.pressure:g} GPa"
        return f"{self.temperature:g} K{suffix}"


def states(explore: Explore) -> list[State]:
    """Every temperature, with every pressure."""
    pressures: Sequence[float | None] = explore.pressures or [None]
    return [State(t, p) for t in explore.temperatures for p in pressures]


@task(version=1, resumes=True)
def walk(folder: Path, inputs: Inputs, files: Files) -> Any:
    """Move one structure with the first model and look at some of its frames with all.

    A walk that passes a bound of the dynamics ends there; what it saw before counts.
    """
    found = folder / "seen.json"
    if found.exists():  # killed after the work, while the trajectory was cleared away
        return json.loads(found.read_text(encoding="utf-8"))
    models, start = task_models(files), read(files["start"])[0]
    config = MDConfig(**inputs["md"])
    ended = ""
    try:
        run_md(models[0], start.system, config, folder / "md")
    except BlowUpError as error:
        ended = str(error).split("; the last good state")[0]
    steps = range(config.trajectory_every, config.steps + 1, config.trajectory_every)
    seen = []
    if (folder / "md" / "trajectory").exists():
        trajectory = read_trajectory(folder / "md")
        wanted = set(steps)
        seen = [
            Frame(
                System(trajectory.species, x.astype(float), cell, trajectory.pbc),
                source=f"{inputs['name']}#{k}",
                info={
                    **electronic_state(start),
                    **inputs["state"],
                    "time_fs": float(step * config.timestep),
                },
            )
            for k, (step, x, cell) in enumerate(
                zip(trajectory.steps, trajectory.positions, trajectory.cells)
            )
            if int(step) in wanted
        ]
    result = {**examine(folder, seen, models, inputs["elements"]), "ended": ended}
    write_json(found, result)
    shutil.rmtree(folder / "md", ignore_errors=True)
    return result


@task()
def look(folder: Path, inputs: Inputs, files: Files) -> Any:
    """Look at given structures with all models."""
    return {
        **examine(folder, list(read(files["start"])), task_models(files), inputs["elements"]),
        "ended": "",
    }


def examine(
    folder: Path, frames: list[Frame], models: list[Model], elements: list[int]
) -> dict[str, Any]:
    """Deviation, distance of the closest atoms and descriptor of frames, written beside them."""
    deviations, contacts, descriptors = [], [], []
    for frame in frames:
        contact = closest(frame.system)
        contacts.append(contact if np.isfinite(contact) else None)
        forces = member_forces(models, frame.system)
        found = deviation(forces)
        deviations.append(found if np.isfinite(found) else None)
        descriptors.append(describe(frame.system, elements, models[0].cutoff))
    if frames:
        write(Dataset(tuple(frames)), folder / "frames.extxyz", overwrite=True)
        np.save(folder / "descriptors.npy", np.array(descriptors))
    return {"frames": len(frames), "deviation": deviations, "closest": contacts}


@dataclass(frozen=True)
class Seen:
    """Frames that were looked at in one iteration.

    Parameters
    ----------
    frames : list of Frame
    deviation : (f,) array
        eV/Å; infinite where a model gave no number.
    closest : (f,) array
        Of the closest atoms, in units of the sum of their covalent radii.
    descriptors : (f, D) array
    walker : (f,) int array
        Number of the walk.
    """

    frames: list[Frame]
    deviation: NDArray[np.float64]
    closest: NDArray[np.float64]
    descriptors: NDArray[np.float32]
    walker: NDArray[np.int64]


def gather(outcomes: Sequence[Outcome]) -> Seen:
    """Put together what the walks of an iteration saw."""
    frames: list[Frame] = []
    deviations: list[float] = []
    contacts: list[float] = []
    descriptors, walkers = [], []
    for number, outcome in enumerate(outcomes):
        if not outcome.done or not outcome.result["frames"]:
            continue
        found = outcome.result
        data = read(outcome.folder / "frames.extxyz")
        name = outcome.name
        frames += [replace(f, source=f"{name}#{k}") for k, f in enumerate(data)]
        deviations += [np.inf if x is None else x for x in found["deviation"]]
        contacts += [np.inf if x is None else x for x in found["closest"]]
        descriptors.append(np.load(outcome.folder / "descriptors.npy"))
        walkers += [number] * found["frames"]
    return Seen(
        frames,
        np.array(deviations, float),
        np.array(contacts, float),
        np.concatenate(descriptors) if descriptors else np.zeros((0, 1), np.float32),
        np.array(walkers, np.int64),
    )


def explore_tasks(
    explore: Explore,
    iteration: int,
    starts: Sequence[tuple[Path, State]],
    generated: Path | None,
    models: list[Path],
    elements: list[int],
    seed: int,
) -> list[Task]:
    """Return one task for each walker, and one for the generated structures."""
    length = explore.picoseconds[min(iteration, len(explore.picoseconds)) - 1]
    every = max(1, round(1000 * length / explore.timestep / explore.frames))
    tasks = []
    for number, (start, state) in enumerate(starts):
        constant_pressure: dict[str, Any] = {}
        if state.pressure is not None:
            constant_pressure = {
                "ensemble": "npt",
                "pressure": state.pressure,
                "compressibility": explore.compressibility,
            }
        config = MDConfig(
            **constant_pressure,
            temperature=state.temperature,
            timestep=explore.timestep,
            steps=every * explore.frames,
            trajectory_every=every,
            checkpoint_every=every * max(1, explore.frames // 4),
            save_velocities=False,
            seed=seed + 1000 * iteration + number,
            max_force=50.0,
            max_temperature=max(3000.0, 5 * state.temperature),
        )
        name = f"i{iteration:02d}w{number:03d}"
        where = {"temperature_K": state.temperature, "walker": number, "iteration": iteration}
        inputs = {"md": config.model_dump(mode="json"), "elements": elements, "name": name}
        files = {"start": start, **member_files(models)}
        tasks.append(Task(walk, {**inputs, "state": where}, files, name=name))
    if generated is not None:
        files = {"start": generated, **member_files(models)}
        tasks.append(Task(look, {"elements": elements}, files, name=f"i{iteration:02d}g"))
    return tasks


def in_physics(seen: Seen, high: float) -> NDArray[np.bool_]:
    """Tell which frames are matter: no atoms in each other, and not beyond the upper bound."""
    return (seen.closest > CLOSE) & (seen.deviation < high)
