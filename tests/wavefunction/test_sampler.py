"""Walkers follow |psi|^2 of functions whose averages are known."""

from __future__ import annotations

import numpy as np
import pytest

from huozi.arrays import jax, jnp
from huozi.wavefunction import sampler

APART = jnp.array([[0.0, 0.0, 0.0], [0.0, 0.0, 30.0]])


@pytest.mark.parametrize("copies", [1, 2])
def test_spins_trade_places_between_atoms_far_apart(copies):
    """Up at A and down at B is three times as likely as the reverse; every walker starts so."""

    def log_psi(x):
        r = jnp.linalg.norm(x.reshape(-1, copies, 2, 1, 3) - APART, axis=-1)
        right, crossed = r[..., 0, 0] + r[..., 1, 1], r[..., 0, 1] + r[..., 1, 0]
        return jnp.logaddexp(jnp.log(3) / 2 - right, -crossed).sum(-1)

    walkers, charges = 2048, jnp.ones(2)
    noise = jax.random.normal(jax.random.key(0), (walkers, copies, 2, 3))
    x = (APART + noise).reshape(walkers, -1, 3)
    x, log, _ = sampler.sweep(
        log_psi, x, jax.random.key(1), jnp.array(0.5), charges, APART, (1, 1), 150
    )
    np.testing.assert_allclose(log, log_psi(x), rtol=1e-6)
    at_a = np.asarray(x).reshape(walkers, copies, 2, 3)[..., 2] < 15
    assert (at_a.sum(-1) == 1).all()
    count = walkers * copies
    assert abs(at_a[..., 0].mean() - 0.75) < 5 * np.sqrt(0.75 * 0.25 / count)
    distance = np.linalg.norm(np.asarray(x).reshape(-1, 1, 3) - APART, axis=-1).min(-1)
    assert abs(distance.mean() - 1.5) < 5 * np.sqrt(0.75 / len(distance))  # of 1s


def test_electrons_of_one_spin_do_not_trade_places():
    log_psi = lambda x: -jnp.linalg.norm(x - APART, axis=-1).sum(-1)  # noqa: E731
    x = APART + jax.random.normal(jax.random.key(0), (64, 2, 3))
    x, _, _ = sampler.sweep(
        log_psi, x, jax.random.key(1), jnp.array(0.7), jnp.ones(2), APART, (2, 0), 100
    )
    assert (x[:, 0, 2] < 15).all()
    assert (x[:, 1, 2] > 15).all()
