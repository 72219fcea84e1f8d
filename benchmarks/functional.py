"""A learned functional beside HF, PBE and B3LYP-D3(BJ) on held-out CCSD/cc-pVDZ labels.

    python benchmarks/functional.py MODEL... [--labels benchmarks/results/functional-labels.json]

For tetramers: error of the energy (learned functionals) and of energies relative to their mean
(all methods), kcal/mol per molecule. For rings: error at each point relative to the end with the
largest d. Writes benchmarks/results/functional.json. B3LYP-D3(BJ) needs the package
pyscf-dispersion; without it the row is left out.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from pyscf import dft, gto, scf
from results import FOLDER, save

from huozi.functional import NeuralKS, load_model

KCAL = 627.5094740631


def molecule(record: dict[str, Any]) -> gto.Mole:
    """Waters in the order O H H."""
    positions = record["positions_bohr"]
    symbols = ["O", "H", "H"] * (len(positions) // 3)
    return gto.M(atom=list(zip(symbols, positions)), unit="Bohr", basis="cc-pvdz", verbose=0)


def method(name: str, mol: gto.Mole, models: dict[str, Any]) -> Any:
    """Mean field by its name in the table."""
    if name in models:
        return NeuralKS(mol, models[name].base, models[name])
    if name == "HF":
        return scf.RHF(mol)
    mf = dft.RKS(mol)
    mf.xc = name.lower().replace("b3lyp-d3(bj)", "b3lyp-d3bj")
    return mf


def errors(name: str, labels: dict[str, Any], models: dict[str, Any]) -> dict[str, Any]:
    """Errors of one method, and what it took."""
    converged, count, started = 0, 0, time.process_time()

    def error(record: dict[str, Any]) -> float:
        nonlocal converged, count
        mf = method(name, molecule(record), models)
        energy = float(mf.kernel())
        converged, count = converged + mf.converged, count + 1
        return (energy - record["ccsd_Ha"]) * KCAL

    tetramers = np.array([error(r) for r in labels["tetramers"]]) / 4
    found: dict[str, Any] = {}
    if len(tetramers):
        found["tetramer_mae_kcal_per_mol_per_molecule"] = float(np.abs(tetramers).mean())
    if len(tetramers) > 1:
        spread = np.abs(tetramers - tetramers.mean()).mean()
        found["tetramer_relative_mae_kcal_per_mol_per_molecule"] = float(spread)
    for n, points in labels["rings"].items():
        values = [error(p) for p in points]
        found[f"ring_{n}_error_from_end_kcal_per_mol"] = {
            str(p["d_A"]): round(v - values[-1], 3) for p, v in zip(points, values)
        }
    found |= {"converged": converged, "fields": count}
    return found | {"processor_s": round(time.process_time() - started, 1)}


def main() -> None:
    """Compute, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--labels", type=Path, default=FOLDER / "functional-labels.json")
    options = parser.parse_args()
    labels = json.loads(options.labels.read_text())
    models = {f"huozi ({path.stem})": load_model(path) for path in options.models}
    others = ["HF", "PBE"] + (["B3LYP-D3(BJ)"] if find_spec("pyscf.dispersion") else [])
    table = {}
    for name in (*models, *others):
        table[name] = errors(name, labels, models)
        print(name, table[name], file=sys.stderr, flush=True)
    save("functional", {"methods": table}, sys.argv)


if __name__ == "__main__":
    main()
