"""Velocity autocorrelation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from huozi.dynamics.observables.blocks import BLOCKS, mean_and_error, split_blocks

Array = NDArray[Any]


def velocity_autocorrelation(
    velocities: Array, time_step: float, atoms: Array | None = None, max_lag: float = 1000.0
) -> tuple[Array, Array, Array]:
    """Velocity autocorrelation function <v(0) v(t)>, averaged over atoms and time origins.

    A third of its integral over time is the diffusion coefficient.

    Parameters
    ----------
    velocities : (t, n, 3) array
        Å/fs.
    time_step : float
        Time between frames, fs.
    atoms : (k,) int or (n,) bool array, optional
        The atoms to average over; all by default.
    max_lag : float
        Longest time, fs; at most half of the trajectory is used.

    Returns
    -------
    lag, vacf, err : arrays
        Time in fs, the function in Å^2/fs^2, and its standard error from averages over blocks
        of time at least twice as long as `max_lag` (NaN when only one such block fits).

    Raises
    ------
    ValueError
        If the array has another shape, fewer than four frames, or values that are not finite.

    Source: Allen & Tildesley, Computer Simulation of Liquids, 2nd ed., section 8.3.
    """
    tracks = checked_velocities(velocities, atoms)
    lags = min(int(max_lag / time_step + 1e-9), len(tracks) // 2) + 1
    parts = split_blocks(len(tracks), min(BLOCKS, max(1, len(tracks) // (2 * lags))))
    blocks = np.stack([_autocorrelation(tracks[part], lags) for part in parts])
    lag = np.arange(lags) * float(time_step)
    return lag, _autocorrelation(tracks, lags), mean_and_error(blocks)[1]


def checked_velocities(velocities: Array, atoms: Array | None = None) -> Array:
    """Check the velocities of a trajectory and pick atoms: (t, k, 3)."""
    tracks = np.asarray(velocities, float)
    if tracks.ndim != 3 or tracks.shape[2] != 3:
        raise ValueError(f"velocities of shape (t, n, 3) are expected; found {tracks.shape}")
    if len(tracks) < 4:
        raise ValueError(f"at least four frames are needed; found {len(tracks)}")
    if not np.isfinite(tracks).all():
        frame, atom = np.argwhere(~np.isfinite(tracks))[0, :2]
        raise ValueError(f"frame {frame}: the velocity of atom {atom} is not finite")
    if atoms is not None:
        tracks = tracks[:, atoms]
    if tracks.shape[1] == 0:
        raise ValueError("no atoms are selected")
    return tracks


def _autocorrelation(tracks: Array, lags: int) -> Array:
    """Mean over atoms and origins of v(0) v(t), by the Wiener-Khinchin theorem."""
    length = len(tracks)
    size = next_fast_len(2 * length, real=True)
    power = np.zeros(size // 2 + 1)
    for atom in range(tracks.shape[1]):
        power += np.sum(np.abs(rfft(tracks[:, atom], size, axis=0)) ** 2, axis=1)
    sums = irfft(power, size)[:lags]
    return np.asarray(sums / (length - np.arange(lags)) / tracks.shape[1])
