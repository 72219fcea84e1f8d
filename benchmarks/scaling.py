"""Cost of molecular dynamics in LAMMPS against the number of atoms, and over processes.

    python benchmarks/scaling.py [MODEL] [--only flat ranks drift]

Liquid water: 64 molecules, brought to 300 K, then replicated. `flat`: microseconds an atom and step
and memory from 1,000 to 1,000,000 atoms, one process, all threads. `ranks`: one process with two
threads against two processes with one, time and results. `drift`: energy at 0.5 fs.
Without MODEL one is trained first (1,500 steps on datasets/water). Prints one JSON object and
writes it to benchmarks/results/scaling.json after every case; cases that are there already are not
done again: delete the file to begin anew. docs/scaling.md explains the fit.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from results import FOLDER, run_lammps, save

from huozi import kernels, lammps

NAME = "scaling"
# Cells of 192 atoms along x, y, z.
FLAT = {"1k": (3, 2, 1), "12k": (4, 4, 4), "98k": (8, 8, 8), "1M": (18, 17, 18)}
STEPS = {"1k": 600, "12k": 100, "98k": 20, "1M": 6}
RANKS = {"12k": (4, 4, 4), "98k": (8, 8, 8)}
BOX = 12.42  # Å, of 64 molecules at 1 g/cm^3
DENSITY, REACH = 0.1002, 7.0  # atoms of water in a cubic ångström; cutoff and skin, Å
CLUSTER = {"cores": 64, "bytes_per_s": 12.5e9, "latency_s": 2e-6, "imbalance": 1.1}
THREADS = len(os.sched_getaffinity(0))

HEAD = """
units metal
newton on
read_data {data}
replicate {cells}
pair_style huozi {model}
pair_coeff * * H O
neighbor 1.0 bin
neigh_modify every 1 delay 0 check yes
timestep 0.0005
thermo_style custom step temp pe etotal press
thermo_modify format float %.12g
"""
EQUILIBRATE = """
velocity all create 300 1 loop geom
minimize 0 1e-2 200 2000
velocity all create 300 1 loop geom
fix 1 all nve
fix 2 all langevin 300 300 0.05 1
run 8000
write_data {out} nocoeff
"""
TIME = """
velocity all create 300 1 loop geom
fix 1 all nve
run {warm}
run {steps}
info memory
"""
COMPARE = """
fix 1 all nve
dump d all custom 10 {out} id fx fy fz
dump_modify d sort id format float %.17g
thermo 10
run 10
"""
DRIFT = """
velocity all create 300 2 loop geom
fix 1 all nve
fix 2 all langevin 300 300 0.1 3
run 2000
unfix 2
reset_timestep 0
thermo 100
run {steps}
"""


def run(text: str, folder: Path, ranks: int, threads: int) -> str:
    """Run an input; what LAMMPS says."""
    return run_lammps(lammps.command(ranks), text, folder, OMP_NUM_THREADS=str(threads))


def start(model: Path, folder: Path) -> Path:
    """64 molecules near 300 K."""
    from ase.io import write

    from huozi.benchmark import water

    path = folder / "water.data"
    if not path.exists():
        atoms = water()
        write(
            folder / "lattice.data",
            atoms,
            format="lammps-data",
            specorder=["H", "O"],
            masses=True,
            units="metal",
        )
        head = HEAD.format(data="lattice.data", cells="1 1 1", model=model)
        run(head + EQUILIBRATE.format(out=path), folder, 1, THREADS)
    return path


def cost(model: Path, data: Path, cells: tuple[int, ...], steps: int, ranks: int, threads: int):
    """Time and memory of a number of steps, neighbour searches included."""
    head = HEAD.format(data=data, cells=" ".join(map(str, cells)), model=model)
    with TemporaryDirectory() as folder:
        warm = max(2, steps // 10)
        said = run(head + TIME.format(warm=warm, steps=steps), Path(folder), ranks, threads)
    last = said[said.rindex("Loop time of") :]
    seconds, atoms = (
        float(re.findall(p, last)[0]) for p in (r"Loop time of (\S+)", r"(\d+) atoms")
    )
    parts = dict(re.findall(r"^(Pair|Neigh|Comm|Output|Modify) +\| \S+ +\| (\S+)", last, re.M))
    scale = 1e6 / steps / atoms
    return {
        "atoms": int(atoms),
        "steps": steps,
        "ranks": ranks,
        "threads": threads,
        "us_per_atom_step": seconds * scale,
        "parts_us_per_atom_step": {name: float(t) * scale for name, t in parts.items()},
        "ghosts_per_rank": float(re.findall(r"Nghost: +(\S+) ave", last)[0]),
        "neighbour_searches": int(re.findall(r"Neighbor list builds = (\d+)", last)[0]),
        "cpu_use_percent": float(re.findall(r"(\S+)% CPU use", last)[0]),
        "peak_memory_of_a_process_MB": float(re.findall(r"resident set size: (\S+)", last)[0]),
    }


def compare(model: Path, data: Path) -> dict:
    """Energy and forces of two processes against those of one, step by step."""
    found = []
    for ranks, threads in ((1, 2), (2, 1)):
        with TemporaryDirectory() as folder:
            head = HEAD.format(data=data, cells="4 4 4", model=model)
            out = Path(folder) / "dump"
            said = run(head + COMPARE.format(out=out), Path(folder), ranks, threads)
            table = said[said.index("PotEng") :].split("Loop time")[0].splitlines()[1:]
            energies = [float(line.split()[2]) for line in table]
            frames = [
                part.split("ITEM: TIMESTEP")[0].splitlines()[1:]
                for part in out.read_text().split("ITEM: ATOMS")[1:]
            ]
            forces = [[line.split()[1:] for line in frame] for frame in frames]
            found.append((np.array(energies), np.array(forces, float)))
    (e1, f1), (e2, f2) = found
    atoms = f1.shape[1]
    return {
        "atoms": atoms,
        "instructions": kernels.instruction_set(),
        "steps_apart": [0, 10],
        "energy_eV_per_atom": (np.abs(e1 - e2) / atoms).tolist(),
        "forces_largest_eV_A": np.abs(f1 - f2).max(axis=(1, 2)).tolist(),
        "forces_rms_eV_A": np.sqrt(((f1 - f2) ** 2).mean(axis=(1, 2))).tolist(),
        "rms_force_eV_A": np.sqrt((f1**2).mean(axis=(1, 2))).tolist(),
    }


def drift(model: Path, data: Path, steps: int = 10000) -> dict[str, float]:
    """Slope of the total energy at 0.5 fs and 300 K, its error from four parts of the run."""
    head = HEAD.format(data=data, cells="1 1 1", model=model)
    with TemporaryDirectory() as folder:
        said = run(head + DRIFT.format(steps=steps), Path(folder), 1, THREADS)
    table = said[said.rindex("PotEng") :].split("Loop time")[0].splitlines()[1:]
    rows = np.array([line.split() for line in table], float)
    time, energy = rows[:, 0] * 0.5e-3, 1000 * rows[:, 3] / 192
    parts = [
        np.polyfit(t, e, 1)[0] for t, e in zip(np.array_split(time, 4), np.array_split(energy, 4))
    ]
    return {
        "atoms": 192,
        "timestep_fs": 0.5,
        "length_ps": steps * 0.5e-3,
        "mean_temperature_K": float(rows[:, 1].mean()),
        "drift_meV_atom_ps": float(np.polyfit(time, energy, 1)[0]),
        "error": float(np.std(parts, ddof=1) / 2),
    }


def fit(cases: dict[str, dict]) -> dict[str, float]:
    """Constants of the cost model in docs/scaling.md.

    The time of an atom is the mean over sizes of all but communication; that of a ghost is
    the communication of two processes; waiting for each other is in it, so the least counts.
    """
    flat = [row for name, row in cases.items() if name.startswith("flat")]
    two = [row for row in cases.values() if row.get("ranks") == 2]
    own = [
        row["threads"] * (row["us_per_atom_step"] - row["parts_us_per_atom_step"]["Comm"])
        for row in flat
    ]
    ghost = [
        row["parts_us_per_atom_step"]["Comm"] * row["atoms"] / row["ghosts_per_rank"] for row in two
    ]
    held = np.array([row["atoms"] + row["ghosts_per_rank"] for row in flat])
    memory = np.array([row["peak_memory_of_a_process_MB"] for row in flat])
    (fixed, each), *_ = np.linalg.lstsq(np.stack([np.ones_like(held), held], 1), memory, rcond=None)
    return {
        "core_us_per_atom": float(np.mean(own)),
        "core_us_per_atom_spread": float(np.ptp(own)),
        "core_us_per_ghost": float(min(ghost)),
        "memory_fixed_MB": float(fixed),
        "memory_bytes_per_atom_or_ghost": float(each * 2**20),
    }


def extrapolate(found: dict[str, float], atoms: float, nodes: int) -> dict[str, float]:
    """Cost of a step on a cluster: docs/scaling.md, "Extrapolation", with its assumptions."""

    def ghosts(own: float) -> float:
        return DENSITY * ((own / DENSITY) ** (1 / 3) + 2 * REACH) ** 3 - own

    own = atoms / (nodes * CLUSTER["cores"])
    compute = (own * found["core_us_per_atom"] + ghosts(own) * found["core_us_per_ghost"]) * 1e-6
    # Positions go out and forces come back, 24 bytes each; six messages a way.
    sent = 48 * ghosts(atoms / nodes) / CLUSTER["bytes_per_s"] + 12 * CLUSTER["latency_s"]
    step = CLUSTER["imbalance"] * compute + sent
    memory = (own + ghosts(own)) * found["memory_bytes_per_atom_or_ghost"]
    return {
        "atoms": atoms,
        "nodes": nodes,
        "atoms_per_core": own,
        "ghosts_per_core": ghosts(own),
        "compute_ms": 1e3 * compute,
        "network_ms": 1e3 * sent,
        "step_ms": 1e3 * step,
        "ns_per_day": 86400 * 0.5e-6 / step,
        "s_per_step_per_atom": step / atoms,
        "memory_GB_per_node": CLUSTER["cores"] * (found["memory_fixed_MB"] * 2**20 + memory) / 1e9,
    }


def trained(folder: Path) -> Path:
    """A model of this project's water set."""
    from huozi.potential import TrainConfig, train
    from huozi.systems import read

    data = Path(__file__).parents[1] / "datasets" / "water" / "labels" / "round1_train.extxyz.gz"
    train(read([str(data)]), folder / "model", TrainConfig(steps=1500))
    return folder / "model" / "model.safetensors"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--only", nargs="*", default=["flat", "ranks", "drift"])
    parser.add_argument("--cases", nargs="*", default=list(FLAT))
    parser.add_argument("--work", type=Path, default=Path("scaling-run"))
    options = parser.parse_args()
    options.work.mkdir(exist_ok=True)
    folder = options.work.resolve()
    model = options.model.resolve() if options.model else trained(folder)
    data, path = start(model, folder), FOLDER / f"{NAME}.json"
    done = json.loads(path.read_text())["cases"] if path.exists() else {}

    def case(name: str, function, *arguments) -> None:
        if name not in done:
            done[name] = function(*arguments)
            result: dict = {"instructions": kernels.instruction_set(), "cases": done}
            if sum("flat" in key or "ranks 2" in key for key in done) > 4:
                result["fit"] = fit(done)
                result["assumed"] = CLUSTER
                result["extrapolated"] = [
                    extrapolate(result["fit"], 1e8, nodes) for nodes in (1000, 3000, 10000)
                ]
            save(NAME, result, sys.argv)

    for size in options.cases:
        if "flat" in options.only:
            case(f"flat {size}", cost, model, data, FLAT[size], STEPS[size], 1, THREADS)
        if "ranks" in options.only and size in RANKS:
            for ranks, threads in ((1, 2), (2, 1)):
                name = f"{size} ranks {ranks} threads {threads}"
                case(name, cost, model, data, RANKS[size], STEPS[size], ranks, threads)
    if "ranks" in options.only:
        case("two processes against one", compare, model, data)
    if "drift" in options.only:
        case("drift", drift, model, data)


if __name__ == "__main__":
    main()
