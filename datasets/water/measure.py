"""Measure the noise of the labels: `python datasets/water/measure.py` prints the README's tables.

A box of eight molecules is enough, for all these errors are local. Finished runs are kept in
WORK/measure, so the command may be interrupted and repeated.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import classical
import cp2k
import numpy as np
from ase import Atoms
from cp2k import FINAL, Grid
from label import add_options, canonical, exclusive

BOX = 8  # molecules
SHIFT = 0.5  # of the grid spacing, along all three edges
DELTA = 0.005  # Å, of the finite difference
CUTOFFS = (400, 600, 800, 1000, 1150, 1500)  # Ry
THRESHOLDS = ("2.0E-5", "1.0E-5", "1.0E-6")  # EPS_SCF; the first is that of the labels
AGES = (2, 20, 200)  # fs between a frame and the one whose orbitals it starts from


@dataclass(frozen=True)
class Run:
    """One finished calculation."""

    energy: float  # eV
    forces: np.ndarray  # (n, 3), eV/Å
    steps: int
    seconds: float
    orbitals: Path


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    work = parser.parse_args().work / "measure"
    with exclusive(work) as lock:
        frames = trajectory(work, lock)
        bench = Bench(work, lock)
        grid_noise(bench, frames[0])
        thresholds(bench, frames[0])
        finite_difference(bench, frames[0])
        starts(bench, frames)


def trajectory(work: Path, lock: int) -> list[Atoms]:
    """Frames 2 fs apart of classical water, their bonds shortened to those of the functional."""
    rng = np.random.default_rng(0)
    start = classical.starting_box(1.0, rng, BOX)
    frames = classical.simulate(start, 300.0, 4000, 4, 1, work, lock)[-101:]
    return [canonical(classical.scale_bonds(frame, 0.965)) for frame in frames]


@dataclass(frozen=True)
class Bench:
    """Runs calculations in folders of their own and keeps them."""

    work: Path
    lock: int

    def compute(self, name: str, atoms: Atoms, grid: Grid, orbitals: Path | None = None) -> Run:
        """Converge a frame on a grid, from a coarse guess or from given orbitals."""
        folder = self.work / name
        folder.mkdir(exist_ok=True)
        final = cp2k.dft_input(atoms, "final", grid)
        seconds = folder / "seconds"
        if not (seconds.exists() and cp2k.is_finished(folder, "final", final)):
            spent = 0.0
            if orbitals is None:
                guess = cp2k.dft_input(atoms, "guess", cp2k.GUESS)
                spent += cp2k.run(folder, "guess", guess, self.lock)
            else:
                shutil.copy(orbitals, folder / "orbitals.wfn")
            spent += cp2k.run(folder, "final", final, self.lock)
            seconds.write_text(f"{spent:.1f}")
        outcome = cp2k.read_output((folder / "final.out").read_text())
        if outcome.problem:
            raise RuntimeError(f"{outcome.problem}: {folder}")
        forces = next(folder.glob("final-forces*")).read_text()
        return Run(
            outcome.energy,
            cp2k.read_forces(forces, list(atoms.symbols)),
            outcome.scf_steps,
            float(seconds.read_text()),
            folder / "orbitals.wfn",
        )


def grid_noise(bench: Bench, frame: Atoms) -> None:
    """Print what a translation by half a grid spacing does to energy and forces."""
    print("\ncutoff, Ry | energy, meV/atom | forces, meV/Å: rms | largest | sum over the box")
    for cutoff in CUTOFFS:
        grid = replace(FINAL, cutoff=cutoff, eps_scf="1.0E-6")
        moved = frame.copy()
        # The spacing of a grid that holds waves up to the cutoff: pi / sqrt(2 E), E in hartree.
        moved.positions += SHIFT * np.pi / np.sqrt(cutoff) * cp2k.CODATA["Bohr"]
        first = bench.compute(f"grid-{cutoff}", frame, grid)
        second = bench.compute(f"grid-{cutoff}-moved", canonical(moved), grid, first.orbitals)
        # Each of the two carries the noise, their difference √2 times as much.
        change = (second.forces - first.forces) / np.sqrt(2)
        energy = abs(second.energy - first.energy) / np.sqrt(2)
        print(
            f"{cutoff} | {1e3 * energy / len(frame):.4f} | {rms(change):.2f} | "
            f"{1e3 * abs(change).max():.1f} | {1e3 * abs(first.forces.sum(axis=0)).max():.1f}"
        )


def thresholds(bench: Bench, frame: Atoms) -> None:
    """Print the errors of the other thresholds, each against a much tighter one."""
    print("\nsetting | energy, meV/atom | forces, meV/Å: rms | largest | SCF steps")
    tight = bench.compute("scf-tight", frame, replace(FINAL, eps_scf="1.0E-8"))
    for eps in THRESHOLDS:
        run = bench.compute(f"scf-{eps}", frame, replace(FINAL, eps_scf=eps))
        print_error(f"EPS_SCF {eps}", run, tight)
    grid = replace(FINAL, eps_scf="1.0E-8", rel_cutoff=80, eps_default="1.0E-14")
    tight = bench.compute("mapping-tight", frame, grid, tight.orbitals)
    for rel_cutoff, eps in ((40, "1.0E-10"), (50, "1.0E-10"), (60, "1.0E-12")):
        grid = replace(FINAL, eps_scf="1.0E-8", rel_cutoff=rel_cutoff, eps_default=eps)
        run = bench.compute(f"mapping-{rel_cutoff}-{eps}", frame, grid, tight.orbitals)
        print_error(f"REL_CUTOFF {rel_cutoff}, EPS_DEFAULT {eps}", run, tight)


def finite_difference(bench: Bench, frame: Atoms) -> None:
    """Print the force on an atom and the slope of the energy, at the labels' own settings."""
    atom, axis = 4, 0

    def slope(step: float) -> float:
        energies = []
        for sign in (-1, 1):
            moved = frame.copy()
            moved.positions[atom, axis] += sign * step
            run = bench.compute(f"slope{sign * step:+.3f}", canonical(moved), FINAL)
            energies.append(run.energy)
        return (energies[1] - energies[0]) / (2 * step)

    # The error of either slope grows as the square of its step; this combination lacks it.
    expected = -(4 * slope(DELTA) - slope(2 * DELTA)) / 3
    force = bench.compute("label", frame, FINAL).forces[atom, axis]
    print(f"\nforce {force:.5f} eV/Å, minus the slope of the energy {expected:.5f} eV/Å")


