"""A quick pair potential fitted to the forces, to see whether labels fit their atoms.

No good potential, but a linear one that is fitted in a second: in liquid water, silicon and
metals it explains 85 to 99 % of the forces. Because it is fitted to forces alone, the energies
and virials it predicts tell whether those labels have the units and the sign of the forces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.geometry import complete_cell
from scipy.sparse import csr_array
from vesin import NeighborList

from huozi.systems.frame import Array, Frame, System

CUTOFF = 5.0  # Å
WIDTH = 12  # radial functions per pair of elements
_CENTRES = np.linspace(np.log(0.7), np.log(CUTOFF), WIDTH)
_MAX_ATOMS = 30_000  # in all fitted frames together


@dataclass(frozen=True)
class PairModel:
    """A pair potential U(r) for each pair of elements, linear in Gaussians of log r.

    Parameters
    ----------
    elements : (e,) int array
        Atomic numbers, ascending.
    weights : (pairs, WIDTH) float array
        eV.
    explained : float
        Fraction of the squared forces of the fitted frames that it reproduces.
    """

    elements: Array
    weights: Array
    explained: float

    def predict(self, system: System) -> tuple[float, Array, Array]:
        """Energy (eV, up to a constant), forces (n, 3) eV/Å and virial (3, 3) eV."""
        first, second, kind, unit, r, values, slopes = _pairs(system, self.elements)
        energy = float(np.sum(values * self.weights[kind]))
        gradient = np.sum(slopes * self.weights[kind], axis=1)[:, None] * unit
        n = len(system)
        forces = np.stack(
            [
                np.bincount(first, gradient[:, k], n) - np.bincount(second, gradient[:, k], n)
                for k in range(3)
            ],
            axis=1,
        )
        return energy, forces, -gradient.T @ (unit * r)


def fit_pair_model(frames: Sequence[Frame]) -> PairModel | None:
    """Fit a pair potential to the forces of some frames, by ridge regression.

    Parameters
    ----------
    frames : sequence of Frame
        All with forces; a sample of 100 frames or 30,000 atoms is used.

    Returns
    -------
    PairModel or None
        None if there are too few forces for the number of element pairs.
    """
    sample = _sample(frames)
    elements = np.unique(np.concatenate([f.system.species for f in frames] or [np.zeros(0)]))
    kinds = len(elements) * (len(elements) + 1) // 2
    size = kinds * WIDTH
    if sum(3 * len(f) for f in sample) < max(10 * size, 1) or size > 1000:
        return None
    rms = np.array([np.sqrt(np.mean(_forces(f) ** 2)) for f in sample])
    typical = float(np.median(rms))
    if typical == 0:
        return None
    normal, right, total = np.zeros((size, size)), np.zeros(size), 0.0
    for frame, scale in zip(sample, np.maximum(rms, typical)):
        design = _design(frame.system, elements, kinds) / scale
        target = _forces(frame).ravel() / scale
        normal += design.T @ design
        right += design.T @ target
        total += float(target @ target)
    ridge = 1e-6 * np.trace(normal) / size
    if ridge == 0:
        return None
    weights = np.linalg.solve(normal + ridge * np.eye(size), right)
    rest = total - 2 * weights @ right + weights @ normal @ weights
    return PairModel(elements, weights.reshape(kinds, WIDTH), float(1 - rest / total))


def _forces(frame: Frame) -> Array:
    assert frame.labels.forces is not None
    return frame.labels.forces


def _sample(frames: Sequence[Frame]) -> list[Frame]:
    """Frames spread evenly over the set, as many as the fit needs."""
    step = max(1, len(frames) // 100)
    chosen: list[Frame] = []
    atoms = 0
    for frame in frames[::step]:
        if atoms + len(frame) <= _MAX_ATOMS:
            chosen.append(frame)
            atoms += len(frame)
    return chosen


def _design(system: System, elements: Array, kinds: int) -> Array:
    """Force components by weight, (3n, kinds * WIDTH): what each radial function would exert."""
    first, second, kind, unit, _, _, slopes = _pairs(system, elements)
    n, pairs = len(system), len(first)
    ones = np.ones(pairs)
    rows, columns = np.concatenate([first, second]), np.tile(np.arange(pairs), 2)
    spread = csr_array((np.concatenate([ones, -ones]), (rows, columns)), shape=(n, pairs))
    design = np.zeros((n, 3, kinds, WIDTH))
    for k in np.unique(kind):
        mine = kind == k
        gradient = unit[mine, :, None] * slopes[mine, None, :]
        design[:, :, k] = (spread[:, mine] @ gradient.reshape(mine.sum(), -1)).reshape(n, 3, WIDTH)
    return design.reshape(3 * n, kinds * WIDTH)


def _pairs(system: System, elements: Array) -> tuple[Array, ...]:
    """Each pair once: atoms, kind, unit vector, r, radial functions and their slopes."""
    first, second, distances, vectors = pairs_within(system, CUTOFF)
    index = np.searchsorted(elements, system.species)
    low = np.minimum(index[first], index[second])
    high = np.maximum(index[first], index[second])
    kind = low * len(elements) - low * (low - 1) // 2 + high - low
    r = np.maximum(distances, 0.1)[:, None]
    width = _CENTRES[1] - _CENTRES[0]
    offset = (np.log(r) - _CENTRES) / width
    bump = np.exp(-0.5 * offset**2)
    left = 1 - r / CUTOFF
    slopes = bump * left**2 * (-offset / (width * r) * left - 3 / CUTOFF)
    return first, second, kind, vectors / r, r, bump * left**3, slopes


def pairs_within(system: System, cutoff: float) -> tuple[Array, Array, Array, Array]:
    """Each pair of atoms once: first, second, distance Å, vector (pairs, 3) Å."""
    periodic = np.asarray(system.pbc, bool)
    box = complete_cell(np.where(periodic[:, None], system.cell, 0.0))
    calculator = NeighborList(cutoff=cutoff, full_list=False)
    first, second, distances, vectors = calculator.compute(
        points=np.ascontiguousarray(system.positions, np.float64),
        box=box,
        periodic=periodic if periodic.any() else False,
        quantities="ijdD",
    )
    return first.astype(np.int64), second.astype(np.int64), distances, vectors
