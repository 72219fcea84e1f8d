"""Aluminium: equation of state, elastic constants, vacancy and phonons of a model beside GPAW.

    python benchmarks/learn_aluminium.py structures al.extxyz        # what learning begins with
    huozi learn benchmarks/learn_aluminium.yaml --out learn-aluminium
    ase build -x fcc -a 4.04 --cubic -r 4,4,4 Al crystal.xyz
    huozi md learn-aluminium/model.safetensors crystal.xyz --ensemble npt --compressibility 0.013 \
        --timestep 2 --steps 25000 --temperature 1100 --out md-1100   # and likewise elsewhere
    python benchmarks/learn_aluminium.py compare learn-aluminium md-1100

Every number of GPAW comes from labels at the level of the learning run, as tasks in RUN/compare,
so the comparison resumes. The geometries are each side's own, but that of the vacancy, which is
relaxed by the model.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.eos import EquationOfState
from ase.io import write
from ase.units import GPa
from learnt import dynamics, run_level, summary
from results import save

from huozi.dynamics import ForceFieldCalculator, relax
from huozi.labels import label
from huozi.potential import load_model
from huozi.systems import Frame, System
from huozi.workflow import RunFolder, Runner, open_executor

A0 = 4.04  # Å, PBE; only where the scan of volumes is centred
STRAIN = 0.005
SHIFT = 0.02  # Å
MASS = 26.9815  # amu
THZ = 98.2269 / (2 * np.pi)
"""Frequency of sqrt(eV/(Å^2 amu))."""

Evaluate = Callable[[list[Atoms]], list[tuple[float, np.ndarray, np.ndarray]]]
"""Frames -> energy eV, forces eV/Å, stress eV/Å^3 (3, 3)."""


def structures(path: Path) -> None:
    """Small crystals of five volumes, a crystal with a vacancy, and three wide ones that melt.

    The widest has two thirds of the density of the crystal: without such cells nothing holds a
    melt at zero pressure together.
    """
    small = [bulk("Al", a=A0 * x, cubic=True) for x in (0.96, 0.98, 1.0, 1.02, 1.04)]
    vacancy = bulk("Al", a=A0, cubic=True) * (2, 2, 2)
    del vacancy[0]
    loose = [bulk("Al", a=A0 * x, cubic=True) * (2, 2, 1) for x in (1.04, 1.09, 1.14)]
    write(path, [*small, vacancy, *loose])


def equation_of_state(evaluate: Evaluate) -> dict[str, float]:
    """Lattice constant and bulk modulus from a Birch–Murnaghan fit."""
    frames = [bulk("Al", a=A0 * x, cubic=True) for x in np.linspace(0.97, 1.03, 7)]
    energies = [energy for energy, _, _ in evaluate(frames)]
    fit = EquationOfState([f.get_volume() for f in frames], energies, eos="birchmurnaghan")
    volume, _, modulus = fit.fit()
    return {"a0_A": volume ** (1 / 3), "bulk_modulus_GPa": modulus / GPa}


def elastic_constants(evaluate: Evaluate, a0: float) -> dict[str, float]:
    """C11, C12 and C44 from the stress of cells strained either way."""
    frames = []
    for tensor in (np.diag([1.0, 0, 0]), np.array([[0, 0, 0], [0, 0, 0.5], [0, 0.5, 0]])):
        for sign in (1, -1):
            atoms = bulk("Al", a=a0, cubic=True)
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + sign * STRAIN * tensor), True)
            frames.append(atoms)
    stress = [s for _, _, s in evaluate(frames)]
    tension, shear = ((stress[k] - stress[k + 1]) / (2 * STRAIN) / GPa for k in (0, 2))
    return {"C11_GPa": tension[0, 0], "C12_GPa": tension[1, 1], "C44_GPa": shear[1, 2]}


def vacancy_energy(evaluate: Evaluate, a0: float, vacancy: Atoms) -> dict[str, float]:
    """Formation energy at the geometry given; the crystal's energy is that of its small cell."""
    crystal = bulk("Al", a=a0, cubic=True)
    (whole, _, _), (missing, _, _) = evaluate([crystal, vacancy])
    return {"vacancy_eV": missing - whole * len(vacancy) / len(crystal)}


