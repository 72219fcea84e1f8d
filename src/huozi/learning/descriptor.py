"""What a whole structure looks like, as one vector that does not depend on a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from huozi.neighbors import build_neighbors
from huozi.neighbors.pairs import displacements
from huozi.potential import MomentConfig
from huozi.potential.batch import compute_moments
from huozi.potential.harmonics import degree_slices
from huozi.systems import System

RADIAL, DEGREE = 6, 3


@lru_cache
def _config(cutoff: float) -> MomentConfig:
    return MomentConfig(cutoff=cutoff, radial=RADIAL, degree=DEGREE)


def describe(system: System, elements: Sequence[int], cutoff: float) -> NDArray[np.float32]:
    """Mean and spread, over the atoms of each element, of the power spectrum of their densities.

    Parameters
    ----------
    system : System
    elements : sequence of int
        Atomic numbers; the same for all structures that are compared.
    cutoff : float
        Å.

    Returns
    -------
    (D,) array
        Unchanged by rotation, translation and permutation; sqrt of the power, so that distances
        are not ruled by the densest shells.
    """
    config, table = (
        _config(cutoff),
        build_neighbors(system.positions, system.cell, system.pbc, cutoff),
    )
    vectors = np.asarray(
        displacements(system.positions, np.asarray(system.cell), table), np.float32
    )
    index = {z: i for i, z in enumerate(elements)}
    rows = np.array([index[int(z)] for z in system.species], np.int32)
    species = np.where(table.mask, rows[table.index], -1)
    moments = compute_moments(vectors, species, config, len(elements))
    power = [
        np.sqrt(np.square(moments[:, part]).sum(axis=1)) for part in degree_slices(config.degree)
    ]
    atoms = np.concatenate(power, axis=1)
    parts = []
    for i in range(len(elements)):
        chosen = atoms[rows == i] if (rows == i).any() else np.zeros((1, atoms.shape[1]))
        parts += [chosen.mean(axis=0), chosen.std(axis=0)]
    return np.concatenate(parts).astype(np.float32)


def farthest_points(
    candidates: NDArray, known: NDArray, count: int
) -> tuple[list[int], NDArray[np.float64]]:
    """Choose the candidate farthest from all that is known, count it as known, and so on.

    Parameters
    ----------
    candidates : (c, D) array
    known : (k, D) array
    count : int

    Returns
    -------
    chosen : list of int
        Rows of `candidates`, in the order of the choice.
    distance : (c,) array
        Of each candidate to what was known when it was chosen, or in the end if it was not;
        components are scaled by their standard deviation over all rows.
    """
    everything = np.concatenate([candidates, known]).astype(float)
    scale = everything.std(axis=0)
    scale[scale < 1e-6 * max(float(scale.max(initial=0.0)), 1e-12)] = np.inf
    points, old = candidates / scale, known / scale
    size = np.sqrt(np.isfinite(scale).sum() or 1)
    nearest = np.full(len(points), np.inf)
    for row in old:
        nearest = np.minimum(nearest, np.linalg.norm(points - row, axis=1) / size)
    chosen: list[int] = []
    distance = nearest.copy()
    while len(chosen) < min(count, len(points)):
        left = np.where(np.isin(np.arange(len(points)), chosen), -np.inf, nearest)
        best = int(left.argmax())
        chosen.append(best)
        distance[best] = nearest[best]
        nearest = np.minimum(nearest, np.linalg.norm(points - points[best], axis=1) / size)
    rest = ~np.isin(np.arange(len(points)), chosen)
    distance[rest] = nearest[rest]
    return chosen, distance
