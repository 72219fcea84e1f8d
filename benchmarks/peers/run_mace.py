"""A small MACE, in its own environment: run_mace.py FOLDER BUDGET_SECONDS.

FOLDER holds train.extxyz and test.extxyz with REF_energy and REF_forces, and big.npz. Prints a
JSON object: errors on the test frames after a training that fills the budget, and times.
"""

import json
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

OPTIONS = [
    *("--model", "MACE", "--hidden_irreps", "64x0e", "--num_interactions", "2"),
    *("--r_max", "5.0", "--max_L", "0", "--num_channels", "64", "--correlation", "3"),
    *("--E0s", "average", "--batch_size", "1", "--valid_batch_size", "4"),
    *("--default_dtype", "float32", "--device", "cpu", "--seed", "1"),
    *("--lr", "0.01", "--ema", "--scheduler_patience", "5", "--eval_interval", "1"),
    *("--energy_weight", "1", "--forces_weight", "100"),
]


def train(folder, frames, name):
    """Train for one epoch over these frames; return the model's path and the seconds."""
    work = folder / name
    work.mkdir(exist_ok=True)
    ase.io.write(work / "train.extxyz", frames)
    ase.io.write(work / "valid.extxyz", ase.io.read(folder / "train.extxyz", ":2"))
    program = str(Path(sys.executable).with_name("mace_run_train"))
    data = ["--train_file", "train.extxyz", "--valid_file", "valid.extxyz"]
    command = [program, "--name", name, *data, *OPTIONS, "--max_num_epochs", "1"]
    begun = time.perf_counter()
    subprocess.run(command, cwd=work, check=True, stdout=sys.stderr)
    return work / f"{name}.model", time.perf_counter() - begun


def main():
    """Probe the pace, fill the budget with as many frames as it holds, test, time."""
    folder, budget = Path(sys.argv[1]).resolve(), float(sys.argv[2])
    frames = ase.io.read(folder / "train.extxyz", ":")
    _, short = train(folder, frames[:5], "probe")
    _, longer = train(folder, frames[:25], "probe2")
    pace = (longer - short) / 20
    steps = int((budget - short) / pace) + 5
    rng = np.random.default_rng(1)
    chosen = [frames[i] for i in rng.choice(len(frames), steps, replace=steps > len(frames))]
    path, seconds = train(folder, chosen, "full")

    from mace.calculators import MACECalculator

    calculator = MACECalculator(model_paths=str(path), device="cpu", default_dtype="float32")
    squares, per_atom = [], []
    for atoms in ase.io.read(folder / "test.extxyz", ":"):
        calculator.calculate(atoms)
        squares.append((calculator.results["forces"] - atoms.arrays["REF_forces"]) ** 2)
        per_atom.append((calculator.results["energy"] - atoms.info["REF_energy"]) / len(atoms))
    result = {
        "version": version("mace-torch"),
        "model": "MACE 64x0e, two layers, 5 Å, float32",
        "steps": steps,
        "train_seconds": round(seconds, 1),
        "ms_per_training_step": round(1e3 * pace, 2),
        "force_rmse_mev_per_A": 1e3 * float(np.sqrt(np.mean(squares))),
        "energy_rmse_mev_per_atom": 1e3 * float(np.sqrt(np.mean(np.square(per_atom)))),
    }
    big = np.load(folder / "big.npz")
    for name in ("small", "large"):
        atoms = Atoms(
            big[f"{name}_symbols"], big[f"{name}_positions"], cell=big[f"{name}_cell"], pbc=True
        )
        best = float("inf")
        for _ in range(3):
            begun = time.perf_counter()
            calculator.calculate(atoms)
            best = min(best, time.perf_counter() - begun)
        result[f"us_per_atom_{len(atoms)}"] = round(1e6 * best / len(atoms), 1)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
