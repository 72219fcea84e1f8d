"""Frames that show the same atoms at the same places, up to wrapping and translation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from ase.geometry import complete_cell
from scipy.spatial import KDTree

from huozi.systems.frame import Array, Frame, System

TOLERANCE = 1e-4  # Å
_WAVES = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
_OPEN_LENGTH = 10.0  # Å: wavelength along open directions


def find_duplicates(frames: Sequence[Frame]) -> list[tuple[int, int]]:
    """Find frames that repeat an earlier one.

    Two frames are the same if they have the same elements in the same order, cells equal
    within 1e-4 Å, and positions equal within 1e-4 Å after one common translation and the
    wrapping of atoms into the cell. Rotated or permuted copies are not looked for.

    Parameters
    ----------
    frames : sequence of Frame
        With finite positions and cells.

    Returns
    -------
    list of (int, int)
        The later frame and the earlier one it repeats, one entry for each later frame.
    """
    groups: dict[bytes, list[int]] = {}
    for index, frame in enumerate(frames):
        system = frame.system
        name = np.asarray(system.species, np.int64).tobytes() + np.asarray(system.pbc).tobytes()
        groups.setdefault(hashlib.sha256(name).digest(), []).append(index)
    found: dict[int, int] = {}
    for members in groups.values():
        if len(members) > 1:
            found |= _within_group(frames, members)
    return sorted(found.items())


def _within_group(frames: Sequence[Frame], members: list[int]) -> dict[int, int]:
    """Compare frames of the same atoms, by exact bytes first and by signature then."""
    found: dict[int, int] = {}
    first: dict[bytes, int] = {}
    for index in members:
        system = frames[index].system
        exact = np.concatenate([system.positions, system.cell]).tobytes()
        key = hashlib.sha256(exact).digest()
        if key in first:
            found[index] = first[key]
        else:
            first[key] = index
    unique = list(first.values())
    tree = KDTree(np.array([_signature(frames[i].system) for i in unique]))
    for low, high in sorted(tree.query_pairs(1e-3, p=np.inf)):
        a, b = unique[low], unique[high]
        if b not in found and _same(frames[a].system, frames[b].system):
            found[b] = found.get(a, a)
    return found


def _signature(system: System) -> Array:
    """Cell and structure-factor magnitudes: unchanged by translation and wrapping."""
    scaled = system.positions @ np.linalg.inv(_box(system))
    scaled[:, ~system.pbc] /= _OPEN_LENGTH
    phases = scaled @ _WAVES.T
    sums = np.abs(np.exp(2j * np.pi * phases).sum(axis=0)) / len(system)
    return np.concatenate([system.cell.ravel(), sums])


def _box(system: System) -> Array:
    """Lattice vectors, with unit vectors across them along open directions."""
    return np.asarray(complete_cell(np.where(system.pbc[:, None], system.cell, 0.0)))


def _same(a: System, b: System) -> bool:
    """Compare positions after the translation that lays the first atoms on each other."""
    if np.abs(a.cell - b.cell).max() > TOLERANCE:
        return False
    step = (b.positions - b.positions[0]) - (a.positions - a.positions[0])
    box = _box(a)
    step -= np.round(step @ np.linalg.inv(box)) * a.pbc @ box
    step -= (step.max(axis=0) + step.min(axis=0)) / 2
    return bool(np.abs(step).max() < TOLERANCE)
