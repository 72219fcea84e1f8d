"""Round 0 geometries: classical molecular dynamics of flexible SPC/Fw water in CP2K's FIST.

SPC/Fw: Wu, Tepper, Voth, J. Chem. Phys. 124, 024503 (2006), doi:10.1063/1.2136877.
Its O-H bonds are some 4 % longer than those of density functional theory, so the bonds of each
frame are scaled by a random factor, and every fifth frame is displaced at random as well: these
frames are to surround the region a first potential has to know, not to obey SPC/Fw.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import ase.io
import cp2k
import numpy as np
from ase import Atoms, units
from label import canonical, exclusive, write_frames
from scipy.spatial.transform import Rotation

MOLECULES = 64
WATER_MASS = 18.01528  # amu
WATER = np.array([[0.0, 0.0, 0.0], [0.7570, 0.5859, 0.0], [-0.7570, 0.5859, 0.0]])  # Å
CLOSEST = 1.4  # Å, between atoms of two molecules at the start
TIMESTEP = 0.5  # fs
LENGTH = 5.0  # ps
RATTLE = 0.04  # Å, standard deviation of a random displacement
CUBIC = np.zeros((1, 3))  # sites of a lattice cell, in units of its edge
FACE_CENTRED = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
LATTICE = {8: (2, CUBIC), 27: (3, CUBIC), 32: (2, FACE_CENTRED), 64: (4, CUBIC)}
"""Molecules: lattice cells along an edge of the box, and the sites of a cell."""

MD_TEMPLATE = """\
&GLOBAL
  PROJECT md
  RUN_TYPE MD
  PRINT_LEVEL LOW
  SEED {seed}
&END GLOBAL
&MOTION
  &MD
    ENSEMBLE NVT
    STEPS {steps}
    TIMESTEP {timestep}
    TEMPERATURE {temperature}
    &THERMOSTAT
      TYPE CSVR
      &CSVR
        TIMECON 50
      &END CSVR
    &END THERMOSTAT
  &END MD
  &PRINT
    &TRAJECTORY
      &EACH
        MD {every}
      &END EACH
    &END TRAJECTORY
    &RESTART OFF
    &END RESTART
    &RESTART_HISTORY OFF
    &END RESTART_HISTORY
  &END PRINT
&END MOTION
&FORCE_EVAL
  METHOD FIST
  &MM
    &FORCEFIELD
      &CHARGE
        ATOM O
        CHARGE -0.82
      &END CHARGE
      &CHARGE
        ATOM H
        CHARGE 0.41
      &END CHARGE
      &BOND
        ATOMS O H
        KIND HARMONIC
        K [kcalmol*angstrom^-2] 1059.162
        R0 [angstrom] 1.012
      &END BOND
      &BEND
        ATOMS H O H
        KIND HARMONIC
        K [kcalmol*rad^-2] 75.90
        THETA0 [deg] 113.24
      &END BEND
      &NONBONDED
        &LENNARD-JONES
          ATOMS O O
          EPSILON [kcalmol] 0.1554253
          SIGMA [angstrom] 3.165492
          RCUT {rcut:.3f}
        &END LENNARD-JONES
        &LENNARD-JONES
          ATOMS O H
          EPSILON 0.0
          SIGMA 1.0
          RCUT {rcut:.3f}
        &END LENNARD-JONES
        &LENNARD-JONES
          ATOMS H H
          EPSILON 0.0
          SIGMA 1.0
          RCUT {rcut:.3f}
        &END LENNARD-JONES
      &END NONBONDED
    &END FORCEFIELD
    &POISSON
      &EWALD
        EWALD_TYPE SPME
        ALPHA 0.45
        GMAX 20
        O_SPLINE 6
      &END EWALD
    &END POISSON
  &END MM
  &SUBSYS
    &CELL
      ABC {edge:.8f} {edge:.8f} {edge:.8f}
    &END CELL
    &TOPOLOGY
      COORD_FILE_NAME start.xyz
      COORD_FILE_FORMAT XYZ
      CONN_FILE_FORMAT MOL_SET
      &MOL_SET
        &MOLECULE
          NMOL {molecules}
          CONN_FILE_NAME water.psf
          CONN_FILE_FORMAT UPSF
        &END MOLECULE
      &END MOL_SET
    &END TOPOLOGY
  &END SUBSYS
&END FORCE_EVAL
"""

WATER_PSF = """\
PSF

       1 !NTITLE
 one flexible water molecule

       3 !NATOM
       1 WAT 1 WAT O O -0.82 15.9994 0
       2 WAT 1 WAT H H 0.41 1.008 0
       3 WAT 1 WAT H H 0.41 1.008 0

       2 !NBOND
       1 2 1 3

       1 !NTHETA
       2 1 3

       0 !NPHI

       0 !NIMPHI

