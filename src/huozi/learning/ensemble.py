"""An ensemble: models that differ by their seed; where they differ in their forces, none knows."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from huozi.files import digest
from huozi.neighbors import force_deviation
from huozi.potential import (
    Ensemble,
    Model,
    TrainConfig,
    calibrate,
    evaluate,
    load_model,
    member_forces,
    train,
)
from huozi.systems import Dataset, read
from huozi.workflow import Runner, Task, task

Inputs = dict[str, Any]
Files = dict[str, Path]


@task(resumes=True)
def train_member(folder: Path, inputs: Inputs, files: Files) -> Any:
    """Train one model; see `huozi.workflow.task`."""
    config = TrainConfig(**inputs["config"])
    # The model file names its worst frames; where the data lie on this machine must not be in it.
    data = Dataset(tuple(replace(f, source=f"data#{i}") for i, f in enumerate(read(files["data"]))))
    result = train(data, folder / "train", config)
    result.model.save(folder / "model.safetensors")
    return {"steps": result.steps, "validation": result.metrics.force_rmse_mev_per_A}


@task()
def test_member(folder: Path, inputs: Inputs, files: Files) -> Any:
    """Errors of the first model, and deviations of all, on labelled frames."""
    data, models = read(files["data"]), task_models(files)
    metrics = evaluate(models[0], data)
    pairs = []
    for frame in data:
        if frame.labels.forces is None:
            continue
        forces = member_forces(models, frame.system)
        errors = np.linalg.norm(forces[0] - frame.labels.forces, axis=1)
        pairs.append([deviation(forces), float(errors.max())])
    return {**metrics.to_dict(), "deviation_and_error": pairs}


@task()
def test_ensemble(folder: Path, inputs: Inputs, files: Files) -> Any:
    """Errors of the first model on labelled frames, and what the deviation of all says of them."""
    metrics, calibration = calibrate(Ensemble(tuple(task_models(files))), read(files["data"]))
    return {**metrics.to_dict(), "calibration": calibration.to_dict()}


def train_ensemble(
    runner: Runner, data: Path, config: TrainConfig, members: int, stage: str
) -> list[Path]:
    """Train the members and return their model files."""
    tasks = [
        Task(
            train_member,
            {"config": config.model_copy(update={"seed": config.seed + i}).model_dump(mode="json")},
            {"data": data},
            name=f"model {i}",
        )
        for i in range(members)
    ]
    return [o.folder / "model.safetensors" for o in runner.run(stage, tasks)]


def member_files(models: list[Path]) -> Files:
    """Name the model files for a task."""
    return {f"model{i}": path for i, path in enumerate(models)}


def task_models(files: Files) -> list[Model]:
    """Read the models of a task."""
    names = sorted(name for name in files if name.startswith("model"))
    return [_load(digest(files[name]), str(files[name])) for name in names]


@lru_cache(maxsize=16)
def _load(sha256: str, path: str) -> Model:
    """Read a model once a process, so that what was compiled for it serves the next task, too."""
    return load_model(path)


def deviation(forces: NDArray[np.float64]) -> float:
    """Largest deviation of the members' forces (members, n, 3) over the atoms, eV/Å."""
    return float(force_deviation(forces).max())
