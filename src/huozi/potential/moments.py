"""Moments of the neighbour density: the part of the potential that has no parameters.

    P_i[lm, z n] = sum over neighbours j of species z: B_n(r_ij) Y_lm(r̂_ij)

Because nothing here is trained, the moments of a training frame are computed once; what is
left for each training step is two linear maps between pairs and atoms, `pull` and its transpose
(docs/decisions/004-moments-once.md).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from jax.custom_derivatives import linear_call

from huozi.arrays import jax, jnp
from huozi.potential.harmonics import real_harmonics
from huozi.potential.moment import MomentConfig
from huozi.potential.radial import radial_basis


class _Pairs(NamedTuple):
    """Radial functions (n, B, m) by species, their derivatives, unit vectors, 1/distance."""

    radial: Any
    slope: Any
    unit: tuple[Any, Any, Any]
    inverse: Any


def _pairs(vectors: Any, species: Any, config: MomentConfig, elements: int) -> _Pairs:
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    square = jnp.where(species >= 0, x * x + y * y + z * z, config.cutoff**2)
    inverse = jax.lax.rsqrt(square)
    distance = square * inverse
    values, derivatives = radial_basis(distance, config.cutoff, config.radial)

    def by_species(functions: list[Any]) -> Any:
        rows = [jnp.where(species == s, b, 0) for s in range(elements) for b in functions]
        return jnp.stack(rows, 1)

    unit = (x * inverse, y * inverse, z * inverse)
    return _Pairs(by_species(values), by_species(derivatives), unit, inverse)


def _angular(unit: tuple[Any, Any, Any], config: MomentConfig) -> Any:
    return jnp.stack(real_harmonics(*unit, config.degree), 1)


def moments(vectors: Any, species: Any, config: MomentConfig, elements: int) -> Any:
    """Moments of the neighbours of each atom.

    Parameters
    ----------
    vectors : (n, m, 3) array
        Displacements to the neighbours, Å; anything in padded slots.
    species : (n, m) int array
        Index of the neighbour's element among the model's; negative in padded slots.
    config : MomentConfig
    elements : int
        Number of elements of the model, Z.

    Returns
    -------
    (n, M = (degree + 1)^2, B) array
        B is Z times the number of radial functions.
    """
    pairs = _pairs(vectors, species, config, elements)
    return jnp.einsum("nmj,nbj->nmb", _angular(pairs.unit, config), pairs.radial)


def pull(vectors: Any, species: Any, config: MomentConfig, elements: int, gradient: Any) -> Any:
    """Gradient of the energy by the displacements, given that by the moments.

    This is the reverse derivative of `moments`, written out because automatic differentiation
    takes 2.4 times as long: one product of matrices gives, for every pair, the coefficients of
    its harmonics and of their radial slopes.

    Parameters
    ----------
    vectors, species, config, elements
        As in `moments`.
    gradient : (n, M, B) array
        Derivative of the energy by the moments, eV.

    Returns
    -------
    (n, m, 3) array
        eV/Å; zero in padded slots.
    """
    pairs = _pairs(vectors, species, config, elements)
    both = jnp.concatenate([pairs.radial, pairs.slope], axis=2)
    coefficients = jnp.einsum("nmb,nbj->nmj", gradient, both)
    tangential, radial = jnp.split(coefficients, 2, axis=2)
    angular, derivative = jax.vjp(lambda *unit: _angular(unit, config), *pairs.unit)
    x, y, z = pairs.unit
    gx, gy, gz = derivative(tangential)
    along = jnp.sum(radial * angular, axis=1) - (gx * x + gy * y + gz * z) * pairs.inverse
    return jnp.stack([along * u + g * pairs.inverse for u, g in ((x, gx), (y, gy), (z, gz))], -1)


def trainable_pull(
    vectors: Any, species: Any, config: MomentConfig, elements: int, gradient: Any
) -> Any:
    """`pull` with its transpose, for training: the forward derivative of the moments.

    Reverse differentiation of `trainable_pull` by `gradient` so costs one forward derivative and
    never differentiates the geometry twice.
    """

    def transpose(vectors_species: tuple[Any, Any], tangent: Any) -> Any:
        vectors, species = vectors_species
        return jax.jvp(lambda v: moments(v, species, config, elements), (vectors,), (tangent,))[1]

    def forward(vectors_species: tuple[Any, Any], gradient: Any) -> Any:
        return pull(*vectors_species, config, elements, gradient)

    return linear_call(forward, transpose, (vectors, species), gradient)
