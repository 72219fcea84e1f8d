"""The embedding of DeepPot-SE and of DPA-1 without attention, expanded in Chebyshev polynomials.

The embedding network is a function of one number, s(r), for each pair of elements. With

    G(s) = sum_k c_k T_k(x(s))        x = 2 s / s_max - 1

the sum over neighbours comes before the network:

    A_i[g] = sum_{z k} c[z_i, z, k, g] P_i[z, k]      P_i[lm, z k] = sum_{j of z} s T_k(x) Y_lm

so that the parameter-free moments P are computed once for a training frame, and a step evaluates
the network at a few dozen nodes instead of at every pair (docs/decisions/009-deepmd.md).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from huozi.arrays import jnp
from huozi.potential.deeppot import (
    RADIAL_ONLY_FACTOR,
    Params,
    fit,
    gram,
    sel_by_element,
)
from huozi.potential.deeppot_settings import DeepPotConfig, Dpa1Config, Neighbourhood, SeRConfig
from huozi.potential.dpa1 import type_factors
from huozi.potential.layers import apply, pick


def is_tabulated(config: DeepPotConfig) -> bool:
    """Whether the architecture can be, and is asked to be, evaluated by its expansion."""
    plain = all(getattr(part, "attention_layers", 0) == 0 for part in config.descriptors)
    return config.nodes > 0 and plain and config.bridge is None


def largest(part: Neighbourhood, closest: float) -> float:
    """S at the closest distance, 1/Å: the end of the expansion."""
    u = min(max((closest - part.onset) / (part.cutoff - part.onset), 0.0), 1.0)
    return (u**3 * (-6 * u**2 + 15 * u - 10) + 1) / (closest + part.protection)


def fades_types(part: Neighbourhood) -> bool:
    """Whether a second set of functions, times the switch, is needed."""
    return isinstance(part, Dpa1Config) and part.mode == "strip" and part.smooth


def functions_of(part: Neighbourhood, nodes: int) -> int:
    """Count the radial functions of a descriptor."""
    return nodes * (2 if fades_types(part) else 1)


def radial_functions(distance: Any, config: DeepPotConfig) -> tuple[list[Any], list[Any]]:
    """S T_k(x(s)) of every descriptor, and derivatives by the distance.

    Parameters
    ----------
    distance : array
        Å.
    config : DeepPotConfig

    Returns
    -------
    values, derivatives : lists of arrays
    """
    values: list[Any] = []
    slopes: list[Any] = []
    for part in config.descriptors:
        u = (distance - part.onset) / (part.cutoff - part.onset)
        between = (u > 0) & (u < 1)
        u = jnp.clip(u, 0, 1)
        w = u**3 * (-6 * u**2 + 15 * u - 10) + 1
        dw = jnp.where(between, -30 * (u * (1 - u)) ** 2 / (part.cutoff - part.onset), 0)
        inverse = 1 / (distance + part.protection)
        s, ds = w * inverse, (dw - w * inverse) * inverse
        end = largest(part, config.closest)
        x = jnp.minimum(2 * s / end - 1, 1)
        dx = jnp.where(s < end, 2 / end * ds, 0)
        polynomials, derivatives = _chebyshev(x, config.nodes)
        mine = [s * t for t in polynomials]
        mine_slopes = [ds * t + s * dx * d for t, d in zip(polynomials, derivatives, strict=True)]
        values += mine
        slopes += mine_slopes
        if fades_types(part):
            values += [w * v for v in mine]
            slopes += [dw * v + w * d for v, d in zip(mine, mine_slopes, strict=True)]
    return values, slopes


def _chebyshev(x: Any, count: int) -> tuple[list[Any], list[Any]]:
    """T_k(x) and its derivative for k < count, count >= 2."""
    values, derivatives = [jnp.ones_like(x), x], [jnp.zeros_like(x), jnp.ones_like(x)]
    while len(values) < count:
        derivatives.append(2 * values[-1] + 2 * x * derivatives[-1] - derivatives[-2])
        values.append(2 * x * values[-1] - values[-2])
    return values, derivatives


@cache
def _nodes(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Chebyshev nodes in (-1, 1), and the matrix from values there to coefficients."""
    angles = np.pi * (np.arange(count) + 0.5) / count
    transform = 2 / count * np.cos(np.arange(count)[:, None] * angles)
    transform[0] /= 2
    return np.cos(angles), transform


