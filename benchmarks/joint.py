"""One model of several data sets beside a model of each: `accuracy.py NAME --train FILE` first.

    python benchmarks/joint.py si=Si.extxyz ge=Ge.extxyz li=Li.extxyz mo=Mo.extxyz [--budget 20min]

Every set is split as accuracy.py splits it (a tenth held out, seed 0), the training parts are
joined, and the errors on each held-out part are divided by those in results/accuracy-NAME.json.
Writes benchmarks/results/joint.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile

from results import FOLDER, save

from huozi.potential import TrainConfig, evaluate, train
from huozi.systems import Dataset, read, split

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
        parts[name] = split(read([path]), (0.9, 0.0, 0.1), seed=0)
    together = Dataset(tuple(frame for part in parts.values() for frame in part.train))
    config = TrainConfig.read(None, {"budget": options.budget})
    with tempfile.TemporaryDirectory() as folder:
        result = train(together, folder, config)
        errors = {name: evaluate(result.model, part.test).to_dict() for name, part in parts.items()}
    cases = {}
    for name, joint in errors.items():
        alone = json.loads((FOLDER / f"accuracy-{name}.json").read_text())["test"]
        cases[name] = {
            key: {"joint": joint[key], "alone": alone[key], "ratio": joint[key] / alone[key]}
            for key in KEYS
        }
        print(name, cases[name], file=sys.stderr)
    summary = {"steps": result.steps, "seconds": round(result.seconds, 1), "sets": cases}
    save("joint", summary, sys.argv)


if __name__ == "__main__":
    main()
