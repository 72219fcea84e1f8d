"""What the worked example on liquid water came to: errors, labels, cost, dynamics.

    huozi learn benchmarks/learn_water.yaml --out learn-water
    huozi md learn-water/model.safetensors learn-water/start/000.extxyz --temperature 450 \
        --steps 200000 --out md-450        # and likewise at 300 and 375 K
    python benchmarks/learn_water.py learn-water md-300 md-375 md-450

Beside the last control frames, the model is tested on the frames that were labelled for the rival
that selects at random: they come from the same walks, and it was never trained on them.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from learnt import dynamics, force_error, summary
from results import save

from huozi.potential import Model, load_model
from huozi.systems import Frame, read


def unseen(run: Path, last: int) -> list[Frame]:
    """Labelled frames of the walks that the final model was not trained on."""

    def place(frame: Frame) -> bytes:
        return bytes(frame.system.positions.round(5).tobytes())

    known = {place(frame) for frame in read(run / "data.extxyz")}
    folder = run / f"iter-{last:03d}"
    frames = [*read(folder / "random.extxyz"), *read(folder / "control.extxyz")]
    return [f for f in frames if place(f) not in known and "temperature_K" in f.info]


def errors_by_state(model: Model, frames: list[Frame]) -> dict[str, Any]:
    """Force error at each temperature."""
    found = {}
    for temperature in sorted({float(f.info["temperature_K"]) for f in frames}):
        own = [f for f in frames if float(f.info["temperature_K"]) == temperature]
        found[f"{temperature:g} K"] = force_error(model, own)
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="Folder of `huozi learn`.")
    parser.add_argument("md", type=Path, nargs="*", help="Folders of `huozi md` with its model.")
    args = parser.parse_args()
    result = summary(args.run)
    records = result["iterations"]
    model = load_model(args.run / "model.safetensors")
    result["by_state"] = errors_by_state(model, unseen(args.run, len(records)))
    result["labels_saved"] = saved_labels(records)
    result["dynamics"] = [dynamics(folder) for folder in args.md]
    save(
        "learn-water",
        result,
        ["benchmarks/learn_water.py", "learn-water", *(p.name for p in args.md)],
    )
