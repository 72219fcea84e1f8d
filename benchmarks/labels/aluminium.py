"""Aluminium: equation of state, elastic constants, vacancy and phonons of a model beside GPAW.

    python benchmarks/labels/aluminium.py structures al.extxyz      # what learning begins with
    python benchmarks/labels/aluminium.py compare learn-al          # after `huozi learn`

Every number of GPAW comes from labels at the level of the learning run, as tasks in RUN/compare,
so the comparison resumes. Both sides are evaluated on the same geometries; that of the vacancy is
relaxed by the model.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml
from ase import Atoms
from ase.build import bulk
from ase.eos import EquationOfState
from ase.io import write
from ase.units import GPa

from huozi.dynamics import ForceFieldCalculator, relax
from huozi.files import write_json
from huozi.labels import LEVEL, label
from huozi.potential import load_model
from huozi.systems import Frame, System
from huozi.workflow import RunFolder, Runner, open_executor

A0 = 4.04  # Å, PBE; only where the scan of volumes is centred
STRAIN = 0.005
SHIFT = 0.02  # Å

Evaluate = Callable[[list[Atoms]], list[tuple[float, np.ndarray, np.ndarray]]]
"""Frames -> energy eV, forces eV/Å, stress eV/Å^3 (3, 3)."""


def structures(path: Path) -> None:
    """Crystal, crystal with a vacancy, and a wide crystal that melts soonest."""
    crystal = bulk("Al", a=A0, cubic=True) * (2, 2, 2)
    vacancy = crystal.copy()
    del vacancy[0]
    loose = bulk("Al", a=1.05 * A0, cubic=True) * (2, 2, 2)
    small = bulk("Al", a=A0, cubic=True)
    write(path, [crystal, vacancy, loose, small])


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


def vacancy_energy(evaluate: Evaluate, crystal: Atoms, vacancy: Atoms) -> dict[str, float]:
    """Formation energy at the geometries given."""
    (whole, _, _), (missing, _, _) = evaluate([crystal, vacancy])
    n = len(crystal)
    return {"vacancy_eV": missing - whole * (n - 1) / n}


def phonons(evaluate: Evaluate, a0: float) -> dict[str, float]:
    """Frequencies at X, THz, from the forces on all atoms when one moves."""
    crystal = bulk("Al", a=a0, cubic=True) * (2, 2, 2)
    moved = []
    for sign in (1, -1):
        atoms = crystal.copy()
        atoms.positions[0, 0] += sign * SHIFT
        moved.append(atoms)
    forces = [f for _, f, _ in evaluate(moved)]
    constants = -(forces[0] - forces[1]) / (2 * SHIFT)
    result = {}
    for name, axis in (("longitudinal", 0), ("transverse", 1)):
        wave = 2 * np.pi / a0 * np.eye(3)[axis]
        phase = np.cos((crystal.positions - crystal.positions[0]) @ wave)
        square = float((constants[:, 0] * phase).sum()) / 26.9815
        # eV/(Å^2 amu) is (98.2269e12 rad/s)^2.
        result[f"X_{name}_THz"] = np.sign(square) * np.sqrt(abs(square)) * 98.2269 / (2 * np.pi)
    return result


def properties(evaluate: Evaluate, crystal: Atoms, vacancy: Atoms) -> dict[str, float]:
    """All properties by one of the two."""
    found = equation_of_state(evaluate)
    return {
        **found,
        **elastic_constants(evaluate, found["a0_A"]),
        **vacancy_energy(evaluate, crystal, vacancy),
        **phonons(evaluate, found["a0_A"]),
    }


def compare(run: Path, out: Path | None, workers: int) -> None:
    """Print both columns and their difference."""
    model = load_model(run / "model.safetensors")
    level = LEVEL.validate_python(yaml.safe_load((run / "config.yaml").read_text())["level"])

    def by_model(frames: list[Atoms]) -> list[tuple[float, np.ndarray, np.ndarray]]:
        found = []
        for atoms in frames:
            atoms = atoms.copy()
            atoms.calc = ForceFieldCalculator(model)
            energy, forces = atoms.get_potential_energy(), atoms.get_forces()
            found.append((energy, forces, atoms.get_stress(voigt=False)))
        return found

    a0 = equation_of_state(by_model)["a0_A"]
    crystal = bulk("Al", a=a0, cubic=True) * (2, 2, 2)
    vacancy = crystal.copy()
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

        gpaw = properties(by_gpaw, crystal, vacancy)
    learnt = properties(by_model, crystal, vacancy)
    print(f"{'':<22}{'GPAW':>10}{'model':>10}{'difference':>12}")
    for name, value in gpaw.items():
        print(f"{name:<22}{value:>10.4f}{learnt[name]:>10.4f}{learnt[name] - value:>12.4f}")
    if out is not None:
        write_json(
            out, {"level": json.loads(level.model_dump_json()), "gpaw": gpaw, "model": learnt}
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=["structures", "compare"])
    parser.add_argument("path", type=Path, help="File to write, or the learning run.")
    parser.add_argument("--out", type=Path, help="JSON file for the numbers.")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    if args.verb == "structures":
        structures(args.path)
    else:
        compare(args.path, args.out, args.workers)
