"""Malonaldehyde: energy along the way of the proton, by a model and by the level it learnt from.

    python benchmarks/labels/malonaldehyde.py structures malonaldehyde.extxyz
    python benchmarks/labels/malonaldehyde.py compare learn-malonaldehyde

The start holds the enol with the proton at one oxygen, in the middle, and on the way, so that the
barrier is among what exploration begins from. `compare` relaxes the enol and its mirror image with
the model, finds the minimum energy path between them (climbing nudged elastic band), and labels
every image.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import yaml
from ase import Atoms
from ase.io import write
from ase.mep import NEB
from ase.optimize import BFGS, FIRE

from huozi.dynamics import ForceFieldCalculator
from huozi.labels import LEVEL, label
from huozi.potential import load_model
from huozi.systems import Frame, System
from huozi.workflow import RunFolder, Runner, open_executor

IMAGES = 9
# O C C C O, the proton, then the hydrogens of the carbons, in the plane; Å.
SYMBOLS = "OCCCOHHHH"
POINTS = [
    (-1.29, 1.30),
    (-1.19, 0.02),
    (0.00, -0.68),
    (1.22, 0.03),
    (1.28, 1.27),
    (-0.32, 1.53),
    (-2.10, -0.58),
    (0.00, -1.76),
    (2.17, -0.53),
]


def enol(share: float) -> Atoms:
    """The molecule with the proton this part of the way from its oxygen to the other."""
    points = np.array(POINTS)
    there = points[5] * [-1, 1]
    points[5] += share * (there - points[5])
    return Atoms(SYMBOLS, positions=np.column_stack([points, np.zeros(len(points))]))


def mirrored(atoms: Atoms) -> Atoms:
    """The same molecule with the proton at the other oxygen, its atoms in the same order."""
    order = [4, 3, 2, 1, 0, 5, 8, 7, 6]
    other = atoms.copy()
    other.positions = atoms.positions[order] * [-1, 1, 1]
    return other


def compare(run: Path, workers: int) -> None:
    """Print the energies of both along the path of the model."""
    model = load_model(run / "model.safetensors")
    level = LEVEL.validate_python(yaml.safe_load((run / "config.yaml").read_text())["level"])
    first = enol(0.0)
    first.calc = ForceFieldCalculator(model)
    BFGS(first, logfile=None).run(fmax=0.01, steps=500)
    images = [first, *(first.copy() for _ in range(IMAGES - 2)), mirrored(first)]
    for image in images:
        image.calc = ForceFieldCalculator(model)
    band = NEB(images, climb=True)
    band.interpolate()
    FIRE(band, logfile=None).run(fmax=0.03, steps=500)
    by_model = [image.get_potential_energy() for image in images]
    frames = [Frame(System.from_atoms(a), source=f"image {i}") for i, a in enumerate(images)]
    with open_executor("local", workers, run / "compare") as executor:
        data = label(frames, level, Runner(RunFolder(run / "compare"), executor), 1.0).dataset
    print(f"{'image':>5}{'reference, meV':>16}{'model, meV':>12}")
    for i, frame in enumerate(data):
        reference = 1e3 * (frame.labels.energy - data[0].labels.energy)
        print(f"{i:>5}{reference:>16.1f}{1e3 * (by_model[i] - by_model[0]):>12.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=["structures", "compare"])
    parser.add_argument("path", type=Path, help="File to write, or the learning run.")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    if args.verb == "structures":
        write(args.path, [enol(share) for share in (0.0, 0.25, 0.5)])
    else:
        compare(args.path, args.workers)
