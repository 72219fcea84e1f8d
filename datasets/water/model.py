"""Round 1 geometries: molecular dynamics with a potential that `huozi train` fits to round 0."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import ase.io
from ase import Atoms
from classical import Walker, equilibrate, scale_bonds, walker_info, whole_molecules
from label import canonical, exclusive, write_frames

TRAIN_STEPS = 12000
TEMPERATURES = (280.0, 300.0, 330.0, 370.0, 420.0, 500.0, 600.0)  # K
TRAIN_DENSITIES = (1.0, 0.85, 1.15, 0.91, 1.09, 0.97)  # g/cm^3
TEST_DENSITIES = (0.88, 1.0, 1.1)
TIMESTEP = 0.5  # fs
CLASSICAL = 2.5  # ps of SPC/Fw dynamics before the model takes over
LENGTH = 2.0  # ps of the model's dynamics; its last frame is taken


def train_walkers() -> list[Walker]:
    """Return two walkers of 32 molecules at each of 42 states; their frames are for training."""
    states = [(t, d) for d in TRAIN_DENSITIES for t in TEMPERATURES]
    return [Walker(t, d, i, round=1, molecules=32) for i, (t, d) in enumerate(2 * states)]


def held_out_walkers() -> list[Walker]:
    """Return two walkers of 64 molecules at each of 21 states; their frames are to test."""
    states = [(t, d) for d in TEST_DENSITIES for t in TEMPERATURES]
    return [Walker(t, d, i, round=1) for i, (t, d) in enumerate(2 * states, start=100)]


def train_model(labels: Path, work: Path) -> Path:
    """Fit the potential of round 1 to the labels of round 0; an interrupted fit goes on."""
    out = work / "round1-model"
    with exclusive(out) as lock:
        huozi(lock, "train", labels, "--steps", TRAIN_STEPS, "--out", out / "run")
    return out / "run"


def walk(walker: Walker, model: Path, work: Path) -> list[Atoms]:
    """Return the last frame of a round 1 walker, from disk if it was made before.

    A walker whose dynamics breaks down has none and is reported; the model was too young
    for its state, and the other walkers go on.
    """
    folder = work / "walkers" / walker.name
    result, failure = folder / "frames.extxyz", folder / "failure.txt"
    if failure.exists():
        return []
    if not result.exists():
        steps = round(1000 * LENGTH / TIMESTEP)
        settings = {
            "--ensemble": "nvt",
            "--temperature": walker.temperature,
            "--steps": steps,
            "--timestep": TIMESTEP,
            "--trajectory-every": steps,
            "--seed": walker.number,
            "--out": folder / "md",
        }
        options = [part for pair in settings.items() for part in pair]
        with exclusive(folder) as lock:
            start = start_frame(walker, folder, lock)
            try:
                huozi(lock, "md", model, start, *options, "--extxyz")
            except subprocess.CalledProcessError as error:
                failure.write_text(f"{error}\n")
                print(f"{walker.name} gave no frames: {error}")
                return []
        write_frames(result, [origin(walker, ase.io.read(folder / "md" / "trajectory.extxyz"))])
    return [canonical(atoms) for atoms in ase.io.read(result, ":")]


def start_frame(walker: Walker, folder: Path, lock: int) -> Path:
    """Write the frame from which the model's dynamics starts."""
    path = folder / "start.extxyz"
    if not path.exists():
        # 0.965 brings the O-H bonds of SPC/Fw to the length of the functional's.
        frame = scale_bonds(equilibrate(walker, folder, lock, CLASSICAL), 0.965)
        write_frames(path, [canonical(frame)])
    return path


def origin(walker: Walker, atoms: Atoms) -> Atoms:
    """Return the frame of a walker as it is stored: molecules whole, with its origin."""
    frame = canonical(whole_molecules(atoms))
    frame.info = walker_info(walker, CLASSICAL + LENGTH)
    return frame


def huozi(lock: int, *arguments: object) -> None:
    """Run the `huozi` of this Python at low priority; CalledProcessError if it fails."""
    beside = Path(sys.executable).with_name("huozi")
    program = str(beside) if beside.exists() else shutil.which("huozi")
    if program is None:
        raise FileNotFoundError("no `huozi` command: install the package first")
    command = ["nice", "-n", "19", program, *map(str, arguments)]
    subprocess.run(command, check=True, pass_fds=(lock,))
