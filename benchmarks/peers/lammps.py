"""The same DeepPot-SE weights in LAMMPS, by deepmd-kit (compressed) and by Huozi.

    benchmarks/peers/install.sh FOLDER
    python benchmarks/peers/lammps.py --peers FOLDER --data DATA... [--cells 1 4] [--work FOLDER]

deepmd-kit trains a model of water (25-50-100, axis 16, fitting 240x3, float32), freezes and
compresses it; Huozi converts the frozen one. The first frame of DATA, repeated, then gets
a single energy and a run by both, in turns. Each has the better of two threads and of two
processes. Energies are compared with deepmd-kit's in single precision, which is timed, and with
those of the same weights in its default, double precision, compressed likewise. Nothing else
should run meanwhile. Writes benchmarks/results/peers-lammps.json.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import h5py
import numpy as np
from ase.io import write as write_atoms

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from results import run_lammps, save  # noqa: E402
from run_deepmd import settings  # noqa: E402

from huozi import lammps  # noqa: E402
from huozi.systems import read, write  # noqa: E402

STEPS = 2000  # of the training
CORES = len(os.sched_getaffinity(0))
INPUT = """
units metal
newton on
atom_style atomic
read_data water.data
replicate {cells} {cells} {cells}
pair_style {style}
pair_coeff * * {types}
neighbor 1.0 bin
neigh_modify every 1 delay 0 check yes
timestep 0.0005
velocity all create 300 1 loop geom
fix 1 all nve
thermo_style custom step temp pe
thermo_modify format float %.12g
run {warm}
run {steps}
"""
# Run by deepmd-kit's Python: its converted graphs lack the learning rate that `dp compress` wants.
COMPLETE = """
import json, sys
from deepmd.tf.env import tf
path, rate = sys.argv[1], json.loads(sys.argv[2])
graph = tf.GraphDef()
graph.ParseFromString(open(path, "rb").read())
[node] = [node for node in graph.node if node.name == "train_attr/training_script"]
script = node.attr["value"].tensor.string_val
script[0] = json.dumps(json.loads(script[0]) | {"learning_rate": rate}).encode()
open(path, "wb").write(graph.SerializeToString())
"""


def make_models(peers: Path, data: object, work: Path) -> list[str]:
    """Train, freeze, compress and convert; the type map. Models that exist stay."""
    dp, run = str(peers / "deepmd" / "bin" / "dp"), work / "deepmd"
    if not (run / "compressed.pb").exists():
        write(data, work / "train", "deepmd/npy")
        run.mkdir(exist_ok=True)
        (run / "input.json").write_text(json.dumps(settings(work, STEPS)))
        for command in (
            [dp, "--tf", "train", "input.json"],
            [dp, "--tf", "freeze", "-o", "frozen.pb"],
            [dp, "convert-backend", "frozen.pb", "model.dp"],
            [dp, "--tf", "compress", "-i", "frozen.pb", "-o", "compressed.pb"],
        ):
            subprocess.run(command, cwd=run, check=True, stdout=sys.stderr)
    converted = work / "model.safetensors"
    if not converted.exists():
        huozi = str(Path(sys.executable).with_name("huozi"))
        convert = [huozi, "convert", str(run / "model.dp"), str(converted), "--float32"]
        subprocess.run(convert, check=True, stdout=sys.stderr)
    if not (run / "double.pb").exists():
        make_double(peers, run, settings(work, STEPS)["learning_rate"])
    return (work / "train" / "type_map.raw").read_text().split()


def make_double(peers: Path, run: Path, rate: dict) -> None:
    """deepmd-kit's own program of the same weights in double precision, compressed."""
    binary = peers / "deepmd" / "bin"
    with h5py.File(run / "model.dp") as single, h5py.File(run / "double.dp", "w") as double:
        tree = single.attrs["json"].replace('"precision":"float32"', '"precision":"float64"')
        double.attrs["json"] = tree
        for name, value in single.items():
            double[name] = np.asarray(value[()], np.float64)
    for command in (
        [str(binary / "dp"), "convert-backend", "double.dp", "converted.pb"],
        [str(binary / "python"), "-c", COMPLETE, "converted.pb", json.dumps(rate)],
        [str(binary / "dp"), "--tf", "compress", "-i", "converted.pb", "-o", "double.pb"],
    ):
        subprocess.run(command, cwd=run, check=True, stdout=sys.stderr)


