"""DeepQMC in its own environment: run_deepqmc.py MOLECULE.json SECONDS FOLDER [OVERRIDE...].

MOLECULE.json holds charges, coords (bohr), charge and spin. Its Psiformer is trained with its
forward Laplacian and KFAC until the seconds, set-up and compilation included, are over. Prints a
JSON object: the course of the mean local energy, and the mean over the last fifth of the steps.
"""

import json
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from tensorboardX.proto.event_pb2 import Event

BLOCKS = 20


def course(folder, begun):
    """Seconds since the start and mean local energy, hartree, of every step of the training."""
    found = []
    for file in sorted(folder.glob("training/events.out.*")):
        data, place = file.read_bytes(), 0
        # A record: length and its checksum (8 + 4 bytes), the message, its checksum (4 bytes).
        while place + 12 <= len(data):
            (size,) = struct.unpack_from("<Q", data, place)
            if place + 16 + size > len(data):
                break
            event = Event.FromString(data[place + 12 : place + 12 + size])
            for value in event.summary.value:
                if value.tag.startswith("local_energy/mean"):
                    found.append((event.wall_time - begun, value.simple_value))
            place += 16 + size
    return np.array(found).reshape(-1, 2)


def main():
    """Train, stop in time, report."""
    molecule, seconds = json.loads(Path(sys.argv[1]).read_text()), float(sys.argv[2])
    folder = Path(sys.argv[3]).resolve()
    settings = {
        "hydra/job_logging": "none",  # its own formatter is refused by Python's logging
        "hydra.run.dir": folder,
        "task": "train_psiformer",
        "ansatz": "psiformer",
        "hamil": "qc_forward_laplacian",
        "hamil.mol.coords": molecule["coords"],
        "hamil.mol.charges": molecule["charges"],
        "hamil.mol.charge": molecule["charge"],
        "hamil.mol.spin": molecule["spin"],
        "hamil.mol.unit": "bohr",
        "task.steps": 10**6,
        "task.pretrain_steps": 100,
        "task.electron_batch_size": 512,
    }
    settings |= dict(text.split("=", 1) for text in sys.argv[4:])
    command = [str(Path(sys.executable).with_name("deepqmc"))]
    command += [f"{name}={value}".replace(" ", "") for name, value in settings.items()]
    begun = time.time()
    process = subprocess.Popen(command, stdout=sys.stderr, stderr=sys.stderr)
    try:
        code = process.wait(timeout=seconds)
        raise SystemExit(f"DeepQMC ended before its time, with exit code {code}")
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    steps = course(folder, begun)
    result = {"steps": len(steps), "settings": {k: str(v) for k, v in settings.items()}}
    result["settings"].pop("hydra.run.dir")
    last = steps[len(steps) * 4 // 5 :, 1]
    if len(last) >= BLOCKS:
        blocks = np.array([block.mean() for block in np.array_split(last, BLOCKS)])
        result["energy_Ha"] = float(last.mean())
        result["stderr_Ha"] = float(blocks.std(ddof=1) / np.sqrt(BLOCKS))
    thin = steps[:: max(1, len(steps) // 200)]
    result["course"] = [[round(float(t), 1), round(float(e), 6)] for t, e in thin]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
