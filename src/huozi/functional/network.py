"""The network on top of the linear fit: L-BFGS over all samples at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize

from huozi.arrays import jax, jnp
from huozi.functional.model import Params, atomic_energies
from huozi.functional.projection import Array
from huozi.functional.samples import PROBES

if TYPE_CHECKING:
    from huozi.functional.fit import FitConfig, Target


def fit_network(
    targets: Sequence[Target], params: Params, order: Array, mask: Array, config: FitConfig
) -> Params:
    """Fit the network to what the linear part leaves, then both together.

    Parameters
    ----------
    targets : sequence of Target
    params : dict
        With the linear fit.
    order : (F,) int array
        Power of the density matrix in each feature.
    mask : (F,) bool array
        Features that are used.
    config : FitConfig

    Returns
    -------
    dict
        Parameters in the form of the model: the principal components are multiplied out.
    """
    directions = components(targets, params, mask, config.components)
    groups = [_stack(g, config) for g in _by_shape(targets)]
    random = np.random.default_rng(config.seed)
    inner = {
        "constant": params["constant"],
        "linear": params["linear"][:, mask],
        "weight": random.standard_normal((directions.shape[1], config.hidden)) / 3,
        "bias": random.standard_normal((len(params["constant"]), config.hidden)) / 3,
        "readout": np.zeros(config.hidden),
    }
    penalty = np.where(order > 1, config.curvature, config.ridge) ** 2
    fixed = {name: jnp.asarray(value) for name, value in params.items()}
    leaves, tree = jax.tree.flatten(inner)
    sizes = np.cumsum([x.size for x in leaves])[:-1]

    def unpack(vector: Any) -> Params:
        parts = jnp.split(vector, sizes)
        p = jax.tree.unflatten(tree, [x.reshape(y.shape) for x, y in zip(parts, leaves)])
        linear = jnp.zeros_like(fixed["linear"]).at[:, mask].set(p["linear"])
        return {**fixed, **p, "linear": linear, "weight": directions @ p["weight"]}

    @jax.jit
    def loss(vector: Any) -> Any:
        p = unpack(vector)
        total = jnp.sum(penalty * p["linear"] ** 2)
        inner_weight = directions.T @ p["weight"]
        total += config.network_ridge**2 * (jnp.sum(inner_weight**2) + jnp.sum(p["bias"] ** 2))
        total += config.network_ridge**2 * jnp.sum(p["readout"] ** 2)
        return total + sum(_misfit(p, g, config) for g in groups)

    found = minimize(
        jax.value_and_grad(loss),
        np.concatenate([np.ravel(x) for x in leaves]),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": config.steps, "maxcor": 30},
    )
    return {name: np.asarray(value) for name, value in unpack(jnp.asarray(found.x)).items()}


def components(targets: Sequence[Target], params: Params, mask: Array, count: int) -> Array:
    """Leading principal components (F, count) of the standardised features that are used."""
    rows = np.concatenate(
        [(t.features - params["mean"][t.kinds]) / params["scale"][t.kinds] for t in targets]
    )
    values, vectors = np.linalg.eigh(np.cov(rows[:, mask].T))
    full = np.zeros((len(mask), min(count, int(mask.sum()))))
    full[mask] = vectors[:, ::-1][:, :count]
    return full


def _by_shape(targets: Sequence[Target]) -> list[list[Target]]:
    groups: dict[Any, list[Target]] = {}
    for t in targets:
        groups.setdefault((t.motions.shape, t.forces is None), []).append(t)
    return list(groups.values())


def _stack(group: list[Target], config: FitConfig) -> tuple[Array, ...]:
    forces = [np.zeros(0) if t.forces is None else t.forces for t in group]
    return (
        np.stack([t.kinds for t in group]),
        np.stack([t.features for t in group]),
        np.stack([t.motions for t in group]),
        np.array([t.energy for t in group]),
        np.stack(forces),
        np.array([t.aim(config)[0] for t in group]),
        np.stack([t.aim(config)[1] for t in group]),
        np.array([t.weight for t in group]),
    )


def _misfit(params: Params, group: tuple[Array, ...], config: FitConfig) -> Any:
    """Weighted squares of energies, forces and pulls of samples of one shape."""
    kinds, features, motions, energies, forces, weights, pulls, certain = group

    def frame(k: Any, x: Any) -> Any:
        return jax.value_and_grad(lambda y: jnp.sum(atomic_energies(params, k, y)))(x)

    energy, slopes = jax.vmap(frame)(kinds, features)
    change = jnp.einsum("sif,sifd->sd", slopes, motions)
    scale = certain * config.energy_weight / kinds.shape[1]
    total = jnp.sum((scale * (energy - energies)) ** 2)
    total += jnp.sum(weights[:, None] ** 2 * (change[:, -PROBES:] - pulls) ** 2)
    if forces.shape[1]:
        total += config.force_weight**2 * jnp.sum((change[:, :-PROBES] + forces) ** 2)
    return total
