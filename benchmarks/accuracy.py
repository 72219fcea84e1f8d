"""Train with a budget on one data set, test on frames it has not seen.

    python benchmarks/accuracy.py NAME --train DATA... --test DATA... [--budget 5min]
    python benchmarks/accuracy.py NAME --train DATA... --hold-out 0.1 [--budget 5min]

Prints the errors on the test frames and the course of the training as one JSON object and
writes it to benchmarks/results/accuracy-NAME.json.
"""

from __future__ import annotations

import argparse
import sys
import tempfile

from results import save

from huozi.potential import TrainConfig, evaluate, train
from huozi.systems import read, split


def main() -> None:
    """Train, test, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--train", nargs="+", required=True)
    parser.add_argument("--test", nargs="+")
    parser.add_argument("--hold-out", type=float, default=0.1)
    parser.add_argument("--budget", default="5min")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    data = read(options.train)
    if options.test:
        test = read(options.test)
    else:
        parts = split(data, (1 - options.hold_out, 0.0, options.hold_out), seed=options.seed)
        data, test = parts.train, parts.test
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
    summary = {
        "train_frames": len(data),
        "steps": result.steps,
        "seconds": round(result.seconds, 1),
        "test": errors,
        "course": course,
    }
    save(f"accuracy-{options.name}", summary, sys.argv)


if __name__ == "__main__":
    main()
