import numpy as np
import pytest

from huozi.dynamics.observables import vibrational_density_of_states
from huozi.dynamics.observables.vdos import CM_PER_FS


def oscillators(rng, wavenumbers, masses, frames, time_step):
    """Each atom at one frequency, equipartition on average, random phases."""
    t = np.arange(frames) * time_step
    omega = 2 * np.pi * np.asarray(wavenumbers) / CM_PER_FS
    amplitude = 0.01 / np.sqrt(masses)
    phase = rng.uniform(0, 2 * np.pi, (len(masses), 3))
    angle = omega[None, :, None] * t[:, None, None] + phase
    return amplitude[None, :, None] * np.cos(angle)


def test_lines_stand_at_the_exact_wavenumbers_with_three_degrees_of_freedom_an_atom():
    masses = np.array([16.0] * 10 + [1.0] * 20)
    wavenumbers = [503.0] * 10 + [3407.0] * 20
    velocities = oscillators(np.random.default_rng(0), wavenumbers, masses, 8000, 1.0)
    heavy, light = masses == 16, masses == 1
    nu, total, err = vibrational_density_of_states(velocities, 1.0, masses)
    _, slow, _ = vibrational_density_of_states(velocities, 1.0, masses, heavy)
    _, fast, _ = vibrational_density_of_states(velocities, 1.0, masses, light)
    width = nu[1] - nu[0]
    assert width == pytest.approx(20, rel=0.01)
    assert total.sum() * width == pytest.approx(90, rel=1e-3)
    assert slow.sum() * width == pytest.approx(30, rel=1e-3)
    np.testing.assert_allclose(slow + fast, total, atol=1e-12)
    assert np.average(nu, weights=slow) == pytest.approx(503, abs=1)
    assert np.average(nu, weights=fast) == pytest.approx(3407, abs=1)
    assert abs(nu[np.argmax(total)] - 3407) < width
    assert err.shape == nu.shape


def test_white_noise_is_flat_within_its_errors():
    velocities = np.random.default_rng(1).normal(size=(4096, 6, 3))
    nu, dos, err = vibrational_density_of_states(velocities, 2.0, np.ones(6), resolution=130)
    flat = 18 / nu[-1]
    pulls = (dos[2:-2] - flat) / err[2:-2]
    assert 0.8 < np.sqrt(np.mean(pulls**2)) < 1.3


def test_hostile_input_is_refused():
    velocities = np.ones((50, 2, 3))
    with pytest.raises(
        ValueError, match="takes pieces of 1668 frames of 1 fs; the trajectory has 50"
    ):
        vibrational_density_of_states(velocities, 1.0, np.ones(2))
    with pytest.raises(ValueError, match="2 masses are expected"):
        vibrational_density_of_states(velocities, 1.0, np.ones(3))
    with pytest.raises(ValueError, match="all velocities are zero"):
        vibrational_density_of_states(0 * velocities, 1.0, np.ones(2), resolution=1000)
    with pytest.raises(ValueError, match="no atoms are selected"):
        vibrational_density_of_states(velocities, 1.0, np.ones(2), [], resolution=1000)
