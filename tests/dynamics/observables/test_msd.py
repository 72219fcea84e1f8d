import numpy as np
import pytest

from huozi.dynamics.observables import mean_squared_displacement


def test_averages_are_over_all_time_origins_and_errors_no_less_than_between_atoms():
    positions = np.cumsum(np.random.default_rng(0).normal(size=(21, 3, 3)), axis=0) + 1e4
    lag, msd, err = mean_squared_displacement(positions, 2.0)
    each = [np.sum((positions[k:] - positions[: 21 - k]) ** 2, axis=2).mean(0) for k in range(11)]
    np.testing.assert_allclose(lag, 2.0 * np.arange(11))
    np.testing.assert_allclose(msd, np.mean(each, axis=1), rtol=1e-9, atol=1e-9)
    assert (err >= np.std(each, axis=1, ddof=1) / 3**0.5 - 1e-9).all()
    few, *_ = mean_squared_displacement(positions, 2.0, points=4)
    assert few.tolist() == [0, 6, 14, 20]


def test_ballistic_motion_and_the_centre_of_mass():
    t = np.arange(10.0)[:, None, None]
    velocity = np.array([[1.0, 0, 0], [-0.5, 0, 0]])
    drift = np.array([0.3, -0.2, 0.1])
    positions = t * (velocity + drift)
    lag, msd, _ = mean_squared_displacement(positions, 1.0, masses=[1.0, 2.0], atoms=[0])
    np.testing.assert_allclose(msd, lag**2, atol=1e-9)


@pytest.mark.parametrize(
    ("positions", "atoms", "message"),
    [
        (np.zeros((5, 3)), None, r"shape \(t, n, 3\) are expected; found \(5, 3\)"),
        (np.zeros((3, 2, 3)), None, "at least four frames are needed; found 3"),
        (np.full((5, 2, 3), np.nan), None, "frame 0: the position of atom 0 is not finite"),
        (np.zeros((5, 2, 3)), np.zeros(2, bool), "no atoms are selected"),
    ],
)
def test_hostile_trajectories_are_refused(positions, atoms, message):
    with pytest.raises(ValueError, match=message):
        mean_squared_displacement(positions, 1.0, atoms=atoms)
