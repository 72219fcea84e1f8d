"""Does dynamics with a model visit the states that its data come from? And with quantum nuclei?

    python benchmarks/overlap.py MODEL DATA... --temperatures 300 330 --out FOLDER [--beads 8]

Ten picoseconds at each temperature; g(r) of O-O, O-H and H-H against the data's own frames, with
error bars. Which temperature the frames were sampled at is judged by what does not depend on g(r):
their mean energy, and the spread of the O-H distances, which quantum nuclei would make two to three
times as wide. With --beads, i-PI (pip install ipi) moves as many copies of the atoms through the
same potential. Interrupted, it goes on. Writes benchmarks/results/NAME.json.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.geometry import find_mic
from results import save

from huozi.dynamics import MDConfig, read_trajectory, run_md
from huozi.dynamics.observables import block_average, compare_curves, radial_distribution
from huozi.potential import Model, load_model
from huozi.systems import Dataset, System, read

PAIRS = (("O", "O"), ("O", "H"), ("H", "H"))
TIMESTEP = 0.5  # fs
EVERY = 40  # steps between frames
SKIP = 0.1  # of a run, to equilibrate

INPUT = """\
<simulation verbosity='medium'>
  <output prefix='path'>
    <properties stride='{every}' filename='out'>
      [ step, time{{picosecond}}, temperature{{kelvin}}, potential{{electronvolt}},
        kinetic_cv{{electronvolt}} ]
    </properties>
    <trajectory stride='{every}' filename='pos' format='xyz'> positions{{angstrom}} </trajectory>
    <checkpoint stride='{every}' filename='checkpoint' overwrite='true'/>
  </output>
  <total_steps> {steps} </total_steps>
  <prng> <seed> 1 </seed> </prng>
  <ffsocket name='huozi' mode='unix' pbc='false'> <address> {address} </address> </ffsocket>
  <system>
    <initialize nbeads='{beads}'>
      <file mode='xyz' units='angstrom'> start.xyz </file>
      <cell mode='abc' units='angstrom'> [ {edges} ] </cell>
      <velocities mode='thermal' units='kelvin'> {temperature} </velocities>
    </initialize>
    <forces> <force forcefield='huozi'/> </forces>
    <motion mode='dynamics'>
      <dynamics mode='nvt'>
        <timestep units='femtosecond'> {timestep} </timestep>
        <thermostat mode='pile_g'> <tau units='femtosecond'> 100 </tau> </thermostat>
      </dynamics>
    </motion>
    <ensemble> <temperature units='kelvin'> {temperature} </temperature> </ensemble>
  </system>
</simulation>
"""


def main() -> None:
    """Simulate, compare, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--temperatures", type=float, nargs="+", default=[300.0, 330.0])
    parser.add_argument("--picoseconds", type=float, default=10.0)
    parser.add_argument("--beads", type=int, default=0)
    parser.add_argument("--quantum-picoseconds", type=float, default=4.0)
    parser.add_argument("--out", type=Path, default=Path("overlap"))
    parser.add_argument("--name", default="overlap", help="of the file in benchmarks/results")
    options = parser.parse_args()
    model, data = load_model(options.model), read(options.data)
    frames = [frame.system.to_atoms() for frame in data]
    energies = np.array([f.labels.energy for f in data if f.labels.energy is not None])
    report = {
        "frames": len(data),
        "data": describe(frames) | {"energy_eV": about(energies)},
        "classical": {},
    }
    for temperature in options.temperatures:
        folder = options.out / f"{temperature:.0f}K"
        moved, energy = classical(model, data, temperature, options.picoseconds, folder)
        found = describe(moved) | {"energy_eV": energy}
        report["classical"][f"{temperature:.0f} K"] = found | compare(moved, frames)
    if options.beads:
        temperature, folder = options.temperatures[0], options.out / f"{options.beads}-beads"
        moved = quantum(options, data[0].system.to_atoms(), temperature, folder)
        report["quantum"] = {"beads": options.beads, "temperature_K": temperature}
        report["quantum"] |= describe(moved) | compare(moved, frames)
    save(options.name, report, sys.argv)


