"""Error bars against series whose true errors are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import chi2

from huozi.wavefunction import chain_average
from huozi.wavefunction.statistics import drift, extrapolate_to_zero_variance, first_settled


def chains(rng, memory, times=200, count=64):
    """Stationary autoregressive series of variance 1, (times, count)."""
    noise = rng.normal(size=(times + 500, count)) * np.sqrt(1 - memory**2)
    return lfilter([1], [1, -memory], noise, axis=0)[500:]


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.95])
def test_errors_agree_with_the_spread_of_many_averages(memory):
    rng = np.random.default_rng(7)
    found = [chain_average(chains(rng, memory)) for _ in range(100)]
    square = sum((mean.value / mean.error) ** 2 for mean in found)
    low, high = chi2.ppf([1e-4, 1 - 1e-4], 100)
    assert low < square < high
    expected = (1 + memory) / (1 - memory)
    assert np.mean([m.autocorrelation_time for m in found]) == pytest.approx(expected, rel=0.15)


def test_what_is_no_sample_is_named():
    bad = np.zeros((3, 4))
    bad[1, 2] = np.inf
    with pytest.raises(ValueError, match="sample 1 of chain 2 is inf"):
        chain_average(bad)
    with pytest.raises(ValueError, match="two chains"):
        chain_average(np.zeros((3, 1)))


def test_constant_samples_have_no_error():
    mean = chain_average(np.full((5, 8), -0.5))
    assert (mean.value, mean.error, mean.variance) == (-0.5, 0.0, 0.0)


def test_drift_and_extrapolation():
    rng = np.random.default_rng(3)
    noise = rng.normal(size=4000)
    change, error = drift(noise)
    assert abs(change) < 4 * error
    change, error = drift(noise - np.linspace(0, 1, 4000))
    assert change == pytest.approx(-0.5, abs=4 * error)
    variances = np.linspace(0.01, 0.1, 30)
    energy, error = extrapolate_to_zero_variance(-2.9 + 0.3 * variances, variances)
    assert energy == pytest.approx(-2.9, abs=1e-9)
    assert extrapolate_to_zero_variance(variances, np.full(30, 0.1)) is None


@pytest.mark.parametrize("memory", [0.0, 0.8])
def test_the_start_of_a_series_is_left_out_as_far_as_it_shows(memory):
    """A fall by 20 standard deviations with a decay time of 40; after 200 it is below a seventh."""
    rng = np.random.default_rng(3)
    starts = []
    for _ in range(20):
        series = chains(rng, memory, times=2000, count=1)[:, 0]
        assert first_settled(series) <= 1000
        starts.append(first_settled(series + 20 * np.exp(-np.arange(2000) / 40)))
    assert 80 < np.median(starts) < 250
    assert min(starts) > 40
    assert first_settled(np.zeros(4)) == 0
