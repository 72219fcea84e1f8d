"""What the worked examples of `huozi learn` share: errors, cost, dynamics of a finished run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from huozi.dynamics import read_thermo
from huozi.labels import LEVEL, Level
from huozi.learning.status import costs
from huozi.potential import Model, load_model
from huozi.systems import Frame, read
from huozi.workflow import RunFolder

KEPT = (
    "training_frames",
    "frames_seen",
    "fractions",
    "low_eV_A",
    "high_eV_A",
    "selected",
    "control_frames",
    "walks_ended_early",
    "control_force_rmse_mev_per_A",
    "control_energy_rmse_mev_per_atom",
    "random_training_frames",
    "random_force_rmse_mev_per_A",
)
SETTINGS = ("level", "boxes", "initial", "control", "explore", "select", "models", "iterations")

FINAL = ("force_rmse_mev_per_A", "energy_rmse_mev_per_atom", "calibration")


def summary(run: Path) -> dict[str, Any]:
    """Settings, verdict, errors, labels and cost of a finished run."""
    learnt = json.loads((run / "results.json").read_text(encoding="utf-8"))
    settings = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    times = [event["time"] for event in RunFolder(run).events()]
    model = load_model(run / "model.safetensors")
    return {
        "settings": {key: settings[key] for key in SETTINGS},
        "verdict": learnt["verdict"],
        "labels": learnt["labels"],
        "failed_labels": len(learnt["failed_labels"]),
        "training_frames": learnt["training_frames"],
        "final": {key: learnt["final"][key] for key in FINAL},
        "control": force_error(model, list(read(run / "control.extxyz"))),
        "iterations": [{k: r[k] for k in KEPT if k in r} for r in learnt["iterations"]],
        "cost": costs(RunFolder(run)),
        "wall_minutes": (max(times) - min(times)) / 60,
    }


def run_level(run: Path) -> Level:
    """Level of theory of a run."""
    return LEVEL.validate_python(yaml.safe_load((run / "config.yaml").read_text())["level"])


def force_error(model: Model, frames: list[Frame]) -> dict[str, float]:
    """Root mean square error of forces, meV/Å, with its standard error over the frames."""
    pairs = [(model.evaluate(f.system).forces, f.labels.forces) for f in frames]
    squares = np.array([np.mean((own - label) ** 2) for own, label in pairs])
    sizes = np.array([label.size for _, label in pairs])
    weights = sizes / sizes.mean()
    error = float(np.sqrt((weights * squares).mean()))
    spread = (weights * (squares - error**2)).std(ddof=1) / np.sqrt(len(frames))
    true = np.concatenate([label for _, label in pairs])
    return {
        "frames": len(frames),
        "force_rmse_mev_per_A": 1e3 * error,
        "standard_error": 1e3 * float(spread / (2 * error)),
        "force_rms_mev_per_A": 1e3 * float(np.sqrt(np.mean(true**2))),
    }


def dynamics(folder: Path) -> dict[str, Any]:
    """How far a run of `huozi md` came; temperature and density of its second half."""
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["config"]
    thermo = read_thermo(folder)
    temperatures = thermo["temperature_K"]
    half = len(temperatures) // 2
    return {
        "temperature_K": config["temperature"],
        "ensemble": config["ensemble"],
        "picoseconds": int(thermo["step"][-1]) * config["timestep"] / 1000,
        "picoseconds_wanted": config["steps"] * config["timestep"] / 1000,
        "mean_temperature_K": float(temperatures[half:].mean()),
        "highest_temperature_K": float(temperatures.max()),
        "density_g_cm3": float(thermo["density_g_cm3"][half:].mean()),
    }