def classical(
    model: Model, data: Dataset, temperature: float, picoseconds: float, folder: Path
) -> tuple[list[Atoms], dict[str, float]]:
    """Frames and mean potential energy of a run at constant temperature, without its start."""
    steps = round(picoseconds * 1000 / TIMESTEP * (1 + SKIP))
    settings = MDConfig(
        temperature=temperature, timestep=TIMESTEP, steps=steps, trajectory_every=EVERY
    )
    system: System = data[len(data) // 2].system
    result = run_md(model, system, settings, folder)
    frames = list(read_trajectory(folder))
    energies = result.thermo["potential_eV"]
    return frames[int(SKIP * len(frames)) :], about(energies[int(SKIP * len(energies)) :])


def quantum(
    options: argparse.Namespace, start: Atoms, temperature: float, folder: Path
) -> list[Atoms]:
    """Frames of all beads of a path-integral run by i-PI, bead after bead at each time."""
    folder.mkdir(parents=True, exist_ok=True)
    address = f"huozi_overlap_{options.beads}"
    if not (folder / "input.xml").exists():
        start.write(folder / "start.xyz", format="xyz")
        text = INPUT.format(
            every=EVERY,
            steps=round(options.quantum_picoseconds * 1000 / TIMESTEP),
            address=address,
            beads=options.beads,
            edges=", ".join(f"{x:.8f}" for x in start.cell.lengths()),
            temperature=temperature,
            timestep=TIMESTEP,
        )
        (folder / "input.xml").write_text(text)
    if not (folder / "finished").exists():
        run_i_pi(options.model, folder, address)
    beads = [ase.io.read(file, ":") for file in sorted(folder.glob("path.pos_*.xyz"))]
    frames = []
    for copies in list(zip(*beads))[int(SKIP * len(beads[0])) :]:
        for atoms in copies:
            atoms.set_cell(start.cell)
            atoms.pbc = True
            frames.append(atoms)
    return frames


def run_i_pi(model: Path, folder: Path, address: str) -> None:
    """Start or continue i-PI with two drivers, and wait."""
    programs = {}
    for name in ("i-pi", "huozi"):
        programs[name] = shutil.which(name, path=str(Path(sys.executable).parent))
        if programs[name] is None:
            raise SystemExit(f"{name} is not installed beside this Python")
    begun = folder / "checkpoint"
    source = begun.name if begun.exists() else "input.xml"
    Path(f"/tmp/ipi_{address}").unlink(missing_ok=True)
    with (folder / "log").open("ab") as log:
        server = subprocess.Popen(
            [programs["i-pi"], source], cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )
        command = [programs["huozi"], "ipi", model.resolve(), "start.xyz", "--socket", address]
        drivers = [
            subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
            for _ in range(2)
        ]
        if server.wait() or any([driver.wait() for driver in drivers]):
            raise SystemExit(f"i-PI or a driver failed; see {folder / 'log'}")
    (folder / "finished").touch()


def describe(frames: list[Atoms]) -> dict[str, dict[str, float]]:
    """Mean and spread of the O-H bonds, Å."""
    spreads, means = [], []
    for atoms in frames:
        oxygen = atoms.positions[atoms.numbers == 8]
        hydrogen = atoms.positions[atoms.numbers == 1]
        vectors = (hydrogen[:, None] - oxygen).reshape(-1, 3)
        _, distances = find_mic(vectors, atoms.cell, atoms.pbc)
        bonds = distances.reshape(len(hydrogen), -1).min(axis=1)
        means.append(bonds.mean())
        spreads.append(bonds.std())
    return {"bond_A": about(np.array(means)), "bond_spread_A": about(np.array(spreads))}


def compare(frames: list[Atoms], reference: list[Atoms]) -> dict[str, object]:
    """Largest deviation of each g(r) from the reference, with its standard error."""
    result: dict[str, object] = {}
    for pair in PAIRS:
        r, g, error = radial_distribution(frames, pair)
        _, wanted, its_error = radial_distribution(reference, pair)
        difference = compare_curves(r, g, error, wanted, its_error)
        peaks = {"peak": float(g.max()), "peak_of_data": float(wanted.max())}
        result[f"g({pair[0]}-{pair[1]})"] = difference._asdict() | peaks
    return result


def about(values: np.ndarray) -> dict[str, float]:
    """Mean and its standard error from block averages."""
    average = block_average(values)
    return {"mean": float(average.mean), "error": float(average.error)}


if __name__ == "__main__":
    main()
