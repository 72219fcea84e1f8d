"""Excited states of small systems against exact energies; a run that was cut off resumes.

    python benchmarks/wavefunction_states.py He --steps 600 --samples 200 --out runs

All states of a system come from one run. Exact energies (hartree): hydrogen; He Pekeris (1959);
H2 at 1.4 bohr, triplet: full configuration interaction (PySCF, aug-cc-pVQZ); Be, 2s2p 3P: the
exact ground state and the excitation measured, 2.7250 eV above it (NIST).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command does; before NumPy

from results import FOLDER, save

from huozi.units import HARTREE
from huozi.wavefunction import AnsatzConfig, Molecule, TrainConfig, build
from huozi.wavefunction.checkpoint import FORM

SYSTEMS: dict[str, tuple[str, int, tuple[float, ...]]] = {
    "H": ("H 0 0 0", 1, (-0.5, -0.125, -0.125, -0.125, -0.125)),
    "He": ("He 0 0 0", 0, (-2.903724377, -2.175229378, -2.145974046)),
    "H2": ("H 0 0 0; H 0 0 1.4", 0, (-1.174475714, -0.78400)),
    "Be": ("Be 0 0 0", 0, (-14.667356, -14.667356 + 2.7250 / HARTREE)),
}


def solve(name: str, options: argparse.Namespace) -> dict:
    """Train and evaluate all states of one system."""
    text, spin, exact = SYSTEMS[name]
    ansatz = AnsatzConfig(states=len(exact))
    config = TrainConfig(ansatz=ansatz, steps=options.steps)
    run = build(Molecule.parse(text, spin=spin), ansatz)
    trained = run.train(Path(options.out) / f"{name}-states", config=config)
    found = trained.evaluate_states(steps=options.samples)
    energies = found.states["energy_Ha"]
    return dataclasses.asdict(found) | {
        "nuclei": text,
        "exact_Ha": exact,
        "above_exact_mHa": [(e - x) * 1e3 for e, x in zip(energies, exact)],
        "form": FORM,
        "training_steps": trained.steps,
        "training_seconds": trained.seconds,
    }


def main() -> None:
    """Run the systems named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("systems", nargs="+", choices=SYSTEMS)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--samples", type=int, default=200, help="Of every walker.")
    parser.add_argument("--out", default="wavefunction-runs")
    options = parser.parse_args()
    stored = FOLDER / "wavefunction-states.json"
    systems = json.loads(stored.read_text())["systems"] if stored.exists() else {}
    for name in options.systems:
        systems[name] = solve(name, options)
        save("wavefunction-states", {"systems": systems}, sys.argv)


if __name__ == "__main__":
    main()
