"""Moments of the neighbour density: the part of the potential that has no parameters.

    P_i[z n, lm] = sum over neighbours j of species z: f(r_ij) B_n(r_ij) Y_lm(r̂_ij)

Because nothing here is trained, the moments of a training frame are computed once; what is
left for each training step is two linear maps between pairs and atoms, `pair_gradient` and its
transpose (docs/decisions/004-moments-once.md).
"""

from __future__ import annotations

from typing import Any

from jax.custom_derivatives import linear_call

from huozi.arrays import jax, jnp
from huozi.potential.harmonics import real_harmonics
from huozi.potential.radial import cutoff_function, radial_basis


def moments(
    vectors: Any, species: Any, n_species: int, cutoff: float, n_radial: int, max_degree: int
) -> Any:
    """Moments of the neighbours of each atom.

    Parameters
    ----------
    vectors : (n, m, 3) array
        Displacements to the neighbours, Å; anything in padded slots.
    species : (n, m) int array
        Index of the neighbour's element among the model's; negative in padded slots.
    n_species, n_radial, max_degree : int
    cutoff : float
        Å.

    Returns
    -------
    (n, n_species * n_radial, (max_degree + 1)^2) array
    """
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    present = species >= 0
    square = jnp.where(present, x * x + y * y + z * z, cutoff * cutoff)
    inverse = jax.lax.rsqrt(square)
    distance = square * inverse
    envelope = cutoff_function(distance, cutoff)
    weights = [jnp.where(species == s, envelope, 0) for s in range(n_species)]
    functions = radial_basis(distance, cutoff, n_radial)
    radial = jnp.stack([w * b for w in weights for b in functions], 1)
    angular = jnp.stack(real_harmonics(x * inverse, y * inverse, z * inverse, max_degree), 1)
    return jnp.einsum("nbj,nmj->nbm", radial, angular)


def pair_gradient(moment_function: Any, vectors: Any, gradient: Any) -> Any:
    """Gradient of the energy with respect to the displacements, given that for the moments.

    Linear in `gradient`. Its transpose is written as a forward derivative of the moments, so
    that training never differentiates the geometry twice.

    Parameters
    ----------
    moment_function : callable
        vectors (n, m, 3) -> moments.
    vectors : (n, m, 3) array
        Å.
    gradient : array of the moments' shape
        Derivative of the energy, eV.

    Returns
    -------
    (n, m, 3) array
        eV/Å.
    """

    def pull(vectors: Any, gradient: Any) -> Any:
        return jax.vjp(moment_function, vectors)[1](gradient)[0]

    def push(vectors: Any, tangent: Any) -> Any:
        return jax.jvp(moment_function, (vectors,), (tangent,))[1]

    return linear_call(pull, push, vectors, gradient)
