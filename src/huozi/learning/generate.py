"""Structures to begin with: random boxes, rattled atoms, strained cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule as ase_molecule
from ase.collections import g2
from ase.data import covalent_radii
from ase.io import read as ase_read
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from huozi.labels import STATE
from huozi.learning.settings import Boxes
from huozi.neighbors import build_neighbors, displacements
from huozi.systems import Frame, System
from huozi.units import AMU_A3_GCM3

TRIES = 60
CLOSE = 0.55
"""Atoms nearer than this part of the sum of their covalent radii are not matter as we know it."""


def random_boxes(boxes: Boxes, rng: np.random.Generator) -> list[Frame]:
    """Molecules at random points of a grid, turned at random, away from each other where possible.

    Raises
    ------
    ValueError
        If the molecule is neither a name nor a file.
    """
    template = _molecule(boxes.molecule)
    template.positions -= template.get_center_of_mass()
    mass = template.get_masses().sum() * boxes.count
    edge = (mass * AMU_A3_GCM3 / boxes.density) ** (1 / 3)
    frames = []
    for index in range(boxes.number):
        atoms = _fill(template, boxes.count, edge, rng)
        frames.append(Frame(System.from_atoms(atoms), source=f"box {index} of {boxes.molecule}"))
    return frames


def _molecule(name: str) -> Atoms:
    if name in g2.names:
        return ase_molecule(name)
    if not Path(name).exists():
        raise ValueError(f"boxes: {name!r} is neither a molecule that ASE knows nor a file")
    atoms = ase_read(name)
    assert isinstance(atoms, Atoms)
    return atoms


def _fill(template: Atoms, count: int, edge: float, rng: np.random.Generator) -> Atoms:
    """Place molecule after molecule, each in the roomiest of some orientations."""
    side = int(np.ceil(count ** (1 / 3) - 1e-9))
    points = np.stack(np.meshgrid(*[np.arange(side)] * 3), axis=-1).reshape(-1, 3)
    centres = (rng.permutation(points)[:count] + 0.5) * edge / side
    centres += rng.normal(scale=0.05 * edge / side, size=centres.shape)
    placed = np.zeros((0, 3))
    for centre in centres:
        turned = Rotation.random(TRIES, rng=rng).as_matrix()
        trials = template.positions @ turned.transpose(0, 2, 1) + centre
        if len(placed):
            step = trials[:, :, None] - placed
            step -= edge * np.round(step / edge)
            nearest = np.linalg.norm(step, axis=-1).min(axis=(1, 2))
            trials = trials[[int(nearest.argmax())]]
        placed = np.concatenate([placed, trials[0]])
    return Atoms(
        list(template.symbols) * count,
        positions=placed,
        cell=[edge] * 3,
        pbc=True,
    )


def distorted(
    frames: list[Frame], count: int, rattle: float, strain: float, rng: np.random.Generator
) -> list[Frame]:
    """Rattled and, where there is a cell, strained copies of randomly chosen frames.

    Parameters
    ----------
    frames : list of Frame
    count : int
    rattle : float
        Standard deviation of each coordinate, Å; each copy takes a random part of it.
    strain : float
        Standard deviation of the components of the (symmetric) strain.
    rng : numpy Generator
    """
    made = []
    for index in range(count):
        frame = frames[int(rng.integers(len(frames)))]
        system = frame.system
        positions, cell = system.positions, system.cell
        if system.pbc.all():
            random = strain * rng.normal(size=(3, 3))
            deformation = np.eye(3) + (random + random.T) / 2
            positions, cell = positions @ deformation, cell @ deformation
        positions = positions + rattle * rng.uniform() * rng.normal(size=positions.shape)
        new = System(system.species, positions, cell, system.pbc)
        source = f"distorted {index} from {frame.source}"
        made.append(Frame(new, source=source, info=electronic_state(frame)))
    return made


def evenly(frames: Sequence[Frame], count: int) -> list[Frame]:
    """Return `count` of the frames, spread over their order, or all: they may be a trajectory."""
    if len(frames) <= count:
        return list(frames)
    return [frames[round(i)] for i in np.linspace(0, len(frames) - 1, count)]


def electronic_state(frame: Frame) -> dict[str, int]:
    """Return charge and multiplicity of a frame, where it has its own."""
    return {key: frame.info[key] for key in STATE if key in frame.info}


def closest(system: System) -> float:
    """Smallest distance between atoms, in units of the sum of their covalent radii."""
    radii = covalent_radii[system.species]
    table = build_neighbors(system.positions, system.cell, system.pbc, 2 * float(radii.max()))
    distances: NDArray = np.linalg.norm(
        np.asarray(displacements(system.positions, np.asarray(system.cell), table)), axis=-1
    )
    ratio = np.where(table.mask, distances / (radii[:, None] + radii[table.index]), np.inf)
    return float(ratio.min(initial=np.inf))
