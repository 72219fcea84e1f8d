"""Malonaldehyde: energy along the way of the proton, by a model and by the level it learnt from.

    python benchmarks/learn_malonaldehyde.py structures malonaldehyde.extxyz
    huozi learn benchmarks/learn_malonaldehyde.yaml --out learn-malonaldehyde
    python benchmarks/learn_malonaldehyde.py compare learn-malonaldehyde

The start holds the enol with the proton at one oxygen, in the middle, and on the way, so that the
barrier is among what exploration begins from. `compare` finds the minimum energy path of the model
from the enol to its mirror image (climbing nudged elastic band) and labels the first half of it,
the other being its mirror image. Then the level's own minimum and saddle are relaxed with labels:
the saddle is symmetric, and a minimum among the symmetric structures.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.io import write
from ase.mep import NEB
from ase.optimize import BFGS, FIRE
from learnt import run_level, summary
from results import save

from huozi.dynamics import ForceFieldCalculator
from huozi.labels import Level, label
from huozi.potential import Model, load_model
from huozi.systems import Frame, System
from huozi.workflow import RunFolder, Runner, open_executor

IMAGES = 9
FMAX = 0.02  # eV/Å, of the path and of the level's own structures
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


class Labels(Calculator):
    """Energies and forces of a level as tasks of a run, so that a relaxation resumes."""

    implemented_properties = ("energy", "forces")

    def __init__(self, level: Level, runner: Runner, symmetric: bool) -> None:
        super().__init__()
        self.level, self.runner, self.symmetric = level, runner, symmetric

    def calculate(
        self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes
    ) -> None:
        """Label one structure; of a symmetric one keep what is symmetric of the forces."""
        super().calculate(atoms, properties, system_changes)
        found = labelled([atoms], self.level, self.runner)[0].labels
        forces = found.forces
        if self.symmetric:
            forces = (forces + forces[MIRROR] * [-1, 1, 1]) / 2
        self.results = {"energy": found.energy, "forces": forces}


def labelled(structures: list[Atoms], level: Level, runner: Runner) -> list[Frame]:
    """Label structures."""
    frames = [Frame(System.from_atoms(a), source=f"#{i}") for i, a in enumerate(structures)]
    return list(label(frames, level, runner, 1.0).dataset)


def model_path(model: Model) -> list[Atoms]:
    """Minimum energy path of the model, with its energies and forces."""
    first = enol(0.0)
    first.calc = ForceFieldCalculator(model)
    BFGS(first, logfile=None).run(fmax=0.005, steps=500)
    images = [first, *(first.copy() for _ in range(IMAGES - 2)), mirrored(first)]
    for image in images:
        image.calc = ForceFieldCalculator(model)
    band = NEB(images, climb=True)
    band.interpolate()
    if not FIRE(band, logfile=None).run(fmax=FMAX, steps=1000):
        raise RuntimeError("the path of the model did not converge")
    return images


def own_barrier(images: list[Atoms], level: Level, runner: Runner) -> dict[str, float]:
    """Barrier of the level between structures of its own, meV."""
    energies = []
    for image, symmetric in ((images[0], False), (images[IMAGES // 2], True)):
        atoms = image.copy()
        if symmetric:
            atoms.positions = (atoms.positions + mirrored(atoms).positions) / 2
        atoms.calc = Labels(level, runner, symmetric)
        if not BFGS(atoms, logfile="-").run(fmax=FMAX, steps=40):
            raise RuntimeError("a structure of the level did not converge")
        energies.append(atoms.get_potential_energy())
    return {"barrier_meV": 1e3 * (energies[1] - energies[0])}


def compare(run: Path, workers: int) -> dict[str, Any]:
    """Barrier, energies and force errors along the path."""
    level = run_level(run)
    images = model_path(load_model(run / "model.safetensors"))
    half = images[: IMAGES // 2 + 1]
    with open_executor("local", workers, run / "compare") as executor:
        runner = Runner(RunFolder(run / "compare"), executor)
        labels = [frame.labels for frame in labelled(half, level, runner)]
        own = own_barrier(images, level, runner)
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
            }
        )
    return {
        "path": path,
        "barrier_model_meV": path[-1]["model_meV"],
        "barrier_level_on_path_meV": path[-1]["level_meV"],
        "barrier_level_meV": own["barrier_meV"],
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
