"""Mean squared displacement."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from huozi.dynamics.observables.blocks import mean_and_error

Array = NDArray[Any]


def mean_squared_displacement(
    positions: Array, time_step: float, atoms: Array | None = None, masses: Array | None = None
) -> tuple[Array, Array, Array]:
    """Mean squared displacement of atoms, over all time origins.

    Parameters
    ----------
    positions : (t, n, 3) array
        Unwrapped positions of all atoms, Å.
    time_step : float
        Time between frames, fs.
    atoms : (k,) int or (n,) bool array, optional
        The atoms to average over; all by default.
    masses : (n,) array, optional
        Any unit; when given, the motion of the centre of mass of all atoms is taken out first.

    Returns
    -------
    lag, msd, err : (t // 2 + 1,) arrays
        Time in fs, MSD in Å^2, and its standard error from the scatter between atoms, which
        holds when atoms move independently of each other.

    Raises
    ------
    ValueError
        If the array has another shape, fewer than four frames, or values that are not finite.

    Source: Calandrini et al., Coll. SFN 12, 201 (2011), section 4.2 (sums by FFT).
    """
    tracks = particle_tracks(positions, atoms, masses)
    lags = np.arange(len(tracks) // 2 + 1)
    mean, error = mean_and_error(particle_msd(tracks, lags).T)
    return lags * float(time_step), mean, error


def particle_tracks(positions: Array, atoms: Array | None, masses: Array | None) -> Array:
    """Check a trajectory, take out the centre of mass, and pick atoms: (t, k, 3) Å."""
    tracks = np.asarray(positions, float)
    if tracks.ndim != 3 or tracks.shape[2] != 3 or tracks.shape[1] == 0:
        raise ValueError(f"positions of shape (t, n, 3) are expected; found {tracks.shape}")
    if len(tracks) < 4:
        raise ValueError(f"at least four frames are needed; found {len(tracks)}")
    if not np.isfinite(tracks).all():
        frame, atom = np.argwhere(~np.isfinite(tracks))[0, :2]
        raise ValueError(f"frame {frame}: the position of atom {atom} is not finite")
    if masses is not None:
        centre = np.average(tracks, axis=1, weights=np.asarray(masses, float))
        tracks = tracks - (centre - centre[0])[:, None]
    if atoms is not None:
        tracks = tracks[:, atoms]
    if tracks.shape[1] == 0:
        raise ValueError("no atoms are selected")
    return tracks


def particle_msd(tracks: Array, lags: Array) -> Array:
    """MSD of each particle at each lag (in frames), over all time origins: (lags, k) Å^2."""
    length = len(tracks)
    tracks = tracks - tracks.mean(axis=0)  # small numbers: the sums below cancel
    squares = np.sum(tracks**2, axis=2)
    totals = np.concatenate([np.zeros((1, tracks.shape[1])), np.cumsum(squares, axis=0)])
    result = np.empty((len(lags), tracks.shape[1]))
    size = next_fast_len(2 * length, real=True)
    for k in range(tracks.shape[1]):
        spectrum = np.abs(rfft(tracks[:, k], size, axis=0)) ** 2
        products = irfft(spectrum.sum(axis=1), size)[lags]
        sums = totals[length - lags, k] + totals[length, k] - totals[lags, k]
        result[:, k] = (sums - 2 * products) / (length - lags)
    return np.maximum(result, 0.0)
