"""Energies of the elements: the part of the energy that depends on composition alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from huozi.systems.frame import Array, Dataset, Frame

_LONELY = 8.0  # Å: a single periodic atom counts as isolated when its images are farther


@dataclass(frozen=True)
class E0Fit:
    """Energies of the elements and how well the data determine them.

    Parameters
    ----------
    values : dict of int to float
        Atomic number to eV.
    isolated : tuple of int
        Elements whose energy is that of an isolated atom in the data.
    determined : bool
        False when the compositions do not determine every element by itself (e.g. only H2O);
        then the values are those of least norm around the mean energy per atom.
    residuals : (frames,) array
        Energy minus E0 sum, eV/atom; NaN for frames without energy.
    """

    values: dict[int, float]
    isolated: tuple[int, ...]
    determined: bool
    residuals: Array


def fit_e0(dataset: Dataset, fixed: Mapping[int, float] | None = None) -> dict[int, float]:
    """Fit one energy per element to the energies per atom by least squares over compositions.

    Elements that occur as an isolated atom (one atom, open or with images beyond 8 Å) keep
    that atom's energy. When the compositions leave a combination of elements undetermined,
    the solution of least norm around the mean energy per atom is returned.

    Parameters
    ----------
    dataset : Dataset
        Frames without energy are passed over.
    fixed : mapping of int to float, optional
        Energies of some elements by atomic number, eV; the others are fitted beside them.

    Returns
    -------
    dict of int to float
        Atomic number to eV.

    Raises
    ------
    ValueError
        If no frame has a finite energy.
    """
    return fit_e0_details(dataset, fixed).values


def fit_e0_details(dataset: Dataset, given: Mapping[int, float] | None = None) -> E0Fit:
    """Fit as `fit_e0` and say how well the data determine the values."""
    energies = np.array(
        [np.nan if f.labels.energy is None else f.labels.energy for f in dataset], np.float64
    )
    elements = np.array(dataset.elements)
    counts = dataset.count_matrix().astype(np.float64)
    sizes = np.maximum(counts.sum(axis=1), 1)
    known = np.isfinite(energies)
    if not known.any():
        raise ValueError("no frame has an energy: E0 cannot be fitted")
    alone = {
        int(f.system.species[0]): float(e)
        for f, e in zip(dataset, energies)
        if is_isolated(f) and np.isfinite(e)
    }
    known_values = alone | dict(given or {})
    fixed = np.array([int(z) in known_values for z in elements])
    values = np.array([known_values.get(int(z), 0.0) for z in elements])
    lonely = np.array([is_isolated(f) for f in dataset])
    rows = known & ~lonely if (known & ~lonely).any() else known
    fractions = counts[rows] / sizes[rows, None]
    target = energies[rows] / sizes[rows] - fractions @ values
    free = fractions[:, ~fixed]
    determined = True
    if free.shape[1]:
        weight = free.sum(axis=1)
        mean = float(weight @ target / max(weight @ weight, 1e-300))
        solution, _, rank, _ = np.linalg.lstsq(free, target - weight * mean, rcond=1e-8)
        values[~fixed] = mean + solution
        determined = int(rank) == free.shape[1]
    residuals = (energies - counts @ values) / sizes
    return E0Fit(
        {int(z): float(v) for z, v in zip(elements, values)},
        tuple(sorted(alone)),
        determined,
        residuals,
    )


def is_isolated(frame: Frame) -> bool:
    """Tell whether the frame is one atom without neighbours."""
    if len(frame) != 1:
        return False
    vectors = np.asarray(frame.system.cell)[frame.system.pbc]
    if not len(vectors):
        return True
    steps = np.array(np.meshgrid(*[(-1, 0, 1)] * len(vectors))).reshape(len(vectors), -1).T
    images = np.linalg.norm(steps[steps.any(axis=1)] @ vectors, axis=1)
    return bool(images.min() > _LONELY)