"""


@dataclass(frozen=True)
class Walker:
    """One trajectory at a state (K, g/cm^3); its round and number also seed it."""

    temperature: float
    density: float
    number: int
    round: int
    molecules: int = MOLECULES

    @property
    def name(self) -> str:
        """Name of the walker's folder and of its frames' `source`."""
        return f"round{self.round}-{self.number:03d}-{self.temperature:.0f}K-{self.density:.2f}"


def walker_info(walker: Walker, time_ps: float) -> dict:
    """Return what is stored with a frame about its origin."""
    return {
        "temperature": walker.temperature,
        "density": walker.density,
        "round": walker.round,
        "source": walker.name,
        "time_ps": time_ps,
    }


def round0_walkers() -> list[Walker]:
    """45 independent walkers, five at each of nine states, the states taken in turn."""
    states = [(t, d) for d in (1.0, 0.85, 1.15) for t in (300.0, 600.0, 400.0)]
    return [Walker(*states[i % 9], number=i, round=0) for i in range(45)]


def box_edge(molecules: int, density: float) -> float:
    """Edge of a cubic box of water in Å; density in g/cm^3."""
    grams = molecules * WATER_MASS / units.mol
    return float((grams / density) ** (1 / 3) * 1e8)


def starting_box(density: float, rng: np.random.Generator, molecules: int = MOLECULES) -> Atoms:
    """Molecules on a lattice at random orientations, redrawn where two come too close."""
    edge = box_edge(molecules, density)
    side, cell = LATTICE[molecules]
    corners = np.array(list(np.ndindex(side, side, side)))
    sites = (corners[:, None] + cell).reshape(-1, 3) * edge / side
    atoms = Atoms("OHH" * molecules, cell=[edge] * 3, pbc=True)
    turned = np.ones(molecules, dtype=bool)
    molecule = np.arange(len(atoms)) // 3
    while turned.any():
        for i in np.flatnonzero(turned):
            rotation = Rotation.random(rng=rng).as_matrix()
            atoms.positions[3 * i : 3 * i + 3] = sites[i] + WATER @ rotation.T
        distances = atoms.get_all_distances(mic=True)
        close = (distances < CLOSEST) & (molecule[:, None] != molecule)
        turned = close.any(axis=1).reshape(molecules, 3).any(axis=1)
    return atoms


def equilibrate(walker: Walker, folder: Path, lock: int, length: float = LENGTH) -> Atoms:
    """Return the last frame of `length` ps of SPC/Fw dynamics from a random start."""
    rng = np.random.default_rng([walker.round, walker.number])
    atoms = starting_box(walker.density, rng, walker.molecules)
    steps = round(1000 * length / TIMESTEP)
    seed = int(rng.integers(1, 10**6))
    return simulate(atoms, walker.temperature, steps, steps, seed, folder, lock)[-1]


def simulate(
    start: Atoms, temperature: float, steps: int, every: int, seed: int, folder: Path, lock: int
) -> list[Atoms]:
    """Return every `every`-th frame, from the first on, of SPC/Fw dynamics; molecules whole."""
    edge = start.cell.lengths()[0]
    text = MD_TEMPLATE.format(
        seed=seed,
        steps=steps,
        every=every,
        timestep=TIMESTEP,
        temperature=temperature,
        rcut=min(6.2, edge / 2),
        edge=edge,
        molecules=len(start) // 3,
    )
    (folder / "water.psf").write_text(WATER_PSF)
    ase.io.write(folder / "start.xyz", start, format="xyz")
    trajectory = folder / "md-pos-1.xyz"
    if not cp2k.is_finished(folder, "md", text):
        trajectory.unlink(missing_ok=True)  # CP2K appends
        cp2k.run(folder, "md", text, lock)
    if not cp2k.is_finished(folder, "md", text):
        raise RuntimeError(f"classical dynamics failed: {folder}\n{cp2k.tail(folder / 'md.out')}")
    frames = []
    for moved in ase.io.read(trajectory, ":"):
        frame = start.copy()
        frame.positions = moved.positions
        frames.append(whole_molecules(frame))
    return frames


def whole_molecules(atoms: Atoms) -> Atoms:
    """Return a copy with every O in the cell and its two H beside it (atoms in the order O H H)."""
    positions = atoms.positions.reshape(-1, 3, 3)
    oxygen = positions[:, :1]
    inside = (oxygen @ np.linalg.inv(atoms.cell.array)) % 1.0 @ atoms.cell.array
    wrapped = atoms.copy()
    wrapped.positions = (positions - oxygen + inside).reshape(-1, 3)
    return wrapped


def scale_bonds(atoms: Atoms, factor: float) -> Atoms:
    """Return a copy with all O-H vectors of whole molecules scaled."""
    positions = atoms.positions.reshape(-1, 3, 3).copy()
    positions[:, 1:] = positions[:, :1] + factor * (positions[:, 1:] - positions[:, :1])
    scaled = atoms.copy()
    scaled.positions = positions.reshape(-1, 3)
    return scaled


def walk(walker: Walker, work: Path) -> list[Atoms]:
    """Return the one frame of a round 0 walker, from disk if it was made before."""
    folder = work / "walkers" / walker.name
    result = folder / "frames.extxyz"
    if not result.exists():
        rattled = walker.number // 9 == 4
        rng = np.random.default_rng([7, walker.number])
        with exclusive(folder) as lock:
            frame = scale_bonds(equilibrate(walker, folder, lock), rng.uniform(0.94, 1.0))
        if rattled:
            frame.positions += rng.normal(scale=RATTLE, size=frame.positions.shape)
        frame.info = walker_info(walker, LENGTH) | {"rattled": rattled}
        write_frames(result, [canonical(frame)])
    return [canonical(ase.io.read(result))]
