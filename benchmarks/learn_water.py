"""What the worked example on liquid water came to: errors, labels, cost, dynamics.

    huozi learn benchmarks/learn_water.yaml --out learn-water
    huozi md learn-water/model.safetensors learn-water/start/000.extxyz --temperature 450 \
        --steps 200000 --out md-450
    python benchmarks/learn_water.py learn-water md-450

Beside the last control frames, the model is tested on the frames that were labelled for the rival
that selects at random: they come from the same walks, and it was never trained on them.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from results import save

from huozi.learning.status import costs
from huozi.potential import Model, load_model
from huozi.systems import Frame, read
from huozi.workflow import RunFolder

KEPT = (
    "training_frames",
    "fractions",
    "selected",
    "control_frames",
    "walks_ended_early",
    "control_force_rmse_mev_per_A",
    "control_energy_rmse_mev_per_atom",
    "random_training_frames",
    "random_force_rmse_mev_per_A",
)


def unseen(run: Path, last: int) -> list[Frame]:
    """Labelled frames of the walks that the final model was not trained on."""

    def place(frame: Frame) -> bytes:
        return bytes(frame.system.positions.round(5).tobytes())

    known = {place(frame) for frame in read(run / "data.extxyz")}
    folder = run / f"iter-{last:03d}"
    frames = [*read(folder / "random.extxyz"), *read(folder / "control.extxyz")]
    return [f for f in frames if place(f) not in known and "temperature_K" in f.info]


def errors_by_state(model: Model, frames: list[Frame]) -> dict[str, Any]:
    """Force error at each temperature, meV/Å, with its standard error over the frames."""
    found = {}
    for temperature in sorted({float(f.info["temperature_K"]) for f in frames}):
        own = [f for f in frames if float(f.info["temperature_K"]) == temperature]
        squares = np.array(
            [np.mean((model.evaluate(f.system).forces - f.labels.forces) ** 2) for f in own]
        )
        error = float(np.sqrt(squares.mean()))
        spread = float(squares.std(ddof=1) / np.sqrt(len(own)) / (2 * error))
        found[f"{temperature:g} K"] = {
            "frames": len(own),
            "force_rmse_mev_per_A": 1e3 * error,
            "standard_error": 1e3 * spread,
        }
    return found


def saved_labels(records: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Frames that random selection needs for the error of the loop, over those of the loop.

    Between two sizes of the training data the logarithm of the error is taken as linear in that of
    the size; where random selection never had the error, there is no number.
    """
    size = np.log([r["random_training_frames"] for r in records])
    error = np.log([r["random_force_rmse_mev_per_A"] for r in records])
    found = []
    for r in records[1:]:
        own = np.log(r["control_force_rmse_mev_per_A"])
        if error.min() <= own <= error.max():
            frames = float(np.exp(np.interp(own, error[::-1], size[::-1])))
            found.append(
                {
                    "training_frames": r["training_frames"],
                    "random_frames": frames,
                    "ratio": frames / r["training_frames"],
                }
            )
    return found


def dynamics(folder: Path) -> dict[str, Any]:
    """How far a run at constant temperature came, and its temperature."""
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["config"]
    with (folder / "thermo.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    temperatures = np.array([float(row["temperature_K"]) for row in rows])
    half = temperatures[len(temperatures) // 2 :]
    return {
        "temperature_K": config["temperature"],
        "picoseconds": int(rows[-1]["step"]) * config["timestep"] / 1000,
        "picoseconds_wanted": config["steps"] * config["timestep"] / 1000,
        "mean_temperature_K": float(half.mean()),
        "highest_temperature_K": float(temperatures.max()),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="Folder of `huozi learn`.")
    parser.add_argument("md", type=Path, nargs="*", help="Folders of `huozi md` with its model.")
    args = parser.parse_args()
    learnt = json.loads((args.run / "results.json").read_text(encoding="utf-8"))
    records = learnt["iterations"]
    settings = yaml.safe_load((args.run / "config.yaml").read_text(encoding="utf-8"))
    result = {
        "settings": {k: settings[k] for k in ("level", "boxes", "explore", "select", "models")},
        "verdict": learnt["verdict"],
        "labels": learnt["labels"],
        "training_frames": learnt["training_frames"],
        "final_force_rmse_mev_per_A": learnt["final"]["force_rmse_mev_per_A"],
        "final_energy_rmse_mev_per_atom": learnt["final"]["energy_rmse_mev_per_atom"],
        "by_state": errors_by_state(
            load_model(args.run / "model.safetensors"), unseen(args.run, len(records))
        ),
        "iterations": [{k: r[k] for k in KEPT if k in r} for r in records],
        "labels_saved": saved_labels(records),
        "cost": costs(RunFolder(args.run)),
        "dynamics": [dynamics(folder) for folder in args.md],
    }
    save(
        "learn-water",
        result,
        ["benchmarks/learn_water.py", "learn-water", *(p.name for p in args.md)],
    )
