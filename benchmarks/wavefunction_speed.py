"""Time of local energies and of Metropolis moves of every ansatz, in turn, beside Psiformer.

    python benchmarks/wavefunction_speed.py --walkers 256 --repeats 25

Sizes are the settings' own; the shortest of the repeats counts. The results are stored in
results/wavefunction-speed.json.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command does; before NumPy

import numpy as np
from results import save

from huozi.arrays import jax
from huozi.wavefunction import AnsatzConfig, Molecule, build, sampler
from wavefunction import SYSTEMS

KINDS = ("psiformer", "ferminet", "lapnet", "pairproduct")


def measure(text: str, walkers: int, repeats: int) -> dict[str, dict[str, float]]:
    """Milliseconds of the local energies of all walkers, and of ten moves of all."""
    molecule = Molecule.parse(text)
    x = sampler.initial_walkers(np.random.default_rng(0), molecule, walkers)
    key, width = jax.random.key(0), np.asarray(0.3)
    work = {}
    for kind in KINDS:
        problem = build(molecule, AnsatzConfig(kind=kind)).problems()[0]
        params = problem.wave_function.init(0, molecule)
        work[kind] = {
            "local_energies_ms": lambda p=problem, q=params: p.energies(q, x),
            "ten_moves_ms": lambda p=problem, q=params: p.sweep(q, x, key, width, 10),
        }
    found: dict[str, dict[str, float]] = {kind: {} for kind in KINDS}
    for _ in range(repeats + 1):  # the first compiles
        for kind, functions in work.items():
            for name, function in functions.items():
                begun = time.perf_counter()
                jax.block_until_ready(function())
                spent = 1e3 * (time.perf_counter() - begun)
                found[kind][name] = min(spent, found[kind].get(name, np.inf))
    return found


def main() -> None:
    """Measure LiH and a chain of ten hydrogen atoms."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--walkers", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=25)
    options = parser.parse_args()
    systems = {
        name: measure(SYSTEMS[name][0], options.walkers, options.repeats) for name in ("LiH", "H10")
    }
    save("wavefunction-speed", {"walkers": options.walkers, "systems": systems}, sys.argv)


if __name__ == "__main__":
    main()
