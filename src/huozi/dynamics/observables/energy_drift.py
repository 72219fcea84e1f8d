"""Energy conservation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from huozi.dynamics.observables.blocks import as_series, block_average

Array = NDArray[Any]


class Drift(NamedTuple):
    """Slope of the conserved energy and its standard error, meV/atom/ps.

    `converged` is false when the series is too short: the error is then a lower bound.
    """

    value: float
    error: float
    converged: bool


def energy_drift(
    time: Sequence[float] | Array, energy: Sequence[float] | Array, atoms: int
) -> Drift:
    """Drift of a conserved energy: slope of the straight line through it.

    The error accounts for correlations between successive energies.

    Parameters
    ----------
    time : (t,) array
        fs, equally spaced.
    energy : (t,) array
        Total energy (NVE) or the thermostat's conserved energy, eV.
    atoms : int
        Number of atoms.

    Returns
    -------
    Drift

    Raises
    ------
    ValueError
        If there are fewer than 16 energies, or one is not finite.
    """
    t, e = as_series(time, least=16), as_series(energy, least=16)
    if len(t) != len(e):
        raise ValueError(f"{len(t)} times but {len(e)} energies")
    if atoms < 1:
        raise ValueError(f"the number of atoms must be positive; found {atoms}")
    t = t - t.mean()
    weights = t / np.sum(t**2)
    slope = float(weights @ (e - e.mean()))
    residuals = weights * (e - e.mean() - slope * t)
    average = block_average(residuals)
    to_mev_ps = 1e6 / atoms
    return Drift(slope * to_mev_ps, len(t) * average.error * to_mev_ps, average.converged)
