"""Time of a training step of the same DeepPot-SE, by deepmd-kit (TensorFlow) and by Huozi.

    benchmarks/peers/install.sh FOLDER
    python benchmarks/peers/training_step.py --peers FOLDER --data DATA...

Both read the same input.json (25-50-100, axis 16, fitting 240x3, one frame a batch), in float32
and in float64, and take 300 steps; the last 200 count. Nothing else should run meanwhile. Writes
benchmarks/results/peers-training.json.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from results import save  # noqa: E402
from run_deepmd import settings  # noqa: E402

from huozi.potential import train  # noqa: E402
from huozi.potential.deepmd_input import read_deepmd_input  # noqa: E402
from huozi.systems import read, write  # noqa: E402

STEPS, SKIPPED = 300, 100
LONG = 40_000  # of a run that is left after STEPS, so that no validation falls among them


class EnoughError(Exception):
    """Leave the training."""


def by_deepmd(dp: Path, folder: Path) -> float:
    """Milliseconds a step, as deepmd-kit prints them."""
    command = [str(dp), "--tf", "train", "input.json"]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    found = re.findall(r"Batch +(\d+): total wall time = (\S+) s", done.stdout + done.stderr)
    return 1e3 * sum(float(s) for step, s in found if int(step) > SKIPPED) / (STEPS - SKIPPED)


def by_huozi(folder: Path) -> float:
    """Milliseconds a step, from the progress that training reports."""
    config, data, _, _ = read_deepmd_input(folder / "input.json", {"steps": LONG})
    times: dict[int, float] = {}

    def note(event: dict[str, object]) -> None:
        if event["event"] == "progress":
            times[int(str(event["step"]))] = time.perf_counter()
            if max(times) >= STEPS:
                raise EnoughError

    with suppress(EnoughError):
        train(data, folder / "huozi", config, report=note)
    last = max(times)
    return 1e3 * (times[last] - times[SKIPPED]) / (last - SKIPPED)


def main() -> None:
    """Both precisions, both programs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--data", nargs="+", required=True)
    options = parser.parse_args()
    result = {}
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        write(read(options.data), work / "train", "deepmd/npy")
        for precision in ("float32", "float64"):
            folder = work / precision
            folder.mkdir()
            tree = settings(work, STEPS)
            for part in (tree["model"]["descriptor"], tree["model"]["fitting_net"]):
                part["precision"] = precision
            tree["training"]["disp_freq"] = SKIPPED
            (folder / "input.json").write_text(json.dumps(tree))
            theirs = by_deepmd(options.peers.resolve() / "deepmd" / "bin" / "dp", folder)
            ours = by_huozi(folder)
            result[precision] = {
                "deepmd-kit_ms": theirs,
                "huozi_ms": ours,
                "ratio": theirs / ours,
            }
            print(precision, result[precision], file=sys.stderr)
    save("peers-training", result, sys.argv)


if __name__ == "__main__":
    main()