def expand(
    params: Params, part: Any, element: int, nodes: int, closest: float
) -> tuple[Any, Any, Any]:
    """Coefficients of one descriptor around one element.

    Exact for a zero mean, as training has it. With another one, what the switch multiplies at s = 0
    (faded types) and unused slots of excluded pairs are not in the expansion.

    Parameters
    ----------
    params : dict
        Parameters of the descriptor.
    part : SeAConfig, SeRConfig or Dpa1Config
    element : int
    nodes : int
        Number of polynomials K.
    closest : float
        Shortest distance of the expansion, Å.

    Returns
    -------
    radial, angular : (Z, B, g) arrays
        For the moments of degree 0 and 1; B from `functions_of`.
    constant : (g,) array
        Of degree 0: the unused slots.
    """
    dtype = params["embedding"][0]["weight"].dtype
    points, transform = _nodes(nodes)
    # In float64, because values are divided by small s; it is a few dozen points.
    s = jnp.asarray(0.5 * (points + 1) * largest(part, closest))
    mean, deviation = params["mean"][element], params["deviation"][element]
    empty = -mean / deviation[0]
    radial, angular, constant = [], [], jnp.zeros(part.neuron[-1])
    for other, slots in enumerate(sel_by_element(part, len(params["mean"]))):
        given = jnp.concatenate([s / deviation[0] + empty, empty[None]])
        values = _embed(params, part, element, other, given)
        if part.is_excluded(element, other):
            values = [jnp.zeros_like(v) for v in values]
        rows, columns = [], []
        for value in values:
            at, zero = value[:-1], value[-1]
            rise = (at - zero) / s[:, None]
            if isinstance(part, SeRConfig):
                rows.append(transform @ rise)
            else:
                rows.append(transform @ (at / deviation[0] + empty * rise))
            columns.append(transform @ at / deviation[1])
        radial.append(jnp.concatenate(rows))
        angular.append(jnp.concatenate(columns))
        weight = 1.0 if isinstance(part, SeRConfig) else empty
        constant = constant + slots * weight * values[0][-1]
    total = part.total
    found = (jnp.stack(radial) / total, jnp.stack(angular) / total, constant / total)
    return tuple(x.astype(dtype) for x in found)


def _embed(params: Params, part: Any, element: int, other: int, s: Any) -> list[Any]:
    """G (points, g) by the standardised s; for faded types also what the switch multiplies."""
    layers = params["embedding"]
    if not isinstance(part, Dpa1Config):
        layers = pick(layers, *((other,) if part.one_side else (element, other)))
        return [apply(layers, s[:, None], part.activation)]
    types = params["types"]
    if part.mode == "concat":
        sides = [types[other]] if part.one_side else [types[other], types[element]]
        own = jnp.broadcast_to(jnp.concatenate(sides), (len(s), part.type_size * len(sides)))
        return [apply(layers, jnp.concatenate([s[:, None], own], 1), part.activation)]
    radial = apply(layers, s[:, None], part.activation)
    factor = type_factors(params, part, jnp.pad(types, ((0, 1), (0, 0))), element)[other]
    return [radial, radial * factor] if part.smooth else [radial * (1 + factor)]


def element_energies(params: Params, config: DeepPotConfig, element: int, moments: Any) -> Any:
    """Energies (n,) above E0, eV, from the moments (n, 4, Z B) of atoms of one element."""
    x = descriptors(params, config, element, moments)
    vacuum = descriptors(params, config, element, jnp.zeros_like(moments[:1]))
    return fit(params, config, element, x) - fit(params, config, element, vacuum)


def descriptors(params: Params, config: DeepPotConfig, element: int, moments: Any) -> Any:
    """Descriptors (n, D) of atoms of one element."""
    elements = len(params["descriptors"][0]["mean"])
    n = len(moments)
    by_species = moments.reshape(n, 4, elements, -1)
    parts, start = [], 0
    for made, part in zip(params["descriptors"], config.descriptors, strict=True):
        count = functions_of(part, config.nodes)
        mine = by_species[..., start : start + count].reshape(n, 4, -1)
        start += count
        radial, angular, constant = expand(made, part, element, config.nodes, config.closest)
        first = mine[:, 0] @ radial.reshape(-1, radial.shape[-1]) + constant
        if isinstance(part, SeRConfig):
            parts.append(RADIAL_ONLY_FACTOR * first)
            continue
        rest = mine[:, 1:] @ angular.reshape(-1, angular.shape[-1])
        parts.append(gram(jnp.concatenate([first[:, None], rest], 1), part.axis))
        if isinstance(part, Dpa1Config) and part.types_to_fitting:
            own = made["types"][element].astype(first.dtype)
            parts.append(jnp.broadcast_to(own, (n, part.type_size)))
    return jnp.concatenate(parts, -1)
