"""DPA-1: one embedding network for all pairs of elements, and attention over the neighbours.

    concat   G_ij = N(s_ij, T_j, T_i)
    strip    G_ij = N(s_ij) (1 + N_t(T_j, T_i) w_ij)

with T the type embedding. Each attention layer mixes the rows of G of one atom,

    G <- LayerNorm(G + out(phi V))    phi = softmax(Q K^T / sqrt(d)) (x) (r̂ r̂^T)

where logits and weights are faded by the switch w of both neighbours, so that no jump occurs
when one of them enters.

Source: Zhang et al., npj Comput. Mater. 10, 94 (2024).
"""

from __future__ import annotations

from typing import Any

from huozi.arrays import jax, jnp
from huozi.potential.deeppot_settings import Dpa1Config
from huozi.potential.environment import Environment, environment
from huozi.potential.layers import apply, init_layers

Params = dict[str, Any]
LOGIT_SHIFT = 20.0  # logits of faded pairs tend to minus this
LEAST_NORM = 1e-12


def init_dpa1(key: Any, config: Dpa1Config, elements: int) -> Params:
    """Random parameters, float32: ``types`` (Z, type_size), networks, attention layers."""
    keys = jax.random.split(key, 3 + config.attention_layers)
    sides = 1 if config.one_side else 2
    extra = sides * config.type_size
    made: Params = {
        "types": jax.random.normal(keys[0], (elements, config.type_size), jnp.float32),
        "embedding": init_layers(keys[1], (1 + extra * (config.mode == "concat"), *config.neuron)),
    }
    if config.mode == "strip":
        made["type_embedding"] = init_layers(keys[2], (extra, *config.neuron))
    made["attention"] = [_init_attention(k, config) for k in keys[3:]]
    return made


def _init_attention(key: Any, config: Dpa1Config) -> Params:
    size, width = config.neuron[-1], config.attention_width
    first, second = jax.random.split(key)
    (projection,) = init_layers(first, (size, 3 * width))
    (output,) = init_layers(second, (width, size))
    norm = {"weight": jnp.ones(size, "float32"), "bias": jnp.zeros(size, "float32")}
    return {"in": projection, "out": output, "norm": norm}


def dpa1(params: Params, config: Dpa1Config, element: int, vectors: Any, species: Any) -> Any:
    """Descriptors (n, neuron[-1] * axis, plus the type embedding) of atoms of one element."""
    around = environment(
        vectors, species, config, params["mean"][element], params["deviation"][element]
    )
    unused = config.total - jnp.sum(around.inside, 1)
    seen = around.inside
    for other in range(len(params["mean"])):
        if config.is_excluded(element, other):
            seen = seen & (species != other)
    faded = jnp.where(seen, around.switch, 0)
    around = around._replace(inside=seen, switch=faded)
    types = jnp.pad(params["types"], ((0, 1), (0, 0)))  # last row: no neighbour
    features = _features(params, config, types, element, around, species)
    empty = _empty_features(params, config, types, element, around)
    free = config.total - jnp.sum(around.inside, 1)
    for layer in params.get("attention", []):  # a model file has no empty lists
        features = _attend(layer, config, features, around, free)
        empty = _normalise(empty + layer["out"]["bias"], layer["norm"], config.norm_floor)
    rows = jnp.where(around.inside[..., None], around.matrix, 0)
    columns = jnp.einsum("nmc,nmg->ncg", rows, features)
    columns = columns.at[:, 0].add(unused[:, None] * empty * around.empty) / config.total
    products = jnp.einsum("ncg,nch->ngh", columns, columns[:, :, : config.axis])
    found = products.reshape(len(columns), -1)
    if not config.types_to_fitting:
        return found
    own = jnp.broadcast_to(params["types"][element], (len(found), config.type_size))
    return jnp.concatenate([found, own.astype(found.dtype)], -1)


