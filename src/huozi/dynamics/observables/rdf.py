"""Radial distribution functions and coordination numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks
from vesin import NeighborList

from huozi.dynamics.observables.blocks import mean_and_error, split_blocks

Array = NDArray[Any]


def radial_distribution(
    frames: Sequence[Atoms], pair: tuple[str, str], r_max: float = 6.0, bins: int = 200
) -> tuple[Array, Array, Array]:
    """Radial distribution function g(r) of one pair of elements.

    The density is that of all N atoms of the second element, so that 4 pi rho times the
    integral of r^2 g(r) counts neighbours exactly; between like atoms of a closed system g(r)
    therefore goes to 1 - 1/N, not to 1, at large distances.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        Periodic frames; r_max may exceed half the cell (images are counted).
    pair : (str, str)
        Chemical symbols, e.g. ("O", "H").
    r_max : float
        Largest distance, Å.
    bins : int
        Number of bins between 0 and r_max.

    Returns
    -------
    r, g, err : (bins,) arrays
        Bin centres in Å, g(r), and its standard error from averages over blocks of
        neighbouring frames (NaN for a single frame).

    Raises
    ------
    ValueError
        If a frame has no atoms of the pair, no cell, or a position that is not finite.

    Source: Allen & Tildesley, Computer Simulation of Liquids, 2nd ed., section 2.6.
    """
    first, second = element_numbers(pair)
    if not len(frames):
        raise ValueError("no frames to analyse")
    if not (r_max > 0 and bins > 0):
        raise ValueError(f"r_max and bins must be positive; found {r_max} and {bins}")
    finder = NeighborList(cutoff=float(r_max), full_list=False)
    edges = np.linspace(0, r_max, bins + 1)
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    each = np.empty((len(frames), bins))
    for index, atoms in enumerate(frames):
        check_periodic(atoms, index)
        distances, n_first, n_second = _distances(finder, atoms, first, second, index)
        slots = np.minimum((distances * (bins / r_max)).astype(np.int64), bins - 1)
        count = np.bincount(slots, minlength=bins)
        density = n_second / atoms.cell.volume
        each[index] = count / (n_first * density * shells)
    blocks = np.stack([each[part].mean(axis=0) for part in split_blocks(len(frames))])
    return (edges[1:] + edges[:-1]) / 2, each.mean(axis=0), mean_and_error(blocks)[1]


def coordination_number(
    frames: Sequence[Atoms], pair: tuple[str, str], cutoff: float
) -> tuple[float, float]:
    """Mean number of atoms of the second element within a distance of one of the first.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        Periodic frames.
    pair : (str, str)
        Chemical symbols.
    cutoff : float
        Å; usually the first minimum of g(r).

    Returns
    -------
    number, error : float
        Mean and its standard error from averages over blocks of neighbouring frames.

    Raises
    ------
    ValueError
        As `radial_distribution`.
    """
    _, second = element_numbers(pair)
    if not len(frames):
        raise ValueError("no frames to analyse")
    each = []
    for index, atoms in enumerate(frames):
        check_periodic(atoms, index)
        _, g, _ = radial_distribution([atoms], pair, cutoff, bins=1)
        density = np.sum(atoms.numbers == second) / atoms.cell.volume
        each.append(g[0] * density * 4 / 3 * np.pi * cutoff**3)
    blocks = np.array([np.mean(each[part]) for part in split_blocks(len(each))])
    return float(np.mean(each)), float(mean_and_error(blocks)[1])


def first_minimum(r: Array, g: Array) -> float | None:
    """Distance of the first minimum of g(r) behind its first peak, the edge of the first shell.

    Parameters
    ----------
    r, g : (bins,) arrays
        As from `radial_distribution`.

    Returns
    -------
    float or None
        Å; None when g(r) has no peak with a minimum behind it.
    """
    smooth = gaussian_filter1d(np.asarray(g, float), 0.06 / (r[1] - r[0]))
    peaks = find_peaks(smooth, prominence=0.15 * max(1.0, np.median(smooth)))[0]
    if len(peaks) == 0:
        return None
    second = peaks[1] if len(peaks) > 1 else len(smooth)
    between = smooth[peaks[0] : second]
    lowest = np.flatnonzero(between <= between.min() + 1e-3)
    if len(peaks) == 1 and lowest[-1] == len(between) - 1:
        return None
    return float(r[peaks[0] + int(np.median(lowest))])


def element_numbers(symbols: Sequence[str]) -> tuple[int, ...]:
    """Atomic numbers of chemical symbols."""
    unknown = [s for s in symbols if s not in atomic_numbers]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not a chemical symbol")
    return tuple(atomic_numbers[s] for s in symbols)


def check_periodic(atoms: Atoms, index: int) -> None:
    """Refuse frames that have no density: open directions, no volume, positions not finite."""
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        raise ValueError(
            f"frame {index} needs a cell periodic in three directions; found pbc "
            f"{atoms.pbc.tolist()} and cell lengths {atoms.cell.lengths().round(3).tolist()} Å"
        )
    if not np.isfinite(atoms.positions).all():
        atom = int(np.argwhere(~np.isfinite(atoms.positions))[0, 0])
        raise ValueError(f"frame {index}: the position of atom {atom} is not finite")


def _distances(
    finder: Any, atoms: Atoms, first: int, second: int, index: int
) -> tuple[Array, int, int]:
    """Distances from atoms of one element to those of another, and the numbers of both."""
    chosen = (atoms.numbers == first) | (atoms.numbers == second)
    numbers = atoms.numbers[chosen]
    counts = int(np.sum(numbers == first)), int(np.sum(numbers == second))
    if not all(counts):
        raise ValueError(f"frame {index} ({atoms.get_chemical_formula()}) lacks atoms of the pair")
    i, j, d = finder.compute(
        points=atoms.positions[chosen], box=atoms.cell.array, periodic=True, quantities="ijd"
    )
    if first == second:
        return np.concatenate([d, d]), *counts
    return d[numbers[i] != numbers[j]], *counts
