"""Forward Laplacian: values that carry their gradient and Laplacian through a calculation.

A `Jet` of a quantity y of any shape is one array (2 + D, ...): y itself, its D first derivatives,
and the Laplacian, the sum of its D second derivatives. The rules are those of Li et al., Nat.
Mach. Intell. 6, 209 (2024):

    y = f(x):     dy = f' dx,               Ly = f' Lx + f'' sum_d (d_d x)^2
    y = b(u, v):  dy = b(du, v) + b(u, dv), Ly = b(Lu, v) + b(u, Lv) + 2 sum_d b(d_d u, d_d v)

Every function here takes plain arrays as well, so an ansatz is written once: arrays in, values
out; jets in, derivatives too. As long as a quantity belongs to one electron (or one pair) its D
is 3 (or 6), not 3N; `spread_electrons`, `spread_pairs` and `sum_both` widen it when electrons
begin to mix.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from huozi.arrays import jax, jnp
from huozi.wavefunction import elimination

Array = jax.Array
Value = Any
"""A jax.Array or a Jet."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Jet:
    """Value, gradient and Laplacian of one quantity.

    Parameters
    ----------
    stack : (2 + D, ...) array
    """

    stack: Array

    @property
    def value(self) -> Array:
        """The quantity itself."""
        return self.stack[0]

    @property
    def gradient(self) -> Array:
        """First derivatives, (D, ...)."""
        return self.stack[1:-1]

    @property
    def laplacian(self) -> Array:
        """Sum of the second derivatives."""
        return self.stack[-1]


def _join(value: Array, gradient: Array, laplacian: Array) -> Jet:
    return Jet(jnp.concatenate([value[None], gradient, laplacian[None]]))


def seed(x: Array) -> Jet:
    """Jet of electron positions (N, 3), each derived by its own three coordinates."""
    unit = jnp.broadcast_to(jnp.eye(3, dtype=x.dtype)[:, None, :], (3, *x.shape))
    return _join(x, unit, jnp.zeros_like(x))


def separation(x: Value, i: np.ndarray, j: np.ndarray) -> Value:
    """Vectors x_i - x_j of pairs; a jet is derived by the vector itself."""
    if not isinstance(x, Jet):
        return x[i] - x[j]
    return seed(x.value[i] - x.value[j])


def spread_electrons(h: Value, electrons: int | None = None, rows: slice = slice(None)) -> Value:
    """Widen one-electron jets (5, N, ...) to all 3N coordinates, (2 + 3N, N, ...).

    They may be of the `rows` of all `electrons` alone.
    """
    if not isinstance(h, Jet):
        return h
    return _spread(h, np.eye(electrons or h.value.shape[0])[:, rows], 1.0)


def spread_pairs(h: Value, i: np.ndarray, j: np.ndarray, electrons: int) -> Value:
    """Widen jets of pair separations (5, P, ...) to all coordinates, (2 + 3N, P, ...)."""
    if not isinstance(h, Jet):
        return h
    sign = np.zeros((electrons, len(i)))
    sign[i, np.arange(len(i))] = 1.0
    sign[j, np.arange(len(i))] = -1.0
    return _spread(h, sign, 2.0)


def of_both(function: Callable[..., Any], h: Value, i: np.ndarray, j: np.ndarray) -> Value:
    """Apply a linear function of the two electrons of pairs to one-electron jets (5, N, ...).

    A jet of the result, (8, P, ...), is derived by the coordinates of i and then of j.
    """
    if not isinstance(h, Jet):
        return function(h[i], h[j])
    at_i, at_j = h.stack[:, i], h.stack[:, j]
    none = jnp.zeros_like(at_i[1:-1])
    gradient = (function(at_i[1:-1], none), function(none, at_j[1:-1]))
    return _join(
        function(at_i[0], at_j[0]), jnp.concatenate(gradient), function(at_i[-1], at_j[-1])
    )


def by_both(h: Value) -> Value:
    """Derive jets of separations (5, P, ...) by the coordinates of i and then of j, (8, P, ...)."""
    if not isinstance(h, Jet):
        return h
    return _join(h.value, jnp.concatenate([h.gradient, -h.gradient]), 2 * h.laplacian)


def sum_both(h: Value, i: np.ndarray, j: np.ndarray, electrons: int) -> Value:
    """Sum jets (8, P) of pairs, by the coordinates of both; a jet of all coordinates, (2 + 3N)."""
    if not isinstance(h, Jet):
        return h.sum()
    belongs = np.concatenate([np.eye(electrons)[i], np.eye(electrons)[j]])
    slopes = h.gradient.reshape(2, 3, -1).swapaxes(0, 1).reshape(3, -1)
    gradient = (slopes @ jnp.asarray(belongs, h.stack.dtype)).T.ravel()
    return _join(h.value.sum(), gradient, h.laplacian.sum())


def sum_electrons(h: Value) -> Value:
    """Sum over electrons (first axis) of one-electron quantities."""
    return linear(lambda v: v.sum(0), spread_electrons(h))


def _spread(h: Jet, sign: np.ndarray, laplacians: float) -> Jet:
    shape = h.value.shape
    mask = jnp.asarray(sign, h.stack.dtype).reshape(sign.shape[0], 1, -1, *[1] * (len(shape) - 1))
    gradient = (mask * h.gradient[None]).reshape(-1, *shape)
    return _join(h.value, gradient, laplacians * h.laplacian)


def linear(function: Callable[..., Any], *x: Value) -> Value:
    """Apply a linear function of one or several arguments."""
    if not isinstance(x[0], Jet):
        return function(*x)
    return Jet(jax.vmap(function)(*(each.stack for each in x)))


