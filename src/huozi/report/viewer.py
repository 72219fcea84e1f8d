"""Trajectories as compact data for the viewer of a page (viewer.js)."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.data.colors import jmol_colors
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components
from vesin import NeighborList

Array = NDArray[Any]

BOND = 1.25
"""Atoms closer than this times the sum of their covalent radii are drawn as bonded."""

LARGEST_MOLECULE = 60
"""Larger bonded networks (crystals) are wrapped atom by atom."""


def viewer_data(frames: Sequence[Atoms], time_step: float | None = None) -> dict[str, Any]:
    """Encode frames for the viewer: 16-bit positions in a common box, base64.

    Molecules are made whole and moved into the cell, frame by frame.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        Same atoms in each.
    time_step : float, optional
        Time between frames, ps; shown while playing.

    Returns
    -------
    dict
        ``origin`` and ``scale`` (3,) take little-endian int16 ``positions`` (frames, atoms, 3)
        to Å: origin + scale * (p + 32768); ``cells`` holds one cell or one per frame.

    Raises
    ------
    ValueError
        If there are no frames, frames differ in their atoms, or a position is not finite.
    """
    if not len(frames):
        raise ValueError("the viewer needs at least one frame")
    numbers = frames[0].numbers
    for index, atoms in enumerate(frames):
        if not np.array_equal(atoms.numbers, numbers):
            raise ValueError(f"frame {index} has other atoms than frame 0")
        if not np.isfinite(atoms.positions).all():
            raise ValueError(f"frame {index} has a position that is not finite")
    tree = _molecules(frames[0])
    positions = np.stack([_whole(atoms, *tree) for atoms in frames])
    low, high = positions.min(axis=(0, 1)), positions.max(axis=(0, 1))
    scale = np.maximum(high - low, 1e-6) / 65535
    packed = np.round((positions - low) / scale - 32768).astype("<i2")
    cells = np.stack([atoms.cell.array for atoms in frames]).round(5)
    if np.array_equal(cells, np.broadcast_to(cells[0], cells.shape)):
        cells = cells[:1]
    return {
        "frames": len(frames),
        "timeStep": time_step,
        "elements": _elements(frames[0]),
        "kinds": np.unique(numbers, return_inverse=True)[1].tolist(),
        "bond": BOND,
        "origin": low.tolist(),
        "scale": scale.tolist(),
        "cells": cells.reshape(len(cells), 9).tolist() if frames[0].cell.rank == 3 else [],
        "positions": base64.b64encode(packed.tobytes()).decode(),
    }


def _elements(atoms: Atoms) -> list[dict[str, Any]]:
    """Symbol, colour and covalent radius of each element."""
    result = []
    for z in sorted(set(atoms.numbers.tolist())):
        color = "#" + "".join(f"{round(255 * c):02x}" for c in jmol_colors[z])
        symbol = Atoms([z]).get_chemical_symbols()[0]
        result.append({"symbol": symbol, "color": color, "radius": float(covalent_radii[z])})
    return result


def _molecules(atoms: Atoms) -> tuple[Array, list[tuple[Array, Array]]]:
    """Molecule of each atom, and bonds (from, to) outward from its first atom in generations."""
    n = len(atoms)
    radii = covalent_radii[atoms.numbers]
    periodic = atoms.cell.rank == 3 and bool(atoms.pbc.all())
    finder = NeighborList(cutoff=float(2 * BOND * radii.max()), full_list=True)
    box = atoms.cell.array if periodic else np.eye(3)
    i, j, d = finder.compute(points=atoms.positions, box=box, periodic=periodic, quantities="ijd")
    bonded = d < BOND * (radii[i] + radii[j])
    graph = coo_matrix((np.ones(bonded.sum()), (i[bonded], j[bonded])), shape=(n, n)).tocsr()
    count, labels = connected_components(graph, directed=False)
    if not periodic or np.bincount(labels).max() > LARGEST_MOLECULE:
        return np.arange(n), []
    depth = np.zeros(n, int)
    parent = np.full(n, -1)
    for root in np.unique(labels, return_index=True)[1]:
        order, before = breadth_first_order(graph, root, directed=False)
        for atom in order[1:]:
            parent[atom], depth[atom] = before[atom], depth[before[atom]] + 1
    children = [np.flatnonzero(depth == level) for level in range(1, depth.max() + 1)]
    return labels, [(parent[c], c) for c in children]


def _whole(atoms: Atoms, labels: Array, bonds: list[tuple[Array, Array]]) -> Array:
    """Positions with molecules whole and their centres inside the cell."""
    positions = atoms.positions.copy()
    if not (atoms.cell.rank == 3 and atoms.pbc.all()):
        return positions
    cell = atoms.cell.array
    inverse = np.linalg.inv(cell)
    for parent, child in bonds:
        step = (positions[child] - positions[parent]) @ inverse
        positions[child] = positions[parent] + (step - np.round(step)) @ cell
    sizes = np.bincount(labels)
    centres = np.stack([np.bincount(labels, positions[:, k]) / sizes for k in range(3)], axis=1)
    return np.asarray(positions - (np.floor(centres @ inverse + 1e-9) @ cell)[labels])
