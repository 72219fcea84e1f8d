"""Mean squared displacement."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from huozi.dynamics.observables.blocks import BLOCKS, mean_and_error, split_blocks

Array = NDArray[Any]


def mean_squared_displacement(
    positions: Array,
    time_step: float,
    atoms: Array | None = None,
    masses: Array | None = None,
    points: int = 200,
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
    points : int
        Number of times, evenly spaced up to half of the trajectory.

    Returns
    -------
    lag, msd, err : (points,) arrays
        Time in fs, MSD in Å^2, and its standard error: the larger of the scatter between atoms
        and of a jackknife over blocks of time origins. Fewer points when there are fewer frames.

    Raises
    ------
    ValueError
        If the array has another shape, fewer than four frames, or values that are not finite.

    Source: Allen & Tildesley, Computer Simulation of Liquids, 2nd ed., section 8.3.
    """
    tracks = particle_tracks(positions, atoms, masses)
    half = len(tracks) // 2
    lags = np.unique(np.linspace(0, half, min(points, half + 1)).round().astype(int))
    by_atom, left_out = squared_displacements(tracks, lags)
    return lags * float(time_step), by_atom.mean(axis=0), larger_error(by_atom, left_out)


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


def squared_displacements(tracks: Array, lags: Array) -> tuple[Array, Array]:
    """Average squared displacements over all time origins, in two ways that give errors.

    Parameters
    ----------
    tracks : (t, k, 3) array
        Å.
    lags : (m,) int array
        Frames, ascending.

    Returns
    -------
    by_atom : (k, m) array
        Of each atom, Å^2.
    left_out : (blocks, m) array
        Over all atoms, leaving out one block of neighbouring time origins after the other.
    """
    by_atom = np.empty((tracks.shape[1], len(lags)))
    blocks = min(BLOCKS, len(tracks) - int(lags[-1]))
    left_out = np.empty((blocks, len(lags)))
    for column, lag in enumerate(lags):
        squares = np.sum((tracks[lag:] - tracks[: len(tracks) - lag]) ** 2, axis=2)
        by_atom[:, column] = squares.mean(axis=0)
        by_origin = squares.mean(axis=1)
        for row, part in enumerate(split_blocks(len(by_origin), blocks)):
            left_out[row, column] = np.delete(by_origin, part).mean()
    return by_atom, left_out


def larger_error(by_atom: Array, left_out: Array) -> Array:
    """Return the larger of two standard errors of an average over atoms and time origins.

    The scatter between atoms (first axis) sees what they do each on their own; the jackknife
    over blocks of time sees what they do together.
    """
    single = mean_and_error(by_atom)[1]
    blocks = len(left_out)
    together = np.sqrt(blocks - 1) * left_out.std(axis=0)
    return np.asarray(np.fmax(single, together))
