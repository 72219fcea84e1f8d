"""Angle distributions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from vesin import NeighborList

from huozi.dynamics.observables.blocks import mean_and_error, split_blocks
from huozi.dynamics.observables.rdf import check_periodic, element_numbers

Array = NDArray[Any]


def angle_distribution(
    frames: Sequence[Atoms],
    triplet: tuple[str, str, str],
    cutoff: float,
    bins: int = 90,
    per_solid_angle: bool = False,
) -> tuple[Array, Array, Array]:
    """Distribution of the angles between two neighbours of an atom.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        Periodic frames.
    triplet : (str, str, str)
        Chemical symbols (end, centre, end), e.g. ("H", "O", "H").
    cutoff : float
        Neighbours lie within this distance of the centre, Å: 1.25 for O-H bonds, 3.5 for the
        first shell of O around O in water.
    bins : int
        Number of bins between 0° and 180°.
    per_solid_angle : bool
        Divide by that of randomly oriented neighbours (which goes as the sine): 1 where the
        angle is as frequent as by chance. Otherwise a probability density per degree.

    Returns
    -------
    angle, p, err : (bins,) arrays
        Bin centres in degrees, the distribution, and its standard error from averages over
        blocks of neighbouring frames (NaN for a single frame).

    Raises
    ------
    ValueError
        If a frame has no cell or a position that is not finite, or no angle is found at all.
    """
    ends = element_numbers([triplet[0], triplet[2]])
    (centre,) = element_numbers(triplet[1:2])
    finder = NeighborList(cutoff=float(cutoff), full_list=True)
    counts = np.empty((len(frames), bins))
    for index, atoms in enumerate(frames):
        check_periodic(atoms, index)
        angles = _angles(finder, atoms, centre, ends)
        counts[index] = np.histogram(angles, bins=bins, range=(0, 180))[0]
    if not counts.sum():
        raise ValueError(
            f"no {'-'.join(triplet)} angle within {cutoff:g} Å in any of {len(frames)} frames"
        )
    edges = np.linspace(0, 180, bins + 1)
    weights = np.diff(edges)
    if per_solid_angle:
        weights = -np.diff(np.cos(np.radians(edges))) / 2
    blocks = np.stack([counts[part].mean(axis=0) for part in split_blocks(len(frames))])
    scale = 1 / (counts.sum() / len(frames)) / weights
    p, error = counts.mean(axis=0) * scale, mean_and_error(blocks)[1] * scale
    return (edges[1:] + edges[:-1]) / 2, p, error


def _angles(finder: Any, atoms: Atoms, centre: int, ends: tuple[int, ...]) -> Array:
    """All angles of one frame, degrees, each once."""
    i, j, vectors = finder.compute(
        points=atoms.positions, box=atoms.cell.array, periodic=True, quantities="ijD"
    )
    keep = (atoms.numbers[i] == centre) & np.isin(atoms.numbers[j], ends)
    i, j, vectors = i[keep], j[keep], vectors[keep]
    order = np.argsort(i, kind="stable")
    i, j, vectors = i[order], j[order], vectors[order]
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    first, second = _pairs_within_runs(i)
    kinds = atoms.numbers[j]
    matches = (kinds[first] == ends[0]) & (kinds[second] == ends[1])
    matches |= (kinds[first] == ends[1]) & (kinds[second] == ends[0])
    cosines = np.sum(vectors[first[matches]] * vectors[second[matches]], axis=1)
    return np.degrees(np.arccos(np.clip(cosines, -1, 1)))


def _pairs_within_runs(labels: Array) -> tuple[Array, Array]:
    """Index pairs (a < b) of equal labels, for labels in ascending order."""
    ends = np.searchsorted(labels, labels, side="right")
    after = ends - np.arange(len(labels)) - 1
    first = np.repeat(np.arange(len(labels)), after)
    start = np.cumsum(after) - after
    second = np.arange(len(first)) - np.repeat(start, after) + first + 1
    return first, second
