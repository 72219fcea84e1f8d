"""Whether the error bars of wave functions are right: many evaluations of one, by chi-square.

    python benchmarks/wavefunction_errors.py NAME=RUN... [--evaluations 20] [--samples 40]

Each evaluation of a run folder of `huozi wavefunction train` has a seed of its own and equilibrates
anew. If the standard errors s are right, sum (E - mean)^2 / s^2 follows the chi-square
distribution; `p` is the probability of a sum as large. Writes results/wavefunction-errors.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command does; before NumPy

import numpy as np
from results import FOLDER, save
from scipy.stats import chi2

from huozi.wavefunction import load_run


def main() -> None:
    """Evaluate each run again and again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN")
    parser.add_argument("--evaluations", type=int, default=20)
    parser.add_argument("--samples", type=int, default=40)
    options = parser.parse_args()
    stored = FOLDER / "wavefunction-errors.json"
    found = json.loads(stored.read_text())["runs"] if stored.exists() else {}
    for name, folder in (each.split("=", 1) for each in options.runs):
        trained = load_run(folder)
        each = [trained.evaluate(steps=options.samples) for _ in range(options.evaluations)]
        energies = np.array([e.energy_Ha for e in each])
        errors = np.array([e.stderr_Ha for e in each])
        mean = np.average(energies, weights=errors**-2)
        total = float((((energies - mean) / errors) ** 2).sum())
        found[name] = {
            "evaluations": len(each),
            "mean_stderr_mHa": float(errors.mean() * 1e3),
            "spread_mHa": float(energies.std(ddof=1) * 1e3),
            "chi_square": total,
            "p": float(chi2.sf(total, len(each) - 1)),
            "autocorrelation_time": float(np.mean([e.autocorrelation_time for e in each])),
        }
    commands = [each.split("=")[0] for each in options.runs]
    save("wavefunction-errors", {"runs": found}, [sys.argv[0], *commands])


if __name__ == "__main__":
    main()
