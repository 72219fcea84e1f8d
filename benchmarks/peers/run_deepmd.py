"""DeepPot-SE of deepmd-kit, in its own environment: run_deepmd.py FOLDER BUDGET_SECONDS.

FOLDER holds train/ and test/ (deepmd/npy) and big.npz (a large structure to time). Prints a JSON
object: errors on the test frames after a training that fills the budget, and times.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

PROBE = 60


def settings(folder, steps):
    """deepmd-kit's water example: se_e2_a of 25-50-100, fitting net of three times 240."""
    types = (folder / "train" / "type_map.raw").read_text().split()
    return {
        "model": {
            "type_map": types,
            "descriptor": {
                "type": "se_e2_a",
                "sel": "auto",
                "rcut": 6.0,
                "rcut_smth": 0.5,
                "neuron": [25, 50, 100],
                "axis_neuron": 16,
                "precision": "float32",
                "seed": 1,
            },
            "fitting_net": {"neuron": [240, 240, 240], "precision": "float32", "seed": 1},
        },
        "learning_rate": {"type": "exp", "start_lr": 0.001, "stop_lr": 3.5e-8},
        "loss": {
            "start_pref_e": 0.02,
            "limit_pref_e": 1,
            "start_pref_f": 1000,
            "limit_pref_f": 1,
        },
        "training": {
            "training_data": {"systems": [str(folder / "train")], "batch_size": 1},
            "numb_steps": steps,
            "seed": 1,
            "disp_freq": max(1, steps // 20),
            "save_freq": steps,
        },
    }


def train(folder, steps):
    """Train in a folder of its own and return the seconds it took."""
    work = folder / f"deepmd-{steps}"
    work.mkdir(exist_ok=True)
    (work / "input.json").write_text(json.dumps(settings(folder, steps)))
    dp = str(Path(sys.executable).with_name("dp"))
    begun = time.perf_counter()
    subprocess.run([dp, "--tf", "train", "input.json"], cwd=work, check=True, stdout=sys.stderr)
    seconds = time.perf_counter() - begun
    freeze = [dp, "--tf", "freeze", "-o", "model.pb"]
    subprocess.run(freeze, cwd=work, check=True, stdout=sys.stderr)
    return work / "model.pb", seconds


def main():
    """Probe the pace, fill the budget, test, time."""
    folder, budget = Path(sys.argv[1]).resolve(), float(sys.argv[2])
    _, short = train(folder, PROBE)
    _, longer = train(folder, 2 * PROBE)
    pace = (longer - short) / PROBE
    steps = int((budget - short + PROBE * pace) / pace)
    path, seconds = train(folder, steps)

    from deepmd import __version__
    from deepmd.infer import DeepPot

    model = DeepPot(str(path))
    types = np.loadtxt(folder / "test" / "type.raw", dtype=int)
    sets = sorted((folder / "test").glob("set.*"))

    def load(name):
        return np.concatenate([np.load(s / f"{name}.npy") for s in sets])

    coord, box, energy, force = (load(n) for n in ("coord", "box", "energy", "force"))
    e, f, _ = model.eval(coord, box, types)[:3]
    n = len(types)
    error = e.reshape(-1) - energy.reshape(-1)
    result = {
        "version": __version__,
        "model": "se_e2_a 25-50-100, fitting 240x3, float32, TensorFlow",
        "steps": steps,
        "train_seconds": round(seconds, 1),
        "ms_per_training_step": round(1e3 * pace, 2),
        "force_rmse_mev_per_A": 1e3
        * float(np.sqrt(np.mean((f.reshape(force.shape) - force) ** 2))),
        "energy_rmse_mev_per_atom": 1e3 * float(np.sqrt(np.mean(error**2))) / n,
    }
    big = np.load(folder / "big.npz")
    order = {z: i for i, z in enumerate((folder / "train" / "type_map.raw").read_text().split())}
    for name in ("small", "large"):
        sample = [order[s] for s in big[f"{name}_symbols"]]
        arguments = (big[f"{name}_positions"][None], big[f"{name}_cell"][None], sample)
        model.eval(*arguments)
        best = float("inf")
        for _ in range(3):
            begun = time.perf_counter()
            model.eval(*arguments)
            best = min(best, time.perf_counter() - begun)
        result[f"us_per_atom_{len(sample)}"] = round(1e6 * best / len(sample), 1)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
