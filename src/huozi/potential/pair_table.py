"""A tabulated pair energy that takes over where atoms collide (DP-ZBL).

    E_i = (1 - w_i) E_i(network) + w_i sum_j U(r_ij) / 2        w_i = w(sigma_i)
    sigma_i = sum_j r_ij exp(-r_ij / a) / sum_j exp(-r_ij / a)

Source: Wang et al., Appl. Phys. Lett. 114, 244101 (2019).
"""

from __future__ import annotations

from typing import Any

from huozi.arrays import jax, jnp
from huozi.potential.deeppot_settings import BridgeConfig
from huozi.potential.environment import switch


def bridge(
    params: dict[str, Any],
    config: BridgeConfig,
    element: int,
    vectors: Any,
    species: Any,
    network: Any,
) -> Any:
    """Energies (n,) above E0 of atoms of one element, given those of the network.

    Parameters
    ----------
    params : dict
        ``spline`` (Z, Z, points, 4): coefficients of the cubic pieces, highest power first, in
        units of the spacing; ``offset`` (Z,): the table's own energy of an isolated atom minus
        E0, eV.
    config : BridgeConfig
    element : int
    vectors, species
        As in `huozi.potential.deeppot.element_energies`.
    network : (n,) array
        eV above E0.
    """
    occupied = species >= 0
    square = jnp.where(occupied, jnp.sum(vectors**2, -1), (2 * config.cutoff) ** 2)
    distance = jnp.sqrt(square)
    near = occupied & (distance < config.cutoff)
    pairs = 0.5 * jnp.sum(
        jnp.where(near, _spline(params, config, element, distance, species), 0), 1
    )
    weight = _weight(config, distance, near)
    return (1 - weight) * network + weight * (pairs + params["offset"][element])


def _spline(
    params: dict[str, Any], config: BridgeConfig, element: int, distance: Any, species: Any
) -> Any:
    """U (n, m), zero beyond the last point."""
    spline = params["spline"][element]
    points = spline.shape[1]
    place = (distance - config.start) / config.spacing
    piece = jnp.clip(jax.lax.stop_gradient(place).astype(int), 0, points - 1)
    a, b, c, d = jnp.moveaxis(spline[species, piece], -1, 0)
    u = place - piece
    return jnp.where(place < points, ((a * u + b) * u + c) * u + d, 0)


def _weight(config: BridgeConfig, distance: Any, near: Any) -> Any:
    """Share of the table, 1 where a neighbour is closer than `inner`, 0 beyond `outer`."""
    # The common factor exp(closest / softness) keeps the sums from underflowing.
    closest = jnp.min(jnp.where(near, distance, config.cutoff), 1, keepdims=True)
    shifted = distance - jax.lax.stop_gradient(closest)
    powers = jnp.where(near, jnp.exp(-shifted / config.softness), 0)
    total = jnp.sum(powers, 1)
    sigma = jnp.sum(powers * distance, 1) / jnp.where(total > 0, total, 1)
    return jnp.where(total > 0, switch(sigma, config.inner, config.outer), 0)
