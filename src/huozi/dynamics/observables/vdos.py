"""Vibrational density of states."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft

from huozi.dynamics.observables.blocks import mean_and_error
from huozi.dynamics.observables.vacf import checked_velocities

Array = NDArray[Any]

CM_PER_FS = 1e15 / 2.99792458e10
"""One oscillation per fs, cm^-1."""


def vibrational_density_of_states(
    velocities: Array,
    time_step: float,
    masses: Array,
    atoms: Array | None = None,
    resolution: float = 20.0,
) -> tuple[Array, Array, Array]:
    """Mass-weighted vibrational density of states of classical motion.

    It is the power spectrum of sqrt(m) v, averaged over overlapping pieces of the trajectory
    under a Hann window, and scaled so that its integral over all atoms is 3n, the number of
    degrees of freedom; a subset of atoms integrates to its share of the kinetic energy in
    units of kT/2 (3k by equipartition).

    Parameters
    ----------
    velocities : (t, n, 3) array
        Å/fs, of all atoms.
    time_step : float
        Time between frames, fs; a motion faster than two frames is folded back, so 4 fs or
        less where hydrogen vibrates.
    masses : (n,) array
        Any unit.
    atoms : (k,) int or (n,) bool array, optional
        Show the share of these atoms, e.g. of one element; all by default.
    resolution : float
        Spacing of the spectrum, cm^-1 (20 cm^-1 takes pieces of 1.7 ps); lines are 1.4 times
        wider at half height.

    Returns
    -------
    wavenumber, dos, err : arrays
        cm^-1, degrees of freedom per cm^-1, and its standard error from the scatter between
        pieces (NaN when the trajectory holds one piece).

    Raises
    ------
    ValueError
        If the trajectory is shorter than one piece, or an array has a wrong shape or values
        that are not finite.

    Source: Lin, Blanco & Goddard, J. Chem. Phys. 119, 11792 (2003), equations 3 and 4; pieces
    as in Welch, IEEE Trans. Audio Electroacoust. 15, 70 (1967).
    """
    tracks = checked_velocities(velocities)
    masses = np.asarray(masses, float)
    if masses.shape != tracks.shape[1:2]:
        raise ValueError(f"{tracks.shape[1]} masses are expected; found shape {masses.shape}")
    size = round(CM_PER_FS / resolution / time_step)
    if size < 8 or size > len(tracks):
        raise ValueError(
            f"a resolution of {resolution:g} cm^-1 takes pieces of {size} frames of "
            f"{time_step:g} fs; the trajectory has {len(tracks)} (choose a "
            f"{'coarser' if size > len(tracks) else 'finer'} resolution)"
        )
    chosen = np.arange(len(masses)) if atoms is None else np.arange(len(masses))[atoms]
    if len(chosen) == 0:
        raise ValueError("no atoms are selected")
    twice_kinetic = np.mean(np.sum(tracks**2 * masses[None, :, None], axis=(1, 2)))
    if twice_kinetic == 0:
        raise ValueError("all velocities are zero")
    spectra = _piece_spectra(tracks[:, chosen] * np.sqrt(masses[chosen])[None, :, None], size)
    wavenumber = np.arange(spectra.shape[1]) * (CM_PER_FS / size / time_step)
    scale = 3 * len(masses) / twice_kinetic * (size * time_step / CM_PER_FS)
    dos, error = mean_and_error(spectra * scale)
    return wavenumber, dos, error


def _piece_spectra(tracks: Array, size: int) -> Array:
    """One-sided power of every half-overlapping piece; each row sums to its mean square."""
    window = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2
    window /= np.sqrt(np.mean(window**2))
    pieces = range(0, len(tracks) - size + 1, size // 2)
    spectra = np.empty((len(pieces), size // 2 + 1))
    for row, begin in enumerate(pieces):
        amplitude = rfft(tracks[begin : begin + size] * window[:, None, None], axis=0) / size
        spectra[row] = np.sum(np.abs(amplitude) ** 2, axis=(1, 2))
    spectra[:, 1 : (size + 1) // 2] *= 2
    return spectra