def measure(
    command: list[str],
    style: str,
    types: list[str],
    cells: int,
    threads: int,
    work: Path,
    steps: int,
):
    """Energy at the start, eV, and microseconds an atom and step."""
    text = INPUT.format(
        cells=cells, style=style, types=" ".join(types), warm=max(3, steps // 10), steps=steps
    )
    said = run_lammps(
        command,
        text,
        work,
        OMP_NUM_THREADS=str(threads),
        DP_INTRA_OP_PARALLELISM_THREADS=str(threads),
        DP_INTER_OP_PARALLELISM_THREADS="1",
        TF_CPP_MIN_LOG_LEVEL="2",
    )
    loops = re.findall(r"Loop time of (\S+) on .* (\d+) steps with (\d+) atoms", said)
    seconds, done, atoms = (float(x) for x in loops[-1])
    table = said.split("PotEng", 1)[1].splitlines()
    energy = float(table[1].split()[2])
    return {
        "atoms": int(atoms),
        "energy_eV": energy,
        "us_per_atom_step": 1e6 * seconds / done / atoms,
    }


def main() -> None:
    """Models, then both programs in turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--cells", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    data = read(options.data)
    with tempfile.TemporaryDirectory() as temporary:
        work = (options.work or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        types = make_models(options.peers.resolve(), data, work)
        atoms = data[0].system.to_atoms()
        write_atoms(
            work / "water.data",
            atoms,
            format="lammps-data",
            specorder=types,
            masses=True,
            units="metal",
        )
        binary = options.peers.resolve() / "deepmd" / "bin"
        alone = [str(binary / "lmp")]
        together = [str(binary / "mpirun"), "-n", str(CORES), *alone]
        theirs = f"deepmd {work / 'deepmd' / 'compressed.pb'}"
        ours = f"huozi {work / 'model.safetensors'}"
        cases = []
        for cells in options.cells:
            steps = max(10, 400 // cells**3)
            run = partial(measure, types=types, cells=cells, work=work)
            by = {
                "deepmd-kit, threads": run(alone, theirs, threads=CORES, steps=steps),
                "huozi, threads": run(lammps.command(1), ours, threads=CORES, steps=steps),
                "deepmd-kit, processes": run(together, theirs, threads=1, steps=steps),
                "huozi, processes": run(lammps.command(CORES), ours, threads=1, steps=steps),
            }
            best = {
                program: min(v["us_per_atom_step"] for k, v in by.items() if k.startswith(program))
                for program in ("deepmd-kit", "huozi")
            }
            exact = f"deepmd {work / 'deepmd' / 'double.pb'}"
            exact = run(alone, exact, threads=CORES, steps=1)
            ours_eV, count = (by["huozi, threads"][key] for key in ("energy_eV", "atoms"))
            apart = {
                "single": abs(ours_eV - by["deepmd-kit, threads"]["energy_eV"]) / count,
                "double": abs(ours_eV - exact["energy_eV"]) / count,
            }
            cases.append(
                {
                    "atoms": count,
                    "runs": by,
                    "ratio": best["deepmd-kit"] / best["huozi"],
                    "energy_difference_eV_per_atom": apart,
                }
            )
            print(json.dumps(cases[-1], indent=1), file=sys.stderr)
    save("peers-lammps", {"cases": cases}, sys.argv)


if __name__ == "__main__":
    main()
