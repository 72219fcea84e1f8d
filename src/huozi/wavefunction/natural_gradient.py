"""SPRING: natural gradient in the space of walkers, with momentum by projection.

With O_bp = d log|psi(x_b)| / d theta_p, centred over B walkers and divided by sqrt(B), and
e_b = -(E_L(x_b) - E) / sqrt(B), stochastic reconfiguration solves O dtheta = e in the least
squares sense. It is cheap in the space of walkers (Rende et al., Commun. Phys. 7, 260 (2024);
Chen & Heyl, Nat. Phys. 20, 1476 (2024)), and SPRING (Goldshlager, Abrahamsen & Lin,
arXiv:2401.10190) keeps of the last step what the new walkers do not contradict:

    dtheta = mu dtheta' + O^T (O O^T + lambda)^-1 (e - mu O dtheta')

With several geometries O and e are centred for each, and the step lowers their mean energy.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from huozi.arrays import jax, jnp

Array = jax.Array

BLOCKS = 4
"""The Gram matrix is symmetric: of BLOCKS x BLOCKS blocks only the upper ones are computed."""


STIFF = 256
"""Parameters that change log|psi| most, whose products are summed in float64. Coefficients of
diffuse functions make nearly all of the matrix where such functions are, above all for excited
states, and what float32 loses of them can be more than what all the others are."""

ROUNDING = 3e-8
"""Of the largest eigenvalue of what is summed in float32: errors of the others, some five times
what is found."""


class Direction(NamedTuple):
    """Change of the parameters before the learning rate.

    Parameters
    ----------
    step : (P,) array
    distance : array
        Root mean square change of log|psi| over the walkers, by a unit step.
    freedom : array
        Part of the residuals that the step follows: tr G (G + lambda)^-1 / B with the Gram matrix
        G of B walkers; an estimate, some hundredths off.
    """

    step: Array
    distance: Array
    freedom: Array


def spring(
    jacobian: Array, energies: Array, last: Array, momentum: Array | float, damping: Array
) -> Direction:
    """Direction of the next step.

    Parameters
    ----------
    jacobian : (G, B, P) array
        Derivatives of log|psi| at the walkers of G geometries, not centred.
    energies : (G, B) array
        Local energies, clipped, hartree.
    last : (P,) array
        Previous direction.
    momentum : float or array
        mu.
    damping : array
        lambda.
    """
    walkers = energies.size
    root = walkers**-0.5
    o = (jacobian - jacobian.mean(1, keepdims=True)) * jnp.asarray(root, jacobian.dtype)
    o = o.reshape(walkers, -1)
    o = jax.lax.optimization_barrier(o)  # or it is computed again in every product
    wanted = -(energies - energies.mean(1, keepdims=True)).ravel() * root
    kept = momentum * (o @ last.astype(o.dtype)).astype(wanted.dtype)
    _, stiff = jax.lax.top_k(jnp.square(o).sum(0), min(STIFF, o.shape[1]))
    others = jnp.ones(o.shape[1], o.dtype).at[stiff].set(0)
    products = gram(o * others).astype(jnp.float64)
    # Rounding in float32 must not make the matrix indefinite; one far walker can dominate it.
    damping = damping + ROUNDING * jnp.trace(products)
    products += gram(o[:, stiff].astype(jnp.float64))
    # Centring leaves the vector of ones without a derivative; the last term makes it harmless.
    matrix = products + damping * jnp.eye(walkers) + 1 / walkers
    # One vector of random signs estimates the trace of the inverse; walkers are in no order.
    signs = np.random.default_rng(0).choice([-1.0, 1.0], walkers)
    factor = jax.scipy.linalg.cho_factor(matrix)
    weights, answer = jax.scipy.linalg.cho_solve(factor, jnp.stack([wanted - kept, signs], 1)).T
    freedom = 1 - damping * (signs @ answer) / walkers
    step = momentum * last + (weights.astype(o.dtype) @ o).astype(last.dtype)
    # O times the step, without another pass over O.
    distance = jnp.linalg.norm(kept + products @ weights)
    return Direction(step, distance, freedom)


def gram(o: Array) -> Array:
    """Return O O^T; blocks below the diagonal are copies of those above."""
    rows = jnp.array_split(o, BLOCKS)
    upper = {(i, j): rows[i] @ rows[j].T for i in range(BLOCKS) for j in range(i, BLOCKS)}
    return jnp.block(
        [[upper[i, j] if i <= j else upper[j, i].T for j in range(BLOCKS)] for i in range(BLOCKS)]
    )
