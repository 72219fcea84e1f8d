"""Huozi beside deepmd-kit and MACE: the same frames, the same budget, one run.

    benchmarks/peers/install.sh FOLDER
    python benchmarks/peers/compare.py NAME --peers FOLDER --train DATA... --test DATA...

Each program trains for the budget (default 5min) and is tested on the same frames; then energy
and forces of 192 and of 12,288 atoms of water are timed. Nothing else should run meanwhile.
Writes benchmarks/results/peers-NAME.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import ase.io
import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from results import save  # noqa: E402
from speed import measure, water  # noqa: E402

from huozi.potential import TrainConfig, evaluate, train  # noqa: E402
from huozi.systems import read, write  # noqa: E402

LARGE = 4


def write_inputs(folder: Path, parts: dict[str, object]) -> None:
    """The same frames in the formats of the peers, and the structures to time."""
    for name, data in parts.items():
        write(data, folder / name, "deepmd/npy")
        frames = []
        for frame in data:
            atoms = frame.system.to_atoms()
            atoms.info["REF_energy"] = frame.labels.energy
            atoms.arrays["REF_forces"] = frame.labels.forces
            frames.append(atoms)
        ase.io.write(folder / f"{name}.extxyz", frames)
    arrays = {}
    for name, replicas in (("small", 1), ("large", LARGE)):
        atoms = water(replicas)
        arrays[f"{name}_symbols"] = np.array(atoms.get_chemical_symbols())
        arrays[f"{name}_positions"] = atoms.positions
        arrays[f"{name}_cell"] = atoms.cell.array
    np.savez(folder / "big.npz", **arrays)


def run_huozi(folder: Path, data: object, test: object, budget: str) -> dict[str, object]:
    """Train, test and time here."""
    result = train(data, folder / "huozi", TrainConfig.read(None, {"budget": budget}))
    errors = evaluate(result.model, test)
    found = {
        "model": "moment, defaults",
        "steps": result.steps,
        "train_seconds": round(result.seconds, 1),
        "force_rmse_mev_per_A": errors.force_rmse_mev_per_A,
        "energy_rmse_mev_per_atom": errors.energy_rmse_mev_per_atom,
    }
    for replicas in (1, LARGE):
        row = measure(replicas, str(folder / "huozi"), "auto")
        found[f"us_per_atom_{row['atoms']}"] = row["us_per_atom"]
    return found


def main() -> None:
    """Run all three, print and save the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--train", nargs="+", required=True)
    parser.add_argument("--test", nargs="+", required=True)
    parser.add_argument("--budget", default="5min")
    options = parser.parse_args()
    data, test = read(options.train), read(options.test)
    seconds = str(TrainConfig.read(None, {"budget": options.budget}).budget)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_inputs(folder, {"train": data, "test": test})
        found = {"huozi": run_huozi(folder, data, test, options.budget)}
        for peer in ("deepmd", "mace"):
            python = options.peers.absolute() / peer / "bin" / "python"
            command = [str(python), str(HERE / f"run_{peer}.py"), str(folder), seconds]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            found[peer] = json.loads(output.splitlines()[-1])
    ours = found["huozi"]
    ratios = {
        peer: {
            key: round(value / ours[key], 2)
            for key, value in row.items()
            if key in ours and key.startswith(("force", "energy", "us_"))
        }
        for peer, row in found.items()
        if peer != "huozi"
    }
    save(f"peers-{options.name}", {"budget_s": seconds, **found, "ratios": ratios}, sys.argv)


if __name__ == "__main__":
    main()
