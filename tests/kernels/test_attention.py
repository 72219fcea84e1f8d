"""Attention with derivatives in the kernel gives what the rules of jets give in JAX."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from huozi import kernels
from huozi.arrays import jax, jnp
from huozi.wavefunction.jets import Jet
from huozi.wavefunction.psiformer import attend

pytestmark = pytest.mark.skipif(
    not kernels.is_available(), reason="the compiled kernel was not built"
)

SHAPES = [
    # coordinates, electrons, heads, channels
    (3, 1, 1, 1),
    (6, 2, 4, 4),
    (12, 4, 4, 4),
    (15, 5, 2, 3),
    (16, 3, 1, 16),
    (17, 4, 3, 5),
    (30, 10, 4, 8),
    (48, 16, 1, 4),
]


def draw(shape: tuple[int, ...], walkers: int, scale: float) -> list[jax.Array]:
    """Queries, keys and values with derivatives: any numbers will do for the rules."""
    coordinates, *rest = shape
    rng = np.random.default_rng(sum(shape))
    sizes = (3, walkers, coordinates + 2, *rest)
    return list(jnp.asarray(scale * rng.normal(size=sizes), jnp.float32))


def largest_error(shape: tuple[int, ...], walkers: int = 7, scale: float = 1.0) -> float:
    """Largest deviation from JAX in float64, in units of the largest of each row."""
    given = draw(shape, walkers, scale)
    found = jax.jit(jax.vmap(kernels.attend))(*given)
    assert found.dtype == jnp.float32
    exact = jax.vmap(lambda *u: attend(*map(Jet, u)).stack)(*(u.astype(float) for u in given))
    size = jnp.abs(exact).max((2, 3, 4), keepdims=True)
    return float((jnp.abs(found - exact) / size).max())


@pytest.mark.parametrize("shape", SHAPES)
def test_values_derivatives_and_laplacians(shape: tuple[int, ...]) -> None:
    assert largest_error(shape) < 2e-5


@pytest.mark.parametrize("walkers", [1, 2, 3, 64, 301])
def test_any_number_of_walkers(walkers: int) -> None:
    assert largest_error((12, 4, 2, 4), walkers) < 2e-5


def test_weights_that_leave_one_electron() -> None:
    """Scores of hundreds: all but one of the weights underflow."""
    assert largest_error((12, 4, 1, 4), 16, scale=10.0) < 2e-4


def test_batches_of_batches() -> None:
    given = draw((6, 2, 2, 4), 12, 1.0)
    flat = jax.vmap(kernels.attend)(*given)
    nested = jax.vmap(jax.vmap(kernels.attend))(*(u.reshape(3, 4, *u.shape[1:]) for u in given))
    np.testing.assert_array_equal(nested.reshape(flat.shape), flat)


@pytest.mark.parametrize("isa", ["portable", "avx2"])
def test_other_instruction_sets(isa: str) -> None:
    program = f"""
import sys
from huozi import kernels
from tests.kernels.test_attention import SHAPES, largest_error
if kernels.instruction_set() != {isa!r}:
    sys.exit(3)
assert max(largest_error(shape) for shape in SHAPES[1::3]) < 2e-5
"""
    environment = os.environ | {"HUOZI_ISA": isa}
    root = Path(__file__).parents[2]
    code = subprocess.run([sys.executable, "-c", program], env=environment, cwd=root).returncode
    if code == 3 and isa != "portable":
        pytest.skip(f"this processor has no {isa}")
    assert code == 0
