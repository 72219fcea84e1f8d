"""One model of several data sets beside one of each: `accuracy.py NAME --train FILE --folds 10`.

    python benchmarks/joint.py si=Si.extxyz ge=Ge.extxyz li=Li.extxyz mo=Mo.extxyz [--budget 20min]

The training frames of the first fold of every set are joined, and the errors on each set's part
left out are divided by those of its own model, in results/accuracy-NAME.json.
Writes benchmarks/results/joint.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile

from accuracy import fold
from results import FOLDER, save

from huozi.potential import TrainConfig, evaluate, train
from huozi.systems import Dataset, read

KEYS = ("energy_rmse_mev_per_atom", "force_rmse_mev_per_A")


def main() -> None:
    """Train on all, test on each, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="+", metavar="NAME=FILE")
    parser.add_argument("--budget", default="20min")
    options = parser.parse_args()
    parts = {}
    for pair in options.sets:
        name, _, path = pair.partition("=")
        parts[name] = fold(read([path]), 0, of=10, seed=0)
    together = Dataset(tuple(frame for kept, _ in parts.values() for frame in kept.frames))
    config = TrainConfig.read(None, {"budget": options.budget})
    with tempfile.TemporaryDirectory() as folder:
        result = train(together, folder, config)
        errors = {name: evaluate(result.model, test).to_dict() for name, (_, test) in parts.items()}
    cases = {}
    for name, joint in errors.items():
        alone = json.loads((FOLDER / f"accuracy-{name}.json").read_text())["folds"][0]["test"]
        cases[name] = {
            key: {"joint": joint[key], "alone": alone[key], "ratio": joint[key] / alone[key]}
            for key in KEYS
        }
        print(name, cases[name], file=sys.stderr)
    summary = {"steps": result.steps, "seconds": round(result.seconds, 1), "sets": cases}
    save("joint", summary, sys.argv)


if __name__ == "__main__":
    main()