def bilinear(function: Callable[..., Any], x: Value, y: Value) -> Value:
    """Apply a function that is linear in each of two arguments."""
    if not isinstance(x, Jet):
        return function(x, y)
    value = function(x.value, y.value)
    left = jax.vmap(lambda u: function(u, y.value))(x.stack[1:])
    right = jax.vmap(lambda v: function(x.value, v))(y.stack[1:])
    cross = jax.vmap(function)(x.gradient, y.gradient).sum(0)
    both = left + right
    return _join(value, both[:-1], both[-1] + 2 * cross)


def einsum(subscripts: str, x: Value, y: Value) -> Value:
    """`jnp.einsum` of two quantities; ``z`` is not for use in `subscripts`.

    Derivatives are rows of matrix products. Without them a few electrons make matrices too small
    for XLA's products; fused loops are faster.
    """
    inputs, out = subscripts.split("->")
    a, b = inputs.split(",")
    if not isinstance(x, Jet):
        letters = out + "".join(sorted((set(a) | set(b)) - set(out)))
        left, right = _aligned(x, a, letters), _aligned(y, b, letters)
        return (left * right).sum(tuple(range(len(out), len(letters))))
    value = einsum(subscripts, x.value, y.value)
    left = jnp.einsum(f"z{a},{b}->z{out}", x.stack[1:], y.value)
    right = jnp.einsum(f"{a},z{b}->z{out}", x.value, y.stack[1:])
    cross = jnp.einsum(f"z{a},z{b}->{out}", x.gradient, y.gradient)
    both = left + right
    return _join(value, both[:-1], both[-1] + 2 * cross)


def _aligned(x: Array, named: str, letters: str) -> Array:
    """Bring the axes of `x` into the order of `letters`, those that it lacks with length one."""
    order = [named.index(letter) for letter in letters if letter in named]
    missing = [place for place, letter in enumerate(letters) if letter not in named]
    return jnp.expand_dims(x.transpose(order), missing)


def elementwise(function: Callable[..., Any], x: Value) -> Value:
    """Apply a smooth scalar function to every element."""
    if not isinstance(x, Jet):
        return function(x)
    one = jnp.ones_like(x.value)

    def slope(v: Array) -> tuple[Array, Array]:
        return jax.jvp(function, (v,), (one,))

    (value, first), (_, second) = jax.jvp(slope, (x.value,), (one,))
    laplacian = first * x.laplacian + second * jnp.square(x.gradient).sum(0)
    return _join(value, first * x.gradient, laplacian)


def shift(x: Value, constant: Array | np.ndarray) -> Value:
    """Add a constant."""
    if not isinstance(x, Jet):
        return x + constant
    value = x.value + constant
    if value.shape == x.value.shape:
        return Jet(x.stack.at[0].set(value))
    rest = jnp.broadcast_to(x.stack[1:], (x.stack.shape[0] - 1, *value.shape))
    return Jet(jnp.concatenate([value[None], rest]))


def dense(x: Value, weight: Array, bias: Array | None = None) -> Value:
    """Affine map of the last axis."""
    y = linear(lambda v: v @ weight, x)
    return y if bias is None else shift(y, bias)


def multiply(x: Value, y: Value) -> Value:
    """Product of two quantities."""
    return bilinear(jnp.multiply, x, y)


def add(x: Value, y: Value) -> Value:
    """Sum of two quantities."""
    return linear(jnp.add, x, y)


def cast(x: Value, dtype: Any) -> Value:
    """Change the number format."""
    return linear(lambda v: v.astype(dtype), x)


def squared_length(x: Value) -> Value:
    """Sum of squares over the last axis."""
    return linear(lambda v: v.sum(-1), elementwise(jnp.square, x))


def softmax(x: Value, axis: int) -> Value:
    """Softmax over one axis, counted from the first of the quantity itself."""
    if not isinstance(x, Jet):
        return jax.nn.softmax(x, axis=axis)
    largest = jax.lax.stop_gradient(x.value.max(axis, keepdims=True))
    weight = elementwise(jnp.exp, shift(x, -largest))
    total = linear(lambda v: v.sum(axis, keepdims=True), weight)
    return multiply(weight, elementwise(jnp.reciprocal, total))


def determinant(matrix: Value) -> Value:
    """Take determinants of matrices (..., n, n); small ones by expansion, without a division."""
    n = (matrix.value if isinstance(matrix, Jet) else matrix).shape[-1]
    if n <= 3:
        return _expand(matrix, n)
    if not isinstance(matrix, Jet):
        return elimination.determinant(matrix)
    value, inverse = elimination.determinant_and_inverse(matrix.value)
    product = inverse @ matrix.stack[1:]
    trace = jnp.trace(product, axis1=-2, axis2=-1)
    rows = product[:-1]
    crossed = (rows * rows.swapaxes(-1, -2)).sum((-2, -1))
    curvature = trace[-1] + (trace[:-1] ** 2 - crossed).sum(0)
    return _join(value, value * trace[:-1], value * curvature)


def _expand(matrix: Value, n: int) -> Value:
    def entry(i: int, j: int) -> Value:
        return linear(lambda v: v[..., i, j], matrix)

    def minor(i: int, j: int, k: int, m: int) -> Value:
        first, second = multiply(entry(i, k), entry(j, m)), multiply(entry(i, m), entry(j, k))
        return linear(jnp.subtract, first, second)

    if n == 1:
        return entry(0, 0)
    if n == 2:
        return minor(0, 1, 0, 1)
    terms = [
        multiply(entry(0, column), minor(1, 2, *others))
        for column, others in enumerate(((1, 2), (2, 0), (0, 1)))
    ]
    return linear(lambda a, b, c: a + b + c, *terms)