def starts(bench: Bench, frames: list[Atoms]) -> None:
    """Print what it saves to start from the orbitals of an earlier frame of a trajectory."""
    print("\nstart | SCF steps on the fine grid | seconds of processor time")
    run = bench.compute("label", frames[0], FINAL)
    orbitals = run.orbitals.with_name("kept.wfn")
    if not orbitals.exists():
        shutil.copy(run.orbitals, orbitals)
    for age in AGES:
        frame = frames[age // 2]
        cold = bench.compute(f"start-{age}-cold", frame, FINAL)
        warm = bench.compute(f"start-{age}-warm", frame, FINAL, orbitals)
        print(f"atoms, by way of the coarse grid | {cold.steps} | {cold.seconds:.0f}")
        print(f"orbitals of {age} fs before | {warm.steps} | {warm.seconds:.0f}")


def print_error(name: str, run: Run, reference: Run) -> None:
    """Print one row of the table of thresholds."""
    change = run.forces - reference.forces
    energy = 1e3 * abs(run.energy - reference.energy) / len(change)
    print(
        f"{name} | {energy:.4f} | {rms(change):.3f} | {1e3 * abs(change).max():.2f} | {run.steps}"
    )


def rms(change: np.ndarray) -> float:
    """Return the root mean square of a difference of forces, in meV/Å."""
    return float(1e3 * np.sqrt((change**2).mean()))


if __name__ == "__main__":
    main()
