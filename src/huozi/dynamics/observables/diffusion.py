"""Self-diffusion coefficient from the Einstein relation, and its finite-size correction."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from huozi.dynamics.observables.msd import (
    larger_error,
    particle_tracks,
    squared_displacements,
)
from huozi.units import KB

Array = NDArray[Any]

CM2_S = 0.1
"""One Å^2/fs, cm^2/s."""

EV_FS_A3 = 1.602176634e-19 * 1e-15 / 1e-30
"""One eV fs/Å^3, Pa s."""

XI_CUBIC = 2.837297
"""Self-term of the Oseen tensor on a cubic lattice (Yeh & Hummer 2004)."""


class Diffusion(NamedTuple):
    """A self-diffusion coefficient.

    Parameters
    ----------
    value, error : float
        D and its standard error, Å^2/fs (times 0.1 gives cm^2/s).
    start, stop : float
        Range of the fit, fs.
    intercept : float
        MSD of the fitted line at time zero, Å^2.
    """

    value: float
    error: float
    start: float
    stop: float
    intercept: float


def diffusion_coefficient(
    positions: Array,
    time_step: float,
    atoms: Array | None = None,
    masses: Array | None = None,
    start: float = 1000.0,
    stop: float | None = None,
) -> Diffusion:
    """Self-diffusion coefficient: a sixth of the slope of the mean squared displacement.

    The line MSD = c + 6 D t is fitted by generalised least squares with the covariance of a
    Brownian particle, which knows that MSDs at neighbouring and at long lags share their noise.
    The fit is linear in the MSD, so each atom and each stretch of time has its own D; their
    scatter gives the error without a model of the noise (docs/decisions/diffusion.md).

    Parameters
    ----------
    positions : (t, n, 3) array
        Unwrapped positions of all atoms, Å.
    time_step : float
        Time between frames, fs.
    atoms : (k,) int or (n,) bool array, optional
        The atoms that diffuse, one per molecule (e.g. the oxygen atoms of water).
    masses : (n,) array, optional
        When given, the motion of the centre of mass of all atoms is taken out first.
    start : float
        Time from which the MSD is a straight line, fs; 1 ps suits simple liquids.
    stop : float, optional
        Longest lag of the fit, fs; half of the trajectory by default.

    Returns
    -------
    Diffusion

    Raises
    ------
    ValueError
        If the trajectory is shorter than four times `start`, or as `mean_squared_displacement`.

    Source: Bullerjahn, von Bülow & Hummer, J. Chem. Phys. 153, 024116 (2020).
    """
    tracks = particle_tracks(positions, atoms, masses)
    lags = _fit_lags(len(tracks), float(time_step), start, stop)
    weights = _fit_weights(lags, len(tracks))
    by_atom, left_out = squared_displacements(tracks, lags)
    intercept, slope = weights @ by_atom.mean(axis=0)
    error = larger_error(by_atom @ weights[1], left_out @ weights[1])
    return Diffusion(
        float(slope / (6 * time_step)),
        float(error / (6 * time_step)),
        float(lags[0] * time_step),
        float(lags[-1] * time_step),
        float(intercept),
    )


def yeh_hummer_correction(temperature: float, viscosity: float, length: float) -> float:
    """Return what a periodic cubic box takes off a diffusion coefficient, Å^2/fs; add it to D.

    D_infinite = D_box + 2.837297 kB T / (6 pi eta L)

    Parameters
    ----------
    temperature : float
        K.
    viscosity : float
        Shear viscosity of the model (not of the experiment) in mPa s.
    length : float
        Edge of the cubic box, Å.

    Raises
    ------
    ValueError
        If a number is not positive.

    Source: Yeh & Hummer, J. Phys. Chem. B 108, 15873 (2004), equation 12.
    """
    if not (temperature > 0 and viscosity > 0 and length > 0):
        raise ValueError(
            "temperature, viscosity and box length must be positive; found "
            f"{temperature} K, {viscosity} mPa s, {length} Å"
        )
    eta = viscosity * 1e-3 / EV_FS_A3
    return float(XI_CUBIC * KB * temperature / (6 * np.pi * eta * length))


def _fit_lags(frames: int, time_step: float, start: float, stop: float | None) -> Array:
    """About twenty lags (in frames) between start and stop, evenly spaced."""
    first = max(1, int(np.ceil(start / time_step - 1e-9)))
    last = frames // 2 if stop is None else min(int(stop / time_step + 1e-9), frames - 1)
    if last < 2 * first or last < 2:
        raise ValueError(
            f"the trajectory is too short for a diffusion coefficient: {frames} frames of "
            f"{time_step:g} fs, fit from {start:g} fs; at least {4 * first + 1} frames are "
            "needed (run longer, or lower `start`)"
        )
    return np.unique(np.linspace(first, last, min(20, last - first + 1)).round().astype(int))


def _fit_weights(lags: Array, frames: int) -> Array:
    """Matrix (2, lags) that takes MSDs to intercept and slope (per frame)."""
    design = np.stack([np.ones(len(lags)), lags], axis=1)
    solved = np.linalg.solve(_brownian_covariance(lags, frames), design)
    return np.asarray(np.linalg.solve(design.T @ solved, solved.T))


def _brownian_covariance(lags: Array, frames: int) -> Array:
    """Covariance of the MSDs of a random walk at these lags, up to a factor.

    Two displacements over windows of i and j steps share as many steps as the windows overlap;
    their squares covary as the square of that number, summed over all pairs of time origins.
    """
    covariance = np.empty((len(lags), len(lags)))
    for a, i in enumerate(lags):
        for b, j in enumerate(lags[: a + 1]):
            offset = np.arange(1 - i, frames)  # origin of j minus origin of i, where they touch
            pairs = np.minimum(frames - i, frames - j - offset) - np.maximum(0, -offset)
            shared = np.minimum(i, offset + j) - np.maximum(0, offset)
            total = np.sum(np.maximum(pairs, 0) * np.maximum(shared, 0).astype(float) ** 2)
            covariance[a, b] = covariance[b, a] = total / (frames - i) / (frames - j)
    return covariance
