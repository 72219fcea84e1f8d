"""What the compiled kernel reads of a DeepPot-SE or DPA-1 model: its embedding as splines.

The embedding network is a function of one number, s(r), for each pair of elements. Its hundred
outputs are far from independent: in float32 some tens of functions give them all,

    G_k(s) = sum_a u_ka f_a(s)        f_a(s) = sum_n c_na B_n(s)

f_a orthonormal on a grid of s, B_n quintic B-splines on equal intervals. The descriptor is made of
products of the moments of f_a and f_b, few enough of which count, and the first layer of the
fitting network is linear in it, so that its weights take in the u_ka. All of this lies in the model
file beside the network itself, so that one file serves Python, the kernel and LAMMPS.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline, make_lsq_spline

from huozi.arrays import jax, jnp
from huozi.potential.deeppot import RADIAL_ONLY_FACTOR, Params, element_energies
from huozi.potential.deeppot_settings import (
    SPLINE_DEGREE,
    DeepPotConfig,
    Dpa1Config,
    SeRConfig,
)
from huozi.potential.deeppot_table import expand, fades_types, largest
from huozi.potential.environment import switch
from huozi.potential.layers import apply, pick

Array = NDArray[Any]

FINE = 1024  # values of s at which the embedding is expanded
NODES = (16, 24, 32, 48, 64, 96, 128, 160, 192, 256, 384, 512)  # numbers of splines to choose from
LEFT_OUT = 1e-8  # relative to the largest: what float32 does not tell apart


def refusal(config: DeepPotConfig, params: Params) -> str | None:
    """Why the kernel cannot run a model; None if it can."""
    if len(config.descriptors) > 1:
        return "the compiled kernel runs models with one descriptor, not hybrids"
    (part,) = config.descriptors
    uneven = np.any(np.asarray(params["descriptors"][0]["mean"]))
    size = config.descriptor_size
    for found, what in (
        (config.bridge is not None, "a pair table"),
        (getattr(part, "attention_layers", 0) > 0, "attention"),
        (part.protection > 0, "a protection of distances"),
        (config.activation != "tanh", f"the activation {config.activation}"),
        (config.hidden[0] in (size, 2 * size), "a shortcut around the first layer"),
        (bool(part.exclude) and uneven, "excluded pairs and statistics of non-zero mean"),
        (fades_types(part) and uneven, "fading types and statistics of non-zero mean"),
    ):
        if found:
            return f"the compiled kernel does not run deeppot models with {what}"
    return None


class _Reduced(NamedTuple):
    """The embedding around one element by R functions.

    `functions` (2, Z S, FINE, R) for the moments of degree 0 and 1, `constant` (R,) of degree 0,
    and `outputs` (R, g), what each contributes to the outputs of the embedding.
    """

    functions: Array
    constant: Array
    outputs: Array


def _grid() -> Array:
    """Points in (0, 1), denser at the ends."""
    return 0.5 - 0.5 * np.cos(np.pi * (np.arange(FINE) + 0.5) / FINE)


def _knots(nodes: int) -> Array:
    return np.arange(-SPLINE_DEGREE, nodes + 1) / (nodes - SPLINE_DEGREE)


def _spline_coefficients(values: Array, nodes: int) -> Array:
    """Coefficients (..., nodes, c) of splines through values (..., FINE, c) by least squares."""
    columns = np.moveaxis(values, -2, 0)
    found = make_lsq_spline(_grid(), columns.reshape(FINE, -1), _knots(nodes), SPLINE_DEGREE).c
    return np.moveaxis(found.reshape(nodes, *columns.shape[1:]), 0, -2)


def _spline_error(values: Array, nodes: int) -> float:
    """Largest error of so many splines, relative to the largest value."""
    design = BSpline.design_matrix(_grid(), _knots(nodes), SPLINE_DEGREE).toarray()
    error = np.abs(design @ _spline_coefficients(values, nodes) - values).max()
    return float(error) / max(float(np.abs(values).max()), 1e-30)


def kernel_part(
    config: DeepPotConfig, params: Params
) -> tuple[dict[str, Any], dict[str, Array]] | None:
    """Return what a model file holds for the kernel, or None if the kernel cannot run the model.

    Parameters
    ----------
    config : DeepPotConfig
    params : dict
        Folded parameters.

    Returns
    -------
    header : dict
        Sizes and ranges; lengths in Å, ``end`` in 1/Å. ``products`` lists for each function the
        functions whose products with it are inputs of the network; without any, all functions are.
    tensors : dict
        ``mix`` (Z, 2, Z S nodes, R) of quintic splines, ``mix_slope`` of quartic ones, which give
        the derivatives by s; ``constant`` (Z, R); ``weight`` (Z, inputs, h), ``bias`` (Z, h) and
        perhaps ``step`` (Z, h) of the first layer.
    """
    if refusal(config, params) is not None:
        return None
    (part,) = config.descriptors
    dtype = np.asarray(params["readout"]).dtype
    axis = 0 if isinstance(part, SeRConfig) else part.axis
    values, constants = _embedding_values(config, params)
    nodes = next((n for n in NODES if _spline_error(values, n) <= LEFT_OUT), NODES[-1])
    reduced = [_reduce(*around, axis) for around in zip(values, constants, strict=True)]
    width = max(len(one.constant) for one in reduced)
    outputs = [np.pad(x.outputs, [(0, width - len(x.outputs)), (0, 0)]) for x in reduced]
    products = _products(outputs, axis)
    header = {
        "cutoff": part.cutoff,
        "onset": part.onset,
        "end": largest(part, config.closest),
        "nodes": nodes,
        "sets": 2 if fades_types(part) else 1,
        "channels": width,
        "networks": 1 if config.shared else len(reduced),
        "products": products,
    }
    elements = len(reduced)
    mix = np.stack([_spline_coefficients(_padded(one.functions, width), nodes) for one in reduced])
    slope = np.diff(mix, axis=-2, append=0) * (nodes - SPLINE_DEGREE) / header["end"]
    slope[..., -1, :] = 0
    tensors = {
        "mix": mix.reshape(elements, 2, -1, width),
        "mix_slope": slope.reshape(elements, 2, -1, width),
        "constant": np.stack([_padded(one.constant, width) for one in reduced]),
        "weight": _first_weight(config, params, outputs, products),
        "bias": _first_bias(config, params, elements),
    }
    if "step" in params["layers"][0]:
        step = np.asarray(params["layers"][0]["step"])
        tensors["step"] = np.broadcast_to(step, tensors["bias"].shape)
    return header, {name: np.ascontiguousarray(x, dtype) for name, x in tensors.items()}


def _embedding_values(config: DeepPotConfig, params: Params) -> tuple[Array, Array]:
    """Functions of s around each element (Z, 2, Z S, FINE, g) on the grid, constants (Z, g)."""
    (part,), (made,) = config.descriptors, params["descriptors"]
    exact = jax.tree.map(lambda x: jnp.asarray(x, "float64"), made)
    elements = len(made["mean"])
    s = _grid() * largest(part, config.closest)
    found = [expand(exact, part, z, s, np.eye(FINE)) for z in range(elements)]
    radial, angular, constant = (np.asarray(x, np.float64) for x in zip(*found, strict=True))
    if isinstance(part, SeRConfig):
        radial, constant = RADIAL_ONLY_FACTOR * radial, RADIAL_ONLY_FACTOR * constant
        angular = np.zeros_like(angular)
    values = np.stack([radial, angular], 1)
    return values.reshape(elements, 2, -1, FINE, values.shape[-1]), constant


def _reduce(values: Array, constant: Array, axis: int) -> _Reduced:
    """Orthonormal functions; the first of them suffice for the first `axis` outputs."""
    columns = np.vstack([values.reshape(-1, values.shape[-1]), constant])
    least = LEFT_OUT * np.sqrt(np.linalg.norm(columns.T @ columns, 2))  # of singular values
    found = columns[:, :0]
    for some in (columns[:, :axis], columns):
        tall, small = np.linalg.qr(some - found @ (found.T @ some))
        left, sizes, _ = np.linalg.svd(small)
        found = np.hstack([found, tall @ left[:, sizes > least]])
    return _Reduced(
        found[:-1].reshape(*values.shape[:-1], -1), found[-1], outputs=found.T @ columns
    )


def _padded(values: Array, width: int) -> Array:
    """With zeros up to a last axis of this length."""
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, width - values.shape[-1])])


def _products(outputs: list[Array], axis: int) -> list[list[int]]:
    """For each function b the functions a >= b, such that a product of both counts anywhere."""
    if not axis:
        return []
    width = len(outputs[0])
    counts = np.zeros((width, width), bool)
    for one in outputs:
        share = np.outer(np.linalg.norm(one, axis=1), np.linalg.norm(one[:, :axis], axis=1))
        counts |= np.maximum(share, share.T) > LEFT_OUT * share.max()
    found = [[a for a in range(b, width) if counts[b, a]] for b in range(width)]
    return found[: max(b for b in range(width) if found[b]) + 1]


def _first_weight(
    config: DeepPotConfig, params: Params, outputs: list[Array], products: list[list[int]]
) -> Array:
    """Weights (Z, inputs, h) of the first layer, by products of functions."""
    weight = np.asarray(params["layers"][0]["weight"], np.float64)
    found = []
    for z, one in enumerate(outputs):
        own = weight[0 if config.shared else z]
        if not products:
            found.append(one @ own)
            continue
        axis = len(own) // len(one[0])  # what is left over belongs to the type embedding
        own = own[: len(one[0]) * axis].reshape(-1, axis, own.shape[-1])
        both = np.einsum("ak,kqh,bq->abh", one, own, one[:, :axis], optimize=True)
        both = both + np.swapaxes(both, 0, 1) * (1 - np.eye(len(one)))[..., None]
        found.append(np.concatenate([both[b, row] for b, row in enumerate(products)]))
    return np.stack(found)


def _first_bias(config: DeepPotConfig, params: Params, elements: int) -> Array:
    """Bias of the first layer of each element; the type embedding is a constant of its atoms."""
    (part,), (made,) = config.descriptors, params["descriptors"]
    first = {name: np.asarray(x, np.float64) for name, x in params["layers"][0].items()}
    bias = np.broadcast_to(first["bias"], (elements, first["bias"].shape[-1])).copy()
    if isinstance(part, Dpa1Config) and part.types_to_fitting:
        weight = first["weight"][:, -part.type_size :]
        bias += np.einsum("zt,zth->zh", np.asarray(made["types"], np.float64),
                          np.broadcast_to(weight, (elements, *weight.shape[1:])))  # fmt: skip
    return bias


def table_error(config: DeepPotConfig, params: Params, points: int = 1001) -> float | None:
    """Measure the expansion of the kernel's part of a file against the network.

    Returns
    -------
    float or None
        Largest error of the energy of one atom with one neighbour, of any two elements, at
        `points` distances from the shortest of the expansion to the cutoff, eV, in float64. None
        if the kernel cannot run the model.
    """
    params = jax.tree.map(lambda x: jnp.asarray(x, "float64"), params)
    kernel = kernel_part(config, params)
    if kernel is None:
        return None
    header, tensors = kernel
    elements = len(params["descriptors"][0]["mean"])
    distance = np.linspace(config.closest, config.cutoff, points)
    vectors = jnp.asarray(distance[:, None, None] * np.array([0.6, 0.0, 0.8]))
    errors = []
    for z in range(elements):
        for other in range(elements):
            exact = element_energies(params, config, z, vectors, jnp.full((points, 1), other))
            ours = _pair_energies(config, params, header, tensors, z, other, distance)
            errors.append(float(np.abs(np.asarray(exact) - ours).max()))
    return max(errors)


def _pair_energies(
    config: DeepPotConfig,
    params: Params,
    header: dict[str, Any],
    tensors: dict[str, Array],
    z: int,
    other: int,
    distance: Array,
) -> Array:
    """Energies above E0 of atoms z with one neighbour each, as the kernel finds them."""
    functions = _radial_functions(distance, header)
    mix = tensors["mix"][z].reshape(2, -1, functions.shape[1], header["channels"])[:, other]
    constant, products = tensors["constant"][z], header["products"]
    layers = pick(params["layers"], 0 if config.shared else z)
    readout = params["readout"][0 if config.shared else z]

    def energies(radial: Array, angular: Array) -> Array:
        pairs = [
            radial[:, [b]] * radial[:, row] + angular[:, [b]] * angular[:, row]
            for b, row in enumerate(products)
        ]
        inputs = np.concatenate(pairs, 1) if pairs else radial
        first = np.tanh(inputs @ tensors["weight"][z] + tensors["bias"][z])
        first = first * np.asarray(layers[0].get("step", 1.0))
        return np.asarray(apply(layers[1:], jnp.asarray(first), config.activation) @ readout)

    alone = energies(constant[None], np.zeros_like(constant)[None])
    return energies(functions @ mix[0] + constant, functions @ mix[1]) - alone


def _radial_functions(distance: Array, header: dict[str, Any]) -> Array:
    """S B_n(s) at some distances, with fading types also w s B_n: (points, S nodes)."""
    w = np.asarray(switch(distance, header["onset"], header["cutoff"]))
    s = w / distance
    x = np.minimum(s / header["end"], 1)
    splines = BSpline.design_matrix(x, _knots(header["nodes"]), SPLINE_DEGREE).toarray()
    functions = s[:, None] * splines
    return np.concatenate([functions, w[:, None] * functions][: header["sets"]], 1)
