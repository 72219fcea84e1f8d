"""Malonaldehyde: energy along the way of the proton, by a model and by the level it learnt from.

    python benchmarks/learn_malonaldehyde.py structures malonaldehyde.extxyz
    huozi learn benchmarks/learn_malonaldehyde.yaml --out learn-malonaldehyde
    python benchmarks/learn_malonaldehyde.py compare learn-malonaldehyde

The start holds the enol with the proton at one oxygen, in the middle, and on the way, so that the
barrier is among what exploration begins from. `compare` finds the minimum energy path of the model
from the enol to its mirror image (climbing nudged elastic band) and labels the first half of it,
the other being its mirror image.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import write
from ase.mep import NEB
from ase.optimize import BFGS, FIRE
from learnt import run_level, summary
from results import save

from huozi.dynamics import ForceFieldCalculator
from huozi.labels import label
from huozi.potential import Model, load_model
from huozi.systems import Frame, System
from huozi.workflow import RunFolder, Runner, open_executor

IMAGES = 9
FMAX = 0.02  # eV/Å, across the path
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
MIRROR = [4, 3, 2, 1, 0, 5, 8, 7, 6]
"""Atom that each becomes when the molecule is mirrored."""


def enol(share: float) -> Atoms:
    """The molecule with the proton this part of the way from its oxygen to the other."""
    points = np.array(POINTS)
    there = points[5] * [-1, 1]
    points[5] += share * (there - points[5])
    return Atoms(SYMBOLS, positions=np.column_stack([points, np.zeros(len(points))]))


def mirrored(atoms: Atoms) -> Atoms:
    """The same molecule with the proton at the other oxygen, its atoms in the same order."""
    other = atoms.copy()
    other.positions = atoms.positions[MIRROR] * [-1, 1, 1]
    return other


def model_path(model: Model) -> list[Atoms]:
    """Minimum energy path of the model, with its energies and forces."""
    first = enol(0.0)
    first.calc = ForceFieldCalculator(model)
    BFGS(first, logfile=None).run(fmax=0.005, steps=500)
    images = [first, *(first.copy() for _ in range(IMAGES - 2)), mirrored(first)]
    for image in images:
        image.calc = ForceFieldCalculator(model)
    band = NEB(images, climb=True, method="aseneb")
    band.interpolate()
    if not FIRE(band, logfile=None).run(fmax=FMAX, steps=1000):
        raise RuntimeError("the path of the model did not converge")
    return images


def compare(run: Path, workers: int) -> dict[str, Any]:
    """Barrier, energies and force errors along the path."""
    level = run_level(run)
    images = model_path(load_model(run / "model.safetensors"))
    half = images[: IMAGES // 2 + 1]
    with open_executor("local", workers, run / "compare") as executor:
        frames = [Frame(System.from_atoms(a), source=f"image {i}") for i, a in enumerate(half)]
        data = label(frames, level, Runner(RunFolder(run / "compare"), executor), 1.0).dataset
        labels = [frame.labels for frame in data]
    path = []
    for image, found in zip(half, labels):
        wrong = image.get_forces() - found.forces
        donor, acceptor = (image.get_distance(k, 5) for k in (0, 4))
        path.append(
            {
                "shift_A": donor - acceptor,
                "model_meV": 1e3 * (image.get_potential_energy() - half[0].get_potential_energy()),
                "level_meV": 1e3 * (found.energy - labels[0].energy),
                "force_rmse_mev_per_A": 1e3 * float(np.sqrt(np.mean(wrong**2))),
                "largest_force_of_level_mev_per_A": 1e3 * float(np.abs(found.forces).max()),
            }
        )
    return {
        "path": path,
        "barrier_model_meV": path[-1]["model_meV"],
        "barrier_level_meV": path[-1]["level_meV"],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=["structures", "compare"])
    parser.add_argument("path", type=Path, help="File to write, or the learning run.")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    if args.verb == "structures":
        write(args.path, [enol(share) for share in (0.0, 0.25, 0.5)])
    else:
        save(
            "learn-malonaldehyde",
            summary(args.path) | compare(args.path, args.workers),
            ["benchmarks/learn_malonaldehyde.py", "compare", args.path.name],
        )
