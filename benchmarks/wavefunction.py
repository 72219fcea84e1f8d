"""Energies of small atoms and molecules against exact ones; a run that was cut off resumes.

    python benchmarks/wavefunction.py H2 He --budget 2min --evaluation 1min --out runs

Every system is trained for `budget` and evaluated with a fresh seed for `evaluation`, with
`--diffusion TIME` also by diffusion Monte Carlo; the results are merged into
results/wavefunction.json. Exact energies: He Pekeris (1959); H2 Kolos & Wolniewicz
(1968), Sims & Hagstrom (2006; H2 at other distances, in bohr); LiH Cencek & Rychlewski (2000); Be,
B Chakravorty et al. (1993). Be with the core potential ccECP: our own, by CCSD (exact for two
electrons) of PySCF in even-tempered functions up to l = 2, 3, 4 (-1.009961, -1.010075, -1.010116),
extrapolated.
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

from huozi.wavefunction import AnsatzConfig, Molecule, TrainConfig, build, judge, judge_projection
from huozi.wavefunction import reference_energies as references
from huozi.wavefunction.checkpoint import FORM
from huozi.workflow import RunFolder, parse_duration

H10 = "; ".join(f"H 0 0 {1.8 * k:.1f}" for k in range(10))
H2_CURVE = (1, 2, 3, 4)
SYSTEMS = {
    "H2 curve": (
        tuple(f"H 0 0 0; H 0 0 {distance}" for distance in H2_CURVE),
        {},
        (-1.124539720, -1.138132957, -1.057326269, -1.016390253),
    ),
    "H2": ("H 0 0 0; H 0 0 1.4", {}, -1.174475714),
    "H2 1.0": ("H 0 0 0; H 0 0 1", {}, -1.124539720),
    "H2 2.0": ("H 0 0 0; H 0 0 2", {}, -1.138132957),
    "H2 4.0": ("H 0 0 0; H 0 0 4", {}, -1.016390253),
    "He": ("He 0 0 0", {}, -2.903724377),
    "He triplet": ("He 0 0 0", {"spin": 2}, -2.175229378),
    "LiH": ("Li 0 0 0; H 0 0 3.015", {}, -8.070548),
    "Be": ("Be 0 0 0", {}, -14.667356),
    "Be ccECP": ("Be 0 0 0", {"ecp": "ccecp"}, -1.01015),
    "B": ("B 0 0 0", {}, -24.653866),
    "H10": (H10, {}, -5.6655),
}


def run_folder(name: str, options: argparse.Namespace) -> Path:
    """Folder of one system's training."""
    return Path(options.out) / f"{name} {options.ansatz}".replace(" ", "-")


def solve(name: str, options: argparse.Namespace) -> dict:
    """Train and evaluate one system, or several geometries by one network."""
    text, settings, exact = SYSTEMS[name]
    curve = isinstance(exact, tuple)
    texts, energies = (text, exact) if curve else ((text,), (exact,))
    molecules = [Molecule.parse(each, **settings) for each in texts]
    config = TrainConfig(
        ansatz=AnsatzConfig(kind=options.ansatz),
        budget=options.budget,
        steps=options.steps,
        walkers=options.walkers,
    )
    folder = run_folder(name, options)
    trained = build(molecules, config.ansatz).train(folder, config=config)
    course = list(RunFolder(folder).events("steps"))
    results = []
    for g, (molecule, energy) in enumerate(zip(molecules, energies)):
        if options.samples:
            found = trained.evaluate(geometry=g, steps=options.samples)
        else:
            found = trained.evaluate(geometry=g, budget=parse_duration(options.evaluation))
        steps = [event["geometries"][g] for event in course]
        unpaired = molecule.up - molecule.down
        verdict, numbers = judge(found, steps, references(molecule), unpaired)
        result = {"nuclei": texts[g]} | dataclasses.asdict(found) | numbers
        result |= {"verdict": verdict, "exact_Ha": energy}
        result["above_exact_mHa"] = (found.energy_Ha - energy) * 1e3
        if options.diffusion:
            lower = trained.diffuse(geometry=g, budget=parse_duration(options.diffusion))
            judged = judge_projection(lower, result["references_Ha"])
            above = {"above_exact_mHa": (lower.energy_Ha - energy) * 1e3, "verdict": judged}
            result["diffusion"] = dataclasses.asdict(lower) | above
        results.append(result)
    return ({"geometries": results} if curve else results[0]) | {
        "training_steps": trained.steps,
        "training_seconds": trained.seconds,
        "form": FORM,
        "walkers": trained.state.x.shape[0] * trained.state.x.shape[1],
        "quiet_machine": options.quiet,
    }


def main() -> None:
    """Run the systems named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("systems", nargs="+", choices=SYSTEMS)
    parser.add_argument("--ansatz", default="psiformer")
    parser.add_argument("--budget", default="10min")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--walkers", type=int)
    parser.add_argument("--evaluation", default="1min")
    parser.add_argument("--diffusion", help="Time of diffusion Monte Carlo. [default: none]")
    parser.add_argument("--samples", type=int, help="Of every walker, in place of --evaluation.")
    parser.add_argument("--out", default="wavefunction-runs")
    parser.add_argument("--quiet", action="store_true", help="Nothing else runs on the machine.")
    options = parser.parse_args()
    stored = FOLDER / "wavefunction.json"
    systems = json.loads(stored.read_text())["systems"] if stored.exists() else {}
    for name in options.systems:
        row = name if options.ansatz == "psiformer" else f"{name} {options.ansatz}"
        kept = {n: v for n, v in systems.get(row, {}).items() if n == "diffusion"}
        systems[row] = kept | solve(name, options) | {"command": " ".join(sys.argv)}
        save("wavefunction", {"systems": systems}, sys.argv)


if __name__ == "__main__":
    main()
