"""Cost of energy and forces per atom against the number of atoms, one process per size.

    python benchmarks/speed.py [--model MODEL]

Liquid water replicated from 192 atoms to about 100,000; plain JAX (xla) and the compiled
kernel, random parameters of the default size unless a model is given (the cost does not depend
on their values). Prints one
JSON object and writes it to benchmarks/results/speed.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
REPLICAS = (1, 2, 4, 8)


def water(replicas: int):
    """64 water molecules at 1 g/cm^3 on a lattice, turned and shaken, and replicated."""
    import numpy as np
    from ase import Atoms
    from ase.build import molecule
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(0)
    edge, box = 12.42, Atoms()
    for cell in np.ndindex(4, 4, 4):
        one = molecule("H2O")
        rotation = Rotation.random(random_state=rng).as_matrix()
        one.positions = (one.positions - one.positions[0]) @ rotation.T
        one.positions += (np.array(cell) + 0.5) * edge / 4 + rng.normal(scale=0.2, size=3)
        box += one
    box.set_cell([edge] * 3)
    box.pbc = True
    return box.repeat(replicas)


def measure(replicas: int, path: str | None, engine: str) -> dict[str, float]:
    """Best of five timings, after compilation; peak memory of the process."""
    from huozi.arrays import jax, jnp
    from huozi.neighbors import build_neighbors
    from huozi.potential import Model, MomentConfig, load_model
    from huozi.potential.moment import init

    config = MomentConfig()
    model = (
        load_model(path)
        if path
        else Model(config, (1, 8), (0.0, 0.0), init(jax.random.key(0), config, 2))
    )
    model = replace(model, engine=engine)
    atoms = water(replicas)
    begun = time.perf_counter()
    table = build_neighbors(atoms.positions, atoms.cell.array, atoms.pbc, model.cutoff)
    search = time.perf_counter() - begun
    evaluate = jax.jit(lambda bound, x, cell, table: bound(x, cell, table))
    arguments = (
        model.bind(atoms.numbers),
        jnp.asarray(atoms.positions),
        jnp.asarray(atoms.cell.array),
        jax.device_put(table),
    )
    jax.block_until_ready(evaluate(*arguments))
    repeats, best = max(1, 40000 // len(atoms)), float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(repeats):
            result = evaluate(*arguments)
        jax.block_until_ready(result)
        best = min(best, (time.perf_counter() - begun) / repeats)
    return {
        "engine": engine,
        "atoms": len(atoms),
        "us_per_atom": round(1e6 * best / len(atoms), 2),
        "neighbor_search_us_per_atom": round(1e6 * search / len(atoms), 2),
        "peak_memory_MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> None:
    """Measure every size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model")
    parser.add_argument("--replicas", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.replicas:
        print(json.dumps(measure(options.replicas, options.model, options.engine)))
        return
    rows = []
    for engine, replicas in product(("xla", "kernel"), REPLICAS):
        command = [sys.executable, __file__, "--replicas", str(replicas), "--engine", engine]
        command += ["--model", options.model] if options.model else []
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append(json.loads(found.stdout))
        print(rows[-1], file=sys.stderr)
    from results import save

    save("speed", {"rows": rows}, sys.argv)


if __name__ == "__main__":
    main()
