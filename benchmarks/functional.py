"""A learned functional beside HF, PBE and B3LYP-D3(BJ) on held-out CCSD/cc-pVDZ labels.

    python benchmarks/functional.py MODEL... [--others HF PBE]

For tetramers: error of the energy (learned functionals) and of energies relative to their mean
(all methods), kcal/mol per molecule, and of forces where the labels have them, mHa/A; a learned
functional also without self-consistency (DeePHF). For rings: error at each point relative to the
end with the largest d. For H2+, where Hartree-Fock is exact: error of the energy relative to H and
a proton. Cost: processor time of the field over that of the base method, in turn, at PySCF's
tolerances and one thread. Writes benchmarks/results/functional.json after each method; what the
file has of other methods stays. B3LYP-D3(BJ) needs the package pyscf-dispersion; without it the row
is left out.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from pyscf import gto, lib
from results import FOLDER, save

from huozi.functional import NeuralKS, load_model
from huozi.functional.scf import base_method
from huozi.units import BOHR

KCAL = 627.5094740631
DEEPHF = ", DeePHF"
STRETCHED = (0.8, 1.06, 1.5, 2.0, 3.0, 5.0, 8.0)


def molecule(positions: list[list[float]]) -> gto.Mole:
    """Waters in the order O H H; bohr."""
    symbols = ["O", "H", "H"] * (len(positions) // 3)
    return gto.M(atom=list(zip(symbols, positions)), unit="Bohr", basis="cc-pvdz", verbose=0)


def method(name: str, mol: gto.Mole, models: dict[str, Any]) -> Any:
    """Mean field by its name in the table."""
    if name in models:
        model = models[name]
        return NeuralKS(mol, model.base, model, self_consistent=not name.endswith(DEEPHF))
    return base_method(mol, name.lower().replace("b3lyp-d3(bj)", "b3lyp-d3bj"))


def errors(name: str, labels: dict[str, Any], models: dict[str, Any]) -> dict[str, Any]:
    """Errors of one method, and what it took."""
    converged, count, started = 0, 0, time.process_time()
    deviations: list[np.ndarray] = []

    def error(record: dict[str, Any]) -> float:
        nonlocal converged, count
        mf = method(name, molecule(record["positions_bohr"]), models)
        energy = float(mf.kernel())
        converged, count = converged + mf.converged, count + 1
        if "forces_Ha_per_bohr" in record:
            forces = -mf.nuc_grad_method().kernel()
            deviations.append((forces - record["forces_Ha_per_bohr"]) * 1e3 / BOHR)
        return (energy - record["ccsd_Ha"]) * KCAL

    tetramers = np.array([error(r) for r in labels["tetramers"]]) / 4
    found: dict[str, Any] = {
        "tetramer_errors_kcal_per_mol_per_molecule": tetramers.round(3).tolist(),
        "tetramer_mae_kcal_per_mol_per_molecule": float(np.abs(tetramers).mean()),
        "tetramer_relative_mae_kcal_per_mol_per_molecule": float(
            np.abs(tetramers - tetramers.mean()).mean()
        ),
    }
    found["tetramer_force_rmse_mHa_per_A"] = float(np.sqrt(np.mean(np.square(deviations))))
    found["tetramers_with_forces"] = len(deviations)
    for n, points in labels["rings"].items():
        values = [error(p) for p in points]
        found[f"ring_{n}_error_from_end_kcal_per_mol"] = {
            str(p["d_A"]): round(v - values[-1], 3) for p, v in zip(points, values)
        }
    found |= {"converged": converged, "fields": count}
    return found | {"processor_s": round(time.process_time() - started, 1)}


def stretched_ion(name: str, models: dict[str, Any]) -> dict[str, float]:
    """Error of E(H2+) - E(H) at each distance in Å, kcal/mol; in this basis UHF is exact."""

    def binding(name: str, distance: float) -> float:
        ion = gto.M(atom=f"H 0 0 0; H 0 0 {distance}", charge=1, spin=1, basis="cc-pvdz", verbose=0)
        atom = gto.M(atom="H 0 0 0", spin=1, basis="cc-pvdz", verbose=0)
        energies = [float(method(name, mol, models).kernel()) for mol in (ion, atom)]
        return (energies[0] - energies[1]) * KCAL

    return {str(r): round(binding(name, r) - binding("HF", r), 2) for r in STRETCHED}


def costs(model: Any, labels: dict[str, Any], repeats: int = 3) -> dict[str, Any]:
    """Processor time of the field over that of the base method, least of a few repeats each."""

    def seconds(make: Callable[[gto.Mole], Any], mol: gto.Mole) -> float:
        mf = make(mol.copy())
        started = time.process_time()
        mf.kernel()
        return time.process_time() - started

    whole = [r["positions_bohr"] for r in labels["tetramers"][:4]]
    trimers = [p["positions_bohr"] for p in labels["rings"]["3"]] + [x[:9] for x in whole]
    cases = {"monomers": [x[:3] for x in whole], "trimers": trimers, "tetramers": whole}
    cases["hexamer"] = [labels["rings"]["6"][-1]["positions_bohr"]]
    makers = {
        "learned": lambda mol: NeuralKS(mol, model.base, model),
        "base": lambda mol: base_method(mol, model.base),
    }
    found = {}
    seconds(makers["learned"], molecule(whole[0]))  # compiles
    for case, geometries in cases.items():
        ratios, times = [], []
        for positions in geometries:
            taken = {name: [seconds(make, molecule(positions))] for name, make in makers.items()}
            for _ in range(repeats - 1):
                for name, make in makers.items():
                    taken[name].append(seconds(make, molecule(positions)))
            ratios.append(min(taken["learned"]) / min(taken["base"]))
            times.append(min(taken["base"]))
        found[case] = {
            "fields": len(geometries),
            "base_s": round(float(np.mean(times)), 3),
            "ratio": round(float(np.mean(ratios)), 2),
            "largest_ratio": round(max(ratios), 2),
        }
    return found


def main() -> None:
    """Compute, print; save after each method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--labels", type=Path, default=FOLDER / "functional-labels.json")
    parser.add_argument("--others", nargs="*", default=["HF", "PBE", "B3LYP-D3(BJ)"])
    options = parser.parse_args()
    lib.num_threads(1)
    labels = json.loads(options.labels.read_text())
    models: dict[str, Any] = {}
    for path in options.models:
        models |= dict.fromkeys((name := f"huozi ({path.stem})", name + DEEPHF), load_model(path))
    stored = FOLDER / "functional.json"
    kept = json.loads(stored.read_text()) if stored.exists() else {}
    names = ("methods", "h2_ion_error_kcal_per_mol", "cost_over_base")
    result: dict[str, Any] = {name: kept.get(name, {}) for name in names}
    for name in (*models, *options.others):
        if name == "B3LYP-D3(BJ)" and not find_spec("pyscf.dispersion"):
            print("B3LYP-D3(BJ) needs pyscf-dispersion: left out", file=sys.stderr)
            continue
        result["methods"][name] = errors(name, labels, models)
        result["h2_ion_error_kcal_per_mol"][name] = stretched_ion(name, models)
        if name in models and not name.endswith(DEEPHF):
            result["cost_over_base"][name] = costs(models[name], labels)
        given = [Path(x).name if x.endswith(".safetensors") else x for x in sys.argv[1:]]
        command = ["benchmarks/functional.py", *given]
        save("functional", result, command)


if __name__ == "__main__":
    main()
