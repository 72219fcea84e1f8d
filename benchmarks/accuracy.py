"""Train with a budget on one data set, test on frames it has not seen.

    python benchmarks/accuracy.py NAME --train DATA... --test DATA... [--budget 5min]
    python benchmarks/accuracy.py NAME --train DATA... --folds 10 [--budget 5min]

With folds every frame is tested once, by a model trained on the other folds; the errors are those
over all frames. Prints the errors, without folds also the course of the training, as one JSON
object and writes it to benchmarks/results/accuracy-NAME.json, after each fold; the same command
goes on from there.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from typing import Any

import numpy as np
from results import FOLDER, save

from huozi.potential import TrainConfig, evaluate, train
from huozi.systems import Dataset, read

WEIGHTS = {  # what the squares in a mean of several folds are weighted with
    "energy_rmse_mev_per_atom": "frames",
    "force_rmse_mev_per_A": "atoms",
    "virial_rmse_mev_per_atom": "frames",
}


def fold(data: Dataset, k: int, of: int, seed: int) -> tuple[Dataset, Dataset]:
    """Frames to train on, and the k-th of equal random parts to test on."""
    order = np.random.default_rng(seed).permutation(len(data))
    left_out = set(order[k::of].tolist())
    kept = [i for i in range(len(data)) if i not in left_out]
    return data[kept], data[sorted(left_out)]


def one(data: Dataset, test: Dataset, options: argparse.Namespace) -> dict[str, Any]:
    """Train on some frames, test on others."""
    config = TrainConfig.read(None, {"budget": options.budget, "seed": options.seed})
    course: list[dict[str, object]] = []

    def note(event: dict[str, object]) -> None:
        if event["event"] == "validation":
            keys = ("step", "seconds", "force_rmse_mev_per_A", "energy_rmse_mev_per_atom")
            course.append({key: event[key] for key in keys})
            print(course[-1], file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        result = train(data, folder, config, report=note)
        errors = evaluate(result.model, test).to_dict()
    return {
        "train_frames": len(data),
        "steps": result.steps,
        "seconds": round(result.seconds, 1),
        "test": errors,
        "course": course,
    }


def pooled(folds: list[dict[str, Any]]) -> dict[str, Any]:
    """Errors over the frames of several folds."""
    parts = [each["test"] for each in folds]
    found: dict[str, Any] = {key: sum(part[key] for part in parts) for key in ("frames", "atoms")}
    for name, weight in WEIGHTS.items():
        squares = [part[name] ** 2 for part in parts if part[name] is not None]
        weights = [part[weight] for part in parts if part[name] is not None]
        found[name] = float(np.sqrt(np.average(squares, weights=weights))) if squares else None
    return found


def main() -> None:
    """Train, test, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--train", nargs="+", required=True)
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--test", nargs="+")
    kind.add_argument("--folds", type=int)
    parser.add_argument("--budget", default="5min")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    name, data = f"accuracy-{options.name}", read(options.train)
    if options.test:
        save(name, one(data, read(options.test), options), sys.argv)
        return
    stored = FOLDER / f"{name}.json"
    earlier = json.loads(stored.read_text()) if stored.exists() else {}
    asked = {"of": options.folds, "seed": options.seed, "budget": options.budget}
    folds = earlier["folds"] if earlier.get("asked") == asked else []
    for k in range(len(folds), options.folds):
        found = one(*fold(data, k, options.folds, options.seed), options)
        del found["course"]  # ten would make a long file
        folds.append(found)
        save(name, {"asked": asked, "test": pooled(folds), "folds": folds}, sys.argv)


if __name__ == "__main__":
    main()
