import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from huozi.dynamics.observables import block_average
from huozi.dynamics.observables.blocks import mean_and_error, split_blocks


def ar1(rng, phi, length):
    noise = rng.normal(size=length + 1000)
    return lfilter([1.0], [1.0, -phi], noise)[1000:]


@pytest.mark.parametrize("phi", [0.0, 0.8, 0.97])
def test_error_and_correlation_time_of_an_ar1_process_are_the_analytical_ones(phi):
    rng = np.random.default_rng(1)
    length = 20000
    exact = 1 / (1 - phi) / np.sqrt(length)
    averages = [block_average(ar1(rng, phi, length)) for _ in range(40)]
    errors = np.array([a.error for a in averages])
    times = np.array([a.correlation_time for a in averages])
    assert all(a.converged for a in averages)
    assert errors.mean() == pytest.approx(exact, rel=0.08)
    assert times.mean() == pytest.approx((1 + phi) / (1 - phi) / 2, rel=0.15)
    scaled = np.array([a.mean for a in averages]) / errors
    assert 0.7 < np.sqrt(np.mean(scaled**2)) < 1.35


def test_a_series_shorter_than_its_correlation_time_says_so():
    drift = np.cumsum(np.random.default_rng(0).normal(size=64))
    assert not block_average(drift).converged


def test_a_constant_series_has_no_error():
    average = block_average([3.5] * 10)
    assert average[:3] == (3.5, 0.0, 0.5)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([1.0, 2.0, 3.0], "at least 4 samples are needed; found 3"),
        ([1.0, 2.0, np.nan, 3.0], "sample 2 is not finite"),
        (np.zeros((4, 2)), "one number per time"),
    ],
)
def test_hostile_series_are_refused(samples, message):
    with pytest.raises(ValueError, match=message):
        block_average(samples)


@given(st.integers(1, 200), st.integers(1, 20))
def test_blocks_cover_everything_once_and_evenly(length, blocks):
    parts = split_blocks(length, blocks)
    covered = np.concatenate([np.arange(length)[p] for p in parts])
    sizes = [p.stop - p.start for p in parts]
    assert covered.tolist() == list(range(length))
    assert len(parts) == min(blocks, length)
    assert max(sizes) - min(sizes) <= 1


def test_the_error_of_one_value_is_unknown():
    mean, error = mean_and_error(np.array([[1.0, 2.0]]))
    assert mean.tolist() == [1.0, 2.0]
    assert np.isnan(error).all()
