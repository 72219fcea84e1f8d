import numpy as np
import pytest

from huozi.dynamics.observables import diffusion_coefficient, yeh_hummer_correction
from huozi.dynamics.observables.diffusion import _brownian_covariance
from huozi.dynamics.observables.msd import squared_displacements

D = 2.3e-4


def random_walk(rng, frames, atoms, time_step):
    steps = rng.normal(0, np.sqrt(2 * D * time_step), (frames, atoms, 3))
    return np.cumsum(steps, axis=0)


def test_random_walks_give_their_exact_d_within_honest_errors():
    rng = np.random.default_rng(2)
    fits = [
        diffusion_coefficient(random_walk(rng, 400, 64, 10.0), 10.0, start=200) for _ in range(50)
    ]
    values = np.array([f.value for f in fits])
    errors = np.array([f.error for f in fits])
    assert values.mean() == pytest.approx(D, abs=3 * values.std() / 50**0.5)
    assert errors.mean() == pytest.approx(values.std(), rel=0.3)
    assert 0.75 < np.std((values - D) / errors) < 1.3
    assert (fits[0].start, fits[0].stop) == (200, 2000)


def test_atoms_that_move_together_do_not_count_as_many():
    rng = np.random.default_rng(5)
    pulls = []
    for _ in range(60):
        walk = np.repeat(random_walk(rng, 400, 8, 10.0), 16, axis=1)
        fit = diffusion_coefficient(walk, 10.0, start=100)
        pulls.append((fit.value - D) / fit.error)
    assert 0.8 < np.std(pulls) < 1.7


def test_rattling_in_a_cage_shifts_the_intercept_not_the_slope():
    rng = np.random.default_rng(0)
    walk = random_walk(rng, 600, 200, 10.0)
    still = diffusion_coefficient(walk, 10.0, start=500)
    rattling = diffusion_coefficient(walk + rng.normal(0, 0.2, walk.shape), 10.0, start=500)
    assert rattling.value == pytest.approx(still.value, abs=2 * still.error)
    assert rattling.intercept == pytest.approx(still.intercept + 6 * 0.2**2, abs=0.05)


def test_covariance_of_the_fit_is_that_of_random_walks():
    lags = np.array([2, 5, 9, 20])
    steps = np.random.default_rng(1).normal(size=(50, 20000, 1))
    walks = np.cumsum(np.concatenate([steps, 0 * steps, 0 * steps], axis=2), axis=0)
    sampled = np.cov(squared_displacements(walks, lags)[0].T)
    np.testing.assert_allclose(sampled, 2 * _brownian_covariance(lags, 50), rtol=0.08)


def test_agrees_with_kinisi():
    pytest.importorskip("kinisi", reason="an independent program: pip install kinisi")
    import scipp
    from ase import Atoms
    from kinisi.analyze import DiffusionAnalyzer

    walk = random_walk(np.random.default_rng(7), 200, 40, 10.0)
    ours = diffusion_coefficient(walk, 10.0, start=100)
    frames = [Atoms("O40", positions=x, cell=[50] * 3, pbc=True) for x in walk]
    theirs = DiffusionAnalyzer.from_ase(
        frames,
        specie="O",
        time_step=10.0 * scipp.Unit("fs"),
        step_skip=1 * scipp.Unit("dimensionless"),
        progress=False,
    )
    theirs.diffusion(100 * scipp.Unit("fs"), progress=False, n_samples=200, n_burn=100)
    assert ours.value * 0.1 == pytest.approx(theirs.D.values.mean(), abs=0.1 * ours.error)


def test_yeh_hummer_makes_the_published_tip3p_results_independent_of_the_box():
    """D of TIP3P water at 298 K in five boxes (Yeh & Hummer 2004), viscosity 0.31 mPa s."""
    length = [18.58, 23.42, 29.51, 37.19, 46.86]
    box = np.array([4.884, 5.123, 5.315, 5.466, 5.590])
    error = np.array([0.032, 0.027, 0.014, 0.011, 0.013])
    infinite = box + [yeh_hummer_correction(298, 0.31, x) * 1e4 for x in length]
    mean = np.average(infinite, weights=error**-2)
    assert np.abs(infinite - mean).max() < 0.05 < np.ptp(box)
    assert np.sum(((infinite - mean) / error) ** 2) < 12
    si = 2.837297 * 1.380649e-23 * 298 / (6 * np.pi * 0.31e-3 * 18.58e-10)
    assert yeh_hummer_correction(298, 0.31, 18.58) == pytest.approx(si * 1e5, rel=1e-6)


def test_hostile_input_is_refused():
    walk = np.zeros((100, 2, 3))
    with pytest.raises(ValueError, match="too short for a diffusion coefficient: 100 frames"):
        diffusion_coefficient(walk, 1.0)
    with pytest.raises(ValueError, match="must be positive; found 300 K, 0 mPa s"):
        yeh_hummer_correction(300, 0, 10)