def _features(
    params: Params, config: Dpa1Config, types: Any, element: int, around: Environment, species: Any
) -> Any:
    """G (n, m, g)."""
    s = around.matrix[..., :1]
    if config.mode == "concat":
        own = jnp.broadcast_to(types[element], (*s.shape[:2], types.shape[1]))
        parts = [s, types[species]] if config.one_side else [s, types[species], own]
        return apply(params["embedding"], jnp.concatenate(parts, -1), config.activation)
    radial = apply(params["embedding"], s, config.activation)
    factor = type_factors(params, config, types, element)[species]
    if config.smooth:
        factor = factor * around.switch[..., None]
    return radial * (1 + factor)


def _empty_features(
    params: Params, config: Dpa1Config, types: Any, element: int, around: Environment
) -> Any:
    """G (g,) of a slot without a neighbour."""
    if config.mode == "concat":
        parts = [around.empty[None], types[-1]]
        parts += [] if config.one_side else [types[element]]
        return apply(params["embedding"], jnp.concatenate(parts), config.activation)
    radial = apply(params["embedding"], around.empty[None], config.activation)
    if config.smooth:
        return radial
    return radial * (1 + type_factors(params, config, types, element)[-1])


def type_factors(params: Params, config: Dpa1Config, types: Any, element: int) -> Any:
    """N_t of every element as a neighbour, and of none, (Z + 1, g)."""
    own = jnp.broadcast_to(types[element], types.shape)
    given = types if config.one_side else jnp.concatenate([types, own], -1)
    return apply(params["type_embedding"], given, config.activation)


def _attend(layer: Params, config: Dpa1Config, x: Any, around: Environment, free: Any) -> Any:
    """One attention layer on the features (n, m, g) of the neighbours."""
    projected = x @ layer["in"]["weight"] + layer["in"]["bias"]
    query, key, value = jnp.split(projected, 3, -1)
    if config.attention_normalised:
        query, key, value = (_unit(v) for v in (query, key, value))
    scale = config.attention_scale or config.attention_width**-0.5
    logits = scale * query @ jnp.swapaxes(key, 1, 2)
    pair = around.switch[:, :, None] * around.switch[:, None, :]
    seen = around.inside[:, None, :]
    floor = -LOGIT_SHIFT if config.smooth else -jnp.inf
    if config.smooth:
        logits = (logits + LOGIT_SHIFT) * pair - LOGIT_SHIFT
    logits = jnp.where(seen, logits, floor)
    largest = jax.lax.stop_gradient(jnp.maximum(jnp.max(logits, -1, keepdims=True), -LOGIT_SHIFT))
    powers = jnp.where(seen, jnp.exp(logits - largest), 0)
    total = jnp.sum(powers, -1, keepdims=True)
    if config.smooth:  # deepmd-kit's unused slots take part in the softmax
        total = total + free[:, None, None] * jnp.exp(-LOGIT_SHIFT - largest)
    weights = powers / jnp.where(total > 0, total, 1)
    weights = jnp.where(around.inside[:, :, None], weights, 0)
    if config.smooth:
        weights = weights * pair
    if config.attention_by_angle:
        direction = _unit(around.matrix[..., 1:])
        weights = weights * (direction @ jnp.swapaxes(direction, 1, 2))
    mixed = (weights @ value) @ layer["out"]["weight"] + layer["out"]["bias"]
    return _normalise(x + mixed, layer["norm"], config.norm_floor)


def _unit(v: Any) -> Any:
    """Vectors divided by their length; zero stays zero, with a zero derivative."""
    square = jnp.sum(v * v, -1, keepdims=True)
    length = jnp.sqrt(jnp.where(square > 0, square, 1))
    return jnp.where(square > 0, v / jnp.maximum(length, LEAST_NORM), 0)


def _normalise(x: Any, norm: Params, floor: float) -> Any:
    """Layer normalisation over the last axis."""
    centred = x - jnp.mean(x, -1, keepdims=True)
    variance = jnp.mean(centred**2, -1, keepdims=True)
    return centred / jnp.sqrt(variance + floor) * norm["weight"] + norm["bias"]
