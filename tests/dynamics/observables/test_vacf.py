import numpy as np
import pytest
from scipy.signal import lfilter

from huozi.dynamics.observables import velocity_autocorrelation


def test_an_oscillator_correlates_as_a_cosine():
    t = np.arange(4000) * 0.5
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, (1, 50, 3))
    velocities = 0.01 * np.sqrt(2) * np.cos(2 * np.pi * t[:, None, None] / 20 + phases)
    lag, vacf, err = velocity_autocorrelation(velocities, 0.5, max_lag=100)
    np.testing.assert_allclose(vacf, 3e-4 * np.cos(2 * np.pi * lag / 20), atol=3e-6)
    assert lag[-1] == 100
    assert np.isfinite(err).all()


def test_langevin_velocities_decay_exponentially_and_integrate_to_d():
    phi = np.exp(-0.05)
    noise = np.random.default_rng(1).normal(0, 0.01 * np.sqrt(1 - phi**2), (20000, 20, 3))
    velocities = lfilter([1.0], [1.0, -phi], noise, axis=0)
    lag, vacf, err = velocity_autocorrelation(velocities, 1.0, max_lag=200)
    pulls = (vacf - 3e-4 * phi**lag) / err
    assert np.abs(pulls).max() < 5
    assert np.sqrt(np.mean(pulls**2)) < 2.2
    assert np.trapezoid(vacf, lag) / 3 == pytest.approx(1e-4 / 0.05, rel=0.1)


def test_a_subset_and_a_short_trajectory():
    velocities = np.zeros((8, 2, 3))
    velocities[:, 1, 0] = 2.0
    lag, vacf, err = velocity_autocorrelation(velocities, 1.0, atoms=[1])
    np.testing.assert_allclose(vacf, 4.0)
    assert len(lag) == 5
    assert np.isnan(err).all()


@pytest.mark.parametrize(
    ("velocities", "message"),
    [
        (np.zeros((9, 2)), "shape"),
        (np.zeros((3, 2, 3)), "at least four frames"),
        (np.full((9, 2, 3), np.inf), "frame 0: the velocity of atom 0 is not finite"),
        (np.zeros((9, 0, 3)), "no atoms"),
    ],
)
def test_hostile_velocities_are_refused(velocities, message):
    with pytest.raises(ValueError, match=message):
        velocity_autocorrelation(velocities, 1.0)
