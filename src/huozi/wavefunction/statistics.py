"""Energies with errors that are right: chains are independent, samples of one chain are not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Mean:
    """Average of a quantity over many chains.

    Parameters
    ----------
    value, error : float
        Mean and its standard error.
    variance : float
        Of the single samples.
    autocorrelation_time : float
        Integrated, in samples; 1 for uncorrelated samples.
    """

    value: float
    error: float
    variance: float
    autocorrelation_time: float


def chain_average(samples: NDArray[np.floating]) -> Mean:
    """Mean of `samples` (times, chains) with its standard error.

    Walkers move independently, so the means of the chains are independent numbers whose spread
    gives the error however long the correlation in time is: the limit of blocking (Flyvbjerg &
    Petersen, J. Chem. Phys. 91, 461 (1989)) with one block a chain. Neighbouring chains in the
    array share nothing.

    Raises
    ------
    ValueError
        If there are fewer than two chains, or a sample is not finite.
    """
    samples = np.asarray(samples, float)
    if samples.ndim != 2 or samples.shape[1] < 2 or not samples.shape[0]:
        raise ValueError(
            f"samples of at least two chains are needed, (times, chains); found {samples.shape}"
        )
    if not np.isfinite(samples).all():
        time, chain = np.argwhere(~np.isfinite(samples))[0]
        raise ValueError(f"sample {time} of chain {chain} is {samples[time, chain]}")
    times, chains = samples.shape
    means = samples.mean(0)
    error = float(means.std(ddof=1) / np.sqrt(chains))
    variance = float(samples.var())
    time = times * means.var(ddof=1) / variance if variance > 0 else 1.0
    return Mean(float(means.mean()), error, variance, max(1.0, float(time)))


def first_settled(series: NDArray[np.floating]) -> int:
    """Index of a series (T,) of correlated numbers from which on it no longer remembers its start.

    Of the cuts in the first half, the one after which the mean would be known best if batches of
    five were independent: to leave out more costs samples, to leave out less costs spread.

    Source: the marginal standard error rule, White, Simulation 69, 323 (1997).
    """
    batch = max(1, min(5, len(series) // 20))
    count = len(series) // batch
    means = np.asarray(series, float)[: count * batch].reshape(count, batch).mean(1)
    means -= means.mean()
    left = np.arange(count, 0, -1)
    sums, squares = (np.cumsum(part[::-1])[::-1] / left for part in (means, means**2))
    return batch * int(np.argmin(((squares - sums**2) / left)[: count // 2 + 1]))


def drift(series: NDArray[np.floating]) -> tuple[float, float]:
    """Difference between the second and the first half of a series, and its standard error.

    Parameters
    ----------
    series : (T,) array
        Eight or more numbers; correlation is met by averaging over eighths.
    """
    eighths = np.array([part.mean() for part in np.array_split(np.asarray(series, float), 8)])
    first, second = eighths[:4], eighths[4:]
    error = np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 4)
    return float(second.mean() - first.mean()), float(error)


def extrapolate_to_zero_variance(
    energies: NDArray[np.floating], variances: NDArray[np.floating]
) -> tuple[float, float] | None:
    """Energy at zero variance by a line through (variance, energy), and its standard error.

    An exact eigenstate has no variance, and near one the energy error is proportional to it.
    None when the variances span too little for a line.

    Source: Kwon, Ceperley & Martin, Phys. Rev. B 48, 12037 (1993).
    """
    energies, variances = np.asarray(energies, float), np.asarray(variances, float)
    if len(energies) < 4 or variances.max() < 1.3 * variances.min():
        return None
    (slope, start), covariance = np.polyfit(variances, energies, 1, cov=True)
    del slope
    return float(start), float(np.sqrt(covariance[1, 1]))
