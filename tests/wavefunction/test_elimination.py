"""Determinants and inverses against NumPy's, also of singular matrices."""

from __future__ import annotations

import numpy as np
import pytest

from huozi.arrays import jax, jnp
from huozi.wavefunction.determinants import log_sum
from huozi.wavefunction.elimination import determinant, determinant_and_inverse
from huozi.wavefunction.jets import Jet


@pytest.mark.parametrize("n", [1, 4, 9])
def test_elimination_agrees_with_numpy(n):
    matrix = np.random.default_rng(n).normal(size=(50, 2, n, n))
    if n > 1:
        matrix[0, 0, 0, 0] = 0  # needs pivoting
    value, inverse = jax.jit(determinant_and_inverse)(matrix)
    np.testing.assert_allclose(value, np.linalg.det(matrix), rtol=1e-11)
    np.testing.assert_allclose(
        inverse @ matrix, np.broadcast_to(np.eye(n), matrix.shape), atol=1e-9
    )
    np.testing.assert_allclose(determinant(matrix), value, rtol=1e-12)


def test_of_a_singular_matrix_the_derivative_is_the_adjugate():
    matrix = np.random.default_rng(0).integers(-3, 4, size=(4, 4)).astype(float)
    matrix[2] = matrix[0]
    minors = [
        [np.linalg.det(np.delete(np.delete(matrix, i, 0), j, 1)) for j in range(4)]
        for i in range(4)
    ]
    cofactors = np.array(minors) * (-1.0) ** np.add.outer(np.arange(4), np.arange(4))
    assert abs(determinant(matrix)) < 1e-12
    np.testing.assert_allclose(jax.grad(determinant)(matrix), cofactors, atol=1e-9)
    assert jnp.isfinite(jax.grad(determinant)(np.zeros((4, 4)))).all()


def test_nothing_waits_for_lapack():
    """Its batched routines wait for threads of the pool that they occupy, for ever if all do."""
    matrix = jnp.ones((8, 4, 4))
    for function in (determinant_and_inverse, jax.vmap(jax.grad(determinant))):
        assert "custom_call" not in jax.jit(function).lower(matrix).as_text()


def test_the_logarithm_is_finite_where_two_electrons_coincide():
    rng = np.random.default_rng(0)
    stacks = rng.normal(size=(2, 2 + 24, 3, 4, 4))  # both spins, jets, determinants
    stacks[0, 0, :, 1] = stacks[0, 0, :, 2]
    found = jax.jit(lambda up, down: log_sum(Jet(up), Jet(down), jnp.ones(3))[1])(*stacks)
    assert jnp.isfinite(found.stack).all()
