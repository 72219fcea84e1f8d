"""The direction of a step: against dense linear algebra, and where float32 is at its limit."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from huozi.wavefunction.natural_gradient import spring


def test_direction_is_that_of_the_regularised_natural_gradient() -> None:
    """In float64: last direction + ridge solution of O step = residual, in parameter space."""
    rng = np.random.default_rng(0)
    jacobian, energies = rng.normal(size=(40, 12)), rng.normal(size=40)
    last, momentum, damping = rng.normal(size=12), 0.9, 0.01
    given = map(jnp.asarray, (jacobian[None], energies[None], last))
    found = spring(*given, momentum, jnp.asarray(damping))
    o = (jacobian - jacobian.mean(0)) / np.sqrt(40)
    residual = -(energies - energies.mean()) / np.sqrt(40) - momentum * o @ last
    expected = momentum * last + np.linalg.solve(o.T @ o + damping * np.eye(12), o.T @ residual)
    np.testing.assert_allclose(found.step, expected, rtol=1e-9)
    assert found.distance == pytest.approx(np.linalg.norm(o @ expected), rel=1e-9)


def test_freedom_counts_the_eigenvalues_above_the_damping() -> None:
    """The trace of G / (G + damping), estimated by one vector, in parts of the walkers."""
    rng = np.random.default_rng(1)
    jacobian = rng.normal(size=(600, 60)) * np.geomspace(1, 1e-4, 60)
    found = spring(jacobian[None], rng.normal(size=(1, 600)), np.zeros(60), 0.0, jnp.asarray(1e-3))
    o = (jacobian - jacobian.mean(0)) / np.sqrt(600)
    values = np.linalg.eigvalsh(o.T @ o)
    assert found.freedom == pytest.approx((values / (values + 1e-3)).sum() / 600, abs=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_one_far_walker_does_not_make_the_matrix_indefinite(seed: int) -> None:
    rng = np.random.default_rng(seed)
    jacobian = rng.normal(size=(128, 600)).astype(np.float32)
    jacobian[7] *= 3e4
    energies = rng.normal(size=128)
    found = spring(jacobian[None], energies[None], np.zeros(600), 0.0, jnp.asarray(0.0))
    assert np.isfinite(found.step).all()


def test_stiff_parameters_do_not_drown_the_others() -> None:
    """Derivatives 10^4 times larger for some parameters, in float32: as in float64."""
    rng = np.random.default_rng(2)
    jacobian = rng.normal(size=(128, 600)) * np.where(np.arange(600) < 200, 1e4, 1.0)
    jacobian, energies = jacobian.astype(np.float32), rng.normal(size=128)
    single, double = (
        spring(each[None], energies[None], np.zeros(600), 0.0, jnp.asarray(1e-3)).step
        for each in (jacobian, jacobian.astype(np.float64))
    )
    np.testing.assert_allclose(single, double, rtol=1e-3, atol=1e-3 * float(abs(double).max()))
