"""Error bars of averages over correlated samples."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

BLOCKS = 8
"""Blocks a trajectory is cut into for the errors of curves: each error is known to 1/sqrt(14)."""


class Average(NamedTuple):
    """A time average and how far to trust it.

    Parameters
    ----------
    mean : float
    error : float
        Standard error of the mean.
    correlation_time : float
        Integrated autocorrelation time, in samples; 0.5 for uncorrelated samples. Two samples
        are independent when they are twice this far apart.
    blocks : int
        Blocks the error comes from.
    converged : bool
        False when the series is too short for the error to have levelled off with the block
        length; the error is then a lower bound.
    """

    mean: float
    error: float
    correlation_time: float
    blocks: int
    converged: bool


def block_average(samples: Sequence[float] | Array) -> Average:
    """Mean of a correlated series with its standard error and autocorrelation time.

    Neighbouring samples are averaged in pairs again and again; the apparent error of the mean
    grows with the block length until the blocks are independent. The block length taken is the
    shortest B with B^3 > 2 N g^2, where g is the growth of the squared error.

    Parameters
    ----------
    samples : (t,) array
        One number per time, equally spaced; at least four.

    Returns
    -------
    Average

    Raises
    ------
    ValueError
        If there are fewer than four samples, or one is not finite.

    Source: Flyvbjerg & Petersen, J. Chem. Phys. 91, 461 (1989); stopping rule: Lee et al.,
    Phys. Rev. E 83, 066706 (2011).
    """
    series = as_series(samples, least=4)
    mean = float(series.mean())
    errors, lengths, counts = _block_errors(series - mean)
    if errors[0] <= 1e-14 * max(abs(mean), 1e-300):
        return Average(mean, 0.0, 0.5, len(series), True)
    growth = (errors / errors[0]) ** 2
    enough = np.flatnonzero(lengths.astype(float) ** 3 > 2 * len(series) * growth**2)
    converged = bool(enough.size)
    level = int(enough[0]) if converged else int(np.argmax(errors))
    return Average(
        mean, float(errors[level]), float(growth[level]) / 2, int(counts[level]), converged
    )


def as_series(samples: Sequence[float] | Array, least: int) -> Array:
    """Check a series of numbers: one dimension, finite, long enough."""
    series = np.asarray(samples, float)
    if series.ndim != 1:
        raise ValueError(f"a series has one number per time; found an array of {series.shape}")
    if len(series) < least:
        raise ValueError(f"at least {least} samples are needed; found {len(series)}")
    if not np.isfinite(series).all():
        at = int(np.flatnonzero(~np.isfinite(series))[0])
        raise ValueError(f"sample {at} is not finite ({series[at]})")
    return series


def split_blocks(length: int, blocks: int = BLOCKS) -> list[slice]:
    """Cut `length` samples into at most `blocks` runs of neighbours of nearly equal size."""
    edges = np.linspace(0, length, min(blocks, length) + 1).round().astype(int)
    return [slice(a, b) for a, b in pairwise(edges.tolist())]


def mean_and_error(values: Array) -> tuple[Array, Array]:
    """Mean over the first axis and its standard error; the error of one value is NaN."""
    values = np.asarray(values, float)
    mean = values.mean(axis=0)
    if len(values) < 2:
        return mean, np.full_like(mean, np.nan)
    return mean, values.std(axis=0, ddof=1) / np.sqrt(len(values))


def _block_errors(series: Array) -> tuple[Array, Array, Array]:
    """Apparent standard error of the mean, block length and number of blocks, at each level."""
    errors, lengths, counts = [], [], []
    length = 1
    while len(series) >= 4:
        errors.append(series.std(ddof=1) / np.sqrt(len(series)))
        lengths.append(length)
        counts.append(len(series))
        series = series[len(series) % 2 :].reshape(-1, 2).mean(axis=1)
        length *= 2
    return np.array(errors), np.array(lengths), np.array(counts)
