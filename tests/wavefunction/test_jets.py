"""The forward Laplacian against automatic differentiation."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from huozi.arrays import jax, jnp
from huozi.wavefunction import jets
from huozi.wavefunction.pair_product import log_product


@functools.partial(jax.jit, static_argnums=0)
def derivatives(function, x):
    """Value, gradient and Laplacian of a scalar function of (N, 3) by JAX's own rules."""

    def flat(v):
        return function(v.reshape(x.shape))

    gradient, curvature = jax.linearize(jax.grad(flat), x.ravel())
    hessian = jax.vmap(curvature)(jnp.eye(x.size))
    return flat(x.ravel()), gradient, jnp.trace(hessian)


def test_laplacian_of_a_wave_function_is_the_trace_of_the_hessian(four_electrons):
    molecule, log_psi, _ = four_electrons
    for seed in range(3):
        x = jax.random.normal(jax.random.key(seed), (molecule.electrons, 3))
        value, gradient, laplacian = derivatives(log_psi, x)
        jet = log_psi(jets.seed(x))
        np.testing.assert_allclose(jet.value, value, rtol=1e-12)
        np.testing.assert_allclose(jet.gradient, gradient, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(jet.laplacian, laplacian, rtol=1e-9)


def agree_with_jax(function, x):
    value, gradient, laplacian = derivatives(function, x)
    jet = jax.jit(function)(jets.seed(x))
    np.testing.assert_allclose(jet.value, value, rtol=1e-10)
    np.testing.assert_allclose(jet.gradient, gradient, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(jet.laplacian, laplacian, rtol=1e-8)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_determinants(n):
    def volume(x):
        rows = jets.dense(x, jnp.asarray(np.random.default_rng(n).normal(size=(3, 2 * n))))
        curved = jets.elementwise(jnp.sin, jets.spread_electrons(rows))
        matrix = jets.linear(lambda v: v.reshape(n, 2, n).swapaxes(0, 1), curved)
        return jets.linear(lambda d: d.sum(), jets.determinant(matrix))

    agree_with_jax(volume, jax.random.normal(jax.random.key(n), (n, 3)))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_products_of_pair_functions(n):
    weights, matrix = (jnp.asarray(np.random.default_rng(n).normal(size=s)) for s in (2, (3, 4)))

    def product(x):
        rows = jets.elementwise(jnp.cos, jets.spread_electrons(jets.dense(x, matrix)))
        orbitals = jets.linear(lambda v: v.reshape(n, 2, 2).swapaxes(0, 1)[..., : min(n, 2)], rows)
        return log_product(orbitals, weights)[1]

    agree_with_jax(product, jax.random.normal(jax.random.key(n), (n, 3)))


def test_a_product_of_one_pair_function_in_closed_form():
    """Of vectors of length g at angles t: prod g_i prod sin(t_j - t_i), for any number."""
    rng = np.random.default_rng(0)
    g, t = rng.uniform(0.5, 2, 4), rng.uniform(0, 2 * np.pi, 4)
    orbitals = jnp.asarray(np.stack([g * np.cos(t), g * np.sin(t)], -1)[None])
    i, j = np.triu_indices(4, 1)
    expected = g.prod() * np.sin(t[j] - t[i]).prod()
    sign, logarithm = log_product(orbitals, jnp.ones(1))
    assert float(sign * jnp.exp(logarithm)) == pytest.approx(expected, rel=1e-12)
    sign, logarithm = log_product(orbitals[:, jnp.array([2, 1, 0, 3])], jnp.ones(1))
    assert float(sign * jnp.exp(logarithm)) == pytest.approx(-expected, rel=1e-12)


def test_pairs():
    i, j = np.triu_indices(4, 1)

    def repulsion(x):
        r2 = jets.squared_length(jets.separation(x, i, j))
        return jets.sum_both(jets.by_both(jets.elementwise(lambda q: q**1.5, r2)), i, j, 4)

    x = jax.random.normal(jax.random.key(0), (4, 3))
    value, gradient, laplacian = derivatives(repulsion, x)
    jet = jax.jit(repulsion)(jets.seed(x))
    np.testing.assert_allclose(jet.stack[0], value, rtol=1e-13)
    np.testing.assert_allclose(jet.gradient, gradient, rtol=1e-12)
    np.testing.assert_allclose(jet.laplacian, laplacian, rtol=1e-12)


def test_functions_of_both_electrons_of_a_pair():
    i, j = np.triu_indices(4, 1)
    weight = jnp.asarray(np.random.default_rng(0).normal(size=3))

    def curved(x):
        unlike = jets.of_both(jnp.subtract, jets.elementwise(jnp.sin, x), i, j)
        both = jets.of_both(jnp.add, jets.elementwise(jnp.cos, x), i, j)
        pairs = jets.linear(
            lambda v: v @ weight, jets.multiply(jets.multiply(unlike, unlike), both)
        )
        return jets.sum_both(pairs, i, j, 4)

    agree_with_jax(curved, jax.random.normal(jax.random.key(0), (4, 3)))
