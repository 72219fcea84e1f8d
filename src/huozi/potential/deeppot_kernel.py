"""What the compiled kernel reads of a DeepPot-SE or DPA-1 model: its embedding as polynomials.

The embedding network is a function of one number, s(r), for each pair of elements, here

    G(s) = sum_k c_k T_k(x(s))        x = 2 s / s_max - 1

from its values at a fine set of nodes, cut off where what is left out no longer counts in float32.
It lies in the model file beside the network itself, so that one file serves Python, the kernel and
LAMMPS.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from huozi.arrays import jax, jnp
from huozi.potential.deeppot import RADIAL_ONLY_FACTOR, Params, element_energies, fit, gram
from huozi.potential.deeppot_settings import DeepPotConfig, Dpa1Config, SeRConfig
from huozi.potential.deeppot_table import expand, fades_types, largest
from huozi.potential.environment import switch

Array = NDArray[Any]

FINE = 512  # nodes of which the first coefficients are kept
GROUP = 16  # the kernel takes polynomials by so many
LEFT_OUT = 1e-7  # sum of the coefficients left out, relative to the largest value


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


@cache
def _nodes(count: int) -> tuple[Array, Array]:
    """Chebyshev nodes in (0, 1), and the matrix from values there to coefficients."""
    angles = np.pi * (np.arange(count) + 0.5) / count
    transform = 2 / count * np.cos(np.arange(count)[:, None] * angles)
    transform[0] /= 2
    return 0.5 + 0.5 * np.cos(angles), transform


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
        Sizes and ranges; lengths in Å, ``end`` in 1/Å.
    tensors : dict
        ``mix`` (Z, 2, Z B, g), ``constant`` (Z, g), ``bias`` (Z, h) of the first layer.
    """
    if refusal(config, params) is not None:
        return None
    (part,), (made,) = config.descriptors, params["descriptors"]
    dtype = np.asarray(params["readout"]).dtype
    exact = jax.tree.map(lambda x: jnp.asarray(x, "float64"), made)
    elements, sets = len(made["mean"]), 2 if fades_types(part) else 1
    points, transform = _nodes(FINE)
    s = points * largest(part, config.closest)
    found = [expand(exact, part, z, s, transform) for z in range(elements)]
    radial, angular, constant = (np.asarray(x, np.float64) for x in zip(*found, strict=True))
    if isinstance(part, SeRConfig):
        radial, constant = RADIAL_ONLY_FACTOR * radial, RADIAL_ONLY_FACTOR * constant
        angular = np.zeros_like(angular)
    both = np.stack([radial, angular], 1).reshape(elements, 2, elements, sets, FINE, -1)
    nodes = _enough(both)
    mix = both[..., :nodes, :].reshape(elements, 2, elements * sets * nodes, -1)
    axis = 0 if isinstance(part, SeRConfig) else part.axis
    header = {
        "cutoff": part.cutoff,
        "onset": part.onset,
        "end": largest(part, config.closest),
        "nodes": nodes,
        "sets": sets,
        "channels": part.neuron[-1],
        "partners": axis,
        "networks": 1 if config.shared else elements,
        "inputs": config.descriptor_size,
    }
    tensors = {"mix": mix, "constant": constant, "bias": _first_bias(config, params, elements)}
    return header, {name: np.ascontiguousarray(x, dtype) for name, x in tensors.items()}


def _enough(coefficients: Array) -> int:
    """Polynomials of (..., FINE, g) coefficients to keep."""
    size = np.abs(coefficients).sum(-2, keepdims=True)
    tail = np.cumsum(np.abs(coefficients)[..., ::-1, :], -2)[..., ::-1, :]
    needed = (tail > LEFT_OUT * max(float(size.max()), 1e-30)).any((0, 1, 2, 3, 5)).sum()
    return int(-(-max(int(needed), 1) // GROUP) * GROUP)


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
    constant = tensors["constant"][z]
    (part,), (made,) = config.descriptors, params["descriptors"]

    def energies(radial: Array, angular: Array) -> Array:
        if isinstance(part, SeRConfig):
            x = radial
        else:
            x = np.asarray(gram(jnp.stack([jnp.asarray(radial), angular], 1), header["partners"]))
        if isinstance(part, Dpa1Config) and part.types_to_fitting:
            own = np.broadcast_to(np.asarray(made["types"][z]), (len(x), part.type_size))
            x = np.concatenate([x, own], 1)
        return np.asarray(fit(params, config, z, jnp.asarray(x)))

    alone = energies(constant[None], np.zeros_like(constant)[None])
    return energies(functions @ mix[0] + constant, functions @ mix[1]) - alone


def _radial_functions(distance: Array, header: dict[str, Any]) -> Array:
    """S T_k(x(s)) at some distances, with fading types also w s T_k: (points, sets K)."""
    w = np.asarray(switch(distance, header["onset"], header["cutoff"]))
    s = w / distance
    x = np.minimum(2 * s / header["end"] - 1, 1)
    functions = s[:, None] * np.polynomial.chebyshev.chebvander(x, header["nodes"] - 1)
    return np.concatenate([functions, w[:, None] * functions][: header["sets"]], 1)
