"""Time molecular dynamics with each engine, each in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from huozi import kernels, lammps
from huozi.benchmark.cost import model_cost
from huozi.potential import Model, load_model
from huozi.potential.architectures import kernel_refusal
from huozi.systems import System

if TYPE_CHECKING:
    from ase import Atoms

ENGINES = ("kernel", "xla", "lammps")
TIMESTEP = 0.5  # fs

INPUT = """\
units metal
boundary {boundary}
read_data atoms.data
pair_style huozi {model}
pair_coeff * * {elements}
neighbor 0.6 bin
neigh_modify every 1 delay 0 check yes
velocity all create 300 1 loop geom
fix 1 all nve
timestep {timestep}
run {steps}
info memory
"""


@dataclass(frozen=True)
class Speed:
    """Cost of a step of molecular dynamics with one engine.

    Parameters
    ----------
    engine : str
        kernel, xla or lammps.
    atoms : int
    steps : int
        That were timed, neighbour searches included.
    us_per_atom_step : float
        Wall time, µs.
    ns_per_day : float
        At a time step of 0.5 fs.
    peak_memory_MB : float
        Resident memory of the process at its largest.
    fraction_of_peak : float or None
        Of the operations a second that a product of matrices reaches on as many threads.
    """

    engine: str
    atoms: int
    steps: int
    us_per_atom_step: float
    ns_per_day: float
    peak_memory_MB: float
    fraction_of_peak: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def water() -> Atoms:
    """64 water molecules at 1 g/cm^3 on a lattice, turned at random: 192 atoms."""
    from ase import Atoms
    from ase.build import molecule
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(0)
    edge, box = 12.42, Atoms()
    for site in np.ndindex(4, 4, 4):
        one = molecule("H2O")
        turn = Rotation.random(random_state=rng).as_matrix()
        one.positions = (one.positions - one.positions[0]) @ turn.T
        one.positions += (np.array(site) + 0.5) * edge / 4
        box += one
    box.set_cell([edge] * 3)
    box.pbc = True
    return box


def replicate(atoms: Atoms, target: int) -> Atoms:
    """Repeat a cell, its shortest vector first, until it holds at least `target` atoms.

    Raises
    ------
    ValueError
        If it would have to grow along a direction that is not periodic.
    """
    repeats = np.ones(3, int)
    while len(atoms) * repeats.prod() < target:
        if not atoms.pbc.any():
            raise ValueError(f"{len(atoms)} atoms without a periodic cell cannot be {target}")
        lengths = np.where(atoms.pbc, atoms.cell.lengths() * repeats, np.inf)
        repeats[np.argmin(lengths)] += 1
    return atoms.repeat(repeats)


def benchmark(
    model: str | Path, atoms: Atoms, engines: tuple[str, ...] | None = None
) -> list[Speed]:
    """Time a model with each engine on as many threads as OMP_NUM_THREADS, or the machine, has.

    Parameters
    ----------
    model : path
        Model file, or the run folder that holds it.
    atoms : ase.Atoms
    engines : tuple of {"kernel", "xla", "lammps"}, optional
        All that are installed and can evaluate this model by default.

    Returns
    -------
    list of Speed

    Raises
    ------
    ValueError
        If the model does not know an element, or an engine fails.
    """
    loaded = load_model(model)
    loaded.bind(atoms.numbers)  # refuses elements that the model does not know
    path = Path(model).resolve()
    path = path / "model.safetensors" if path.is_dir() else path
    threads = int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))
    peak = kernels.machine_peak(threads)[0] if kernels.is_available() else None
    cost = model_cost(loaded, System.from_atoms(atoms))
    found = []
    for engine in engines or usable_engines(loaded, atoms):
        with TemporaryDirectory(prefix="huozi-benchmark-") as folder:
            steps = _steps(engine, len(atoms))
            seconds, memory = _time_engine(engine, path, atoms, steps, threads, Path(folder))
        time = seconds / len(atoms) / steps
        found.append(
            Speed(
                engine=engine,
                atoms=len(atoms),
                steps=steps,
                us_per_atom_step=1e6 * time,
                ns_per_day=86400 * TIMESTEP * 1e-6 * steps / seconds,
                peak_memory_MB=memory,
                fraction_of_peak=cost.flops / time / peak if peak and cost else None,
            )
        )
    return found


def installed_engines() -> tuple[str, ...]:
    """Those that can run here."""
    ready = {"kernel": kernels.is_available(), "xla": True, "lammps": lammps.is_ready()}
    return tuple(engine for engine in ENGINES if ready[engine])


def usable_engines(model: Model, atoms: Atoms) -> tuple[str, ...]:
    """Of the installed engines those that can evaluate a model, and a structure."""
    single = model.uses_kernel()
    in_lammps = kernel_refusal(model.config, model.params) is None and atoms.cell.rank == 3
    ready = {"kernel": single, "xla": True, "lammps": in_lammps}
    return tuple(engine for engine in installed_engines() if ready[engine])


def _steps(engine: str, atoms: int) -> int:
    """Enough for some ten seconds on a slow machine."""
    guess = {"kernel": 5.0, "xla": 25.0, "lammps": 5.0}[engine]
    return int(np.clip(1e7 / (guess * atoms), 20, 2000))


def _time_engine(
    engine: str, model: Path, atoms: Atoms, steps: int, threads: int, folder: Path
) -> tuple[float, float]:
    """Seconds of all steps, and the largest resident memory of the process, MB."""
    if engine == "lammps":
        write_input(folder, model, atoms, steps)
        output, _ = _run([*lammps.command(), "-in", "in.lammps", "-nocite"], folder, threads)
        # Its own word, as Linux counts what started it into the memory of a small process.
        loop = re.search(r"Loop time of (\S+) on", output)
        resident = re.search(r"resident set size: (\S+) Mbyte", output)
        if loop is None or resident is None:
            raise ValueError(f"LAMMPS did not finish: {output.strip()[-500:]}")
        return float(loop[1]), float(resident[1])
    from ase.io import write

    write(folder / "start.extxyz", atoms)
    program = f"from huozi.benchmark.run import python_engine; python_engine({engine!r}, {steps})"
    output, memory = _run([sys.executable, "-c", program, str(model)], folder, threads)
    return float(json.loads(output.splitlines()[-1])["seconds"]), memory


def python_engine(engine: Literal["kernel", "xla"], steps: int) -> None:
    """Run in a process of its own, with the model as argument; prints the seconds of all steps."""
    from ase.io import read

    from huozi.dynamics import MDConfig, run_md

    config = MDConfig(
        ensemble="nve",
        steps=steps + 10,  # the first ten are compilation, and not counted
        timestep=TIMESTEP,
        thermo_every=100,
        trajectory_every=1000,
        checkpoint_every=10000,
        max_force=1e6,
        max_temperature=1e6,
    )
    model = replace(load_model(sys.argv[1]), engine=engine)
    atoms = read("start.extxyz")
    assert not isinstance(atoms, list)
    result = run_md(model, System.from_atoms(atoms), config)
    print(json.dumps({"seconds": 86400e-6 * TIMESTEP * steps / result.ns_per_day}))  # noqa: T201


def write_input(folder: Path, model: Path, atoms: Atoms, steps: int) -> None:
    """Write the files of a LAMMPS run at constant energy: in.lammps, atoms.data."""
    from ase.io.lammpsdata import write_lammps_data

    symbols = sorted(set(atoms.get_chemical_symbols()))
    write_lammps_data(folder / "atoms.data", atoms, specorder=symbols, masses=True, units="metal")
    text = INPUT.format(
        boundary=" ".join("p" if p else "f" for p in atoms.pbc),
        model=model,
        elements=" ".join(symbols),
        timestep=TIMESTEP / 1000,
        steps=steps,
    )
    (folder / "in.lammps").write_text(text, encoding="utf-8")


def _run(command: list[str], folder: Path, threads: int) -> tuple[str, float]:
    """Return standard output of a process and its largest resident memory, MB."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    with (folder / "output").open("w+") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode:
        raise ValueError(f"{command[0]} failed: {text.strip()[-500:]}")
    return text, usage.ru_maxrss / 1024