def phonons(evaluate: Evaluate, a0: float) -> dict[str, float]:
    """Frequencies at X and L, THz, from the forces on all atoms when one moves along x.

    Inversion about the moved atom makes a second displacement, back along x, needless. With the
    cubic axes the column D_ix(q) of the dynamical matrix is enough: at X it is diagonal, at L its
    elements are one number on the diagonal and one beside it.
    """
    atoms = bulk("Al", a=a0, cubic=True) * (2, 2, 2)
    steps = atoms.positions - atoms.positions[0]
    atoms.positions[0, 0] += SHIFT
    ((_, forces, _),) = evaluate([atoms])

    def column(wave: list[float]) -> np.ndarray:
        phase = np.cos(steps @ (2 * np.pi / a0 * np.array(wave)))
        return -(forces * phase[:, None]).sum(axis=0) / SHIFT / MASS

    at_l = column([0.5, 0.5, 0.5])
    squares = {
        "X_longitudinal": column([1, 0, 0])[0],
        "X_transverse": column([0, 1, 0])[0],
        "L_longitudinal": at_l[0] + at_l[1] + at_l[2],
        "L_transverse": at_l[0] - (at_l[1] + at_l[2]) / 2,
    }
    return {
        f"{name}_THz": float(np.sign(square) * np.sqrt(abs(square)) * THZ)
        for name, square in squares.items()
    }


def properties(evaluate: Evaluate, vacancy: Atoms, a0_vacancy: float) -> dict[str, float]:
    """All properties by one of the two."""
    found = equation_of_state(evaluate)
    return {
        **found,
        **elastic_constants(evaluate, found["a0_A"]),
        **vacancy_energy(evaluate, a0_vacancy, vacancy),
        **phonons(evaluate, found["a0_A"]),
    }


def compare(run: Path, workers: int) -> dict[str, Any]:
    """Both columns."""
    model, level = load_model(run / "model.safetensors"), run_level(run)

    def by_model(frames: list[Atoms]) -> list[tuple[float, np.ndarray, np.ndarray]]:
        found = []
        for atoms in frames:
            atoms = atoms.copy()
            atoms.calc = ForceFieldCalculator(model)
            energy, forces = atoms.get_potential_energy(), atoms.get_forces()
            found.append((energy, forces, atoms.get_stress(voigt=False)))
        return found

    a0 = equation_of_state(by_model)["a0_A"]
    vacancy = bulk("Al", a=a0, cubic=True) * (2, 2, 2)
    del vacancy[0]
    vacancy = relax(model, System.from_atoms(vacancy), False, 0.001).system.to_atoms()
    with open_executor("local", workers, run / "compare") as executor:
        runner = Runner(RunFolder(run / "compare"), executor)

        def by_gpaw(frames: list[Atoms]) -> list[tuple[float, np.ndarray, np.ndarray]]:
            wanted = [
                Frame(System.from_atoms(a), source=f"aluminium#{i}") for i, a in enumerate(frames)
            ]
            data = label(wanted, level, runner, 1.0).dataset
            return [
                (f.labels.energy, f.labels.forces, -f.labels.virial / f.system.volume) for f in data
            ]

        gpaw = properties(by_gpaw, vacancy, a0)
    return {"gpaw": gpaw, "model": properties(by_model, vacancy, a0)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=["structures", "compare"])
    parser.add_argument("path", type=Path, help="File to write, or the learning run.")
    parser.add_argument("md", type=Path, nargs="*", help="Folders of `huozi md` with its model.")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    if args.verb == "structures":
        structures(args.path)
    else:
        save(
            "learn-aluminium",
            summary(args.path)
            | compare(args.path, args.workers)
            | {"dynamics": [dynamics(folder) for folder in args.md]},
            [
                "benchmarks/learn_aluminium.py",
                "compare",
                args.path.name,
                *(p.name for p in args.md),
            ],
        )
