"""The embedding of DeepPot-SE and of DPA-1 without attention, expanded in splines for training.

The embedding network is a function of one number, s(r), for each pair of elements. With quintic
B-splines on equal intervals of s,

    G(s) = sum_k c_k B_k(s)

the sum over neighbours comes before the network:

    A_i[g] = sum_{z k} c[z_i, z, k, g] P_i[z, k]      P_i[z, k, lm] = sum_{j of z} s B_k(s) Y_lm

so that the parameter-free moments P are computed once for a training frame, and a step evaluates
the network at some hundred points instead of at every pair. Six splines differ from zero at a
pair: what passes between pairs and moments is a window of six rows (docs/decisions/009-deepmd.md).
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from jax.custom_derivatives import linear_call
from scipy.interpolate import BSpline, PPoly

from huozi.arrays import jax, jnp
from huozi.potential.deeppot import (
    RADIAL_ONLY_FACTOR,
    Params,
    fit,
    gram,
    sel_by_element,
)
from huozi.potential.deeppot_settings import (
    SPLINE_DEGREE,
    DeepPotConfig,
    Dpa1Config,
    Neighbourhood,
    SeRConfig,
)
from huozi.potential.dpa1 import type_factors
from huozi.potential.environment import switch
from huozi.potential.layers import apply, pick

WINDOW = SPLINE_DEGREE + 1
HARMONICS = 4
POINTS_PER_SPLINE = 1.5


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


@cache
def _pieces() -> tuple[np.ndarray, np.ndarray]:
    """Polynomials of the six splines on an interval, and derivatives: (powers falling, WINDOW)."""
    spline = PPoly.from_spline(BSpline.basis_element(np.arange(WINDOW + 1), extrapolate=False))
    pieces = spline.c[:, SPLINE_DEGREE : SPLINE_DEGREE + WINDOW][:, ::-1]
    powers = np.arange(SPLINE_DEGREE, 0, -1)[:, None]
    return pieces, pieces[:-1] * powers


def _at(pieces: np.ndarray, t: Any) -> list[Any]:
    """Values of the polynomials at t, by Horner's rule."""
    found = []
    for column in pieces.T.tolist():
        value = jnp.full_like(t, column[0])
        for coefficient in column[1:]:
            value = value * t + coefficient
        found.append(value)
    return found


def _interval(s: Any, end: float, nodes: int) -> tuple[Any, Any]:
    """Interval of each s, which is also the first of its splines, and the place in it, 0 to 1."""
    count = nodes - SPLINE_DEGREE
    x = jnp.clip(s * (count / end), 0, count)
    first = jnp.minimum(jnp.asarray(x, "int32"), count - 1)
    return first, x - first


@cache
def spline_fit(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Points in (0, 1), and the matrix (nodes, points) from values there to coefficients.

    By least squares at half as many points again as there are splines, denser at the ends.
    """
    count = round(POINTS_PER_SPLINE * nodes)
    points = 0.5 - 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / count)
    knots = np.arange(-SPLINE_DEGREE, nodes + 1) / (nodes - SPLINE_DEGREE)
    design = BSpline.design_matrix(points, knots, SPLINE_DEGREE).toarray()
    return points, np.linalg.pinv(design)


class _Pairs(NamedTuple):
    """Geometry of the pairs (n, m): unit vectors, 1/distance, and windows.

    A window is the place of its first number in the moments (n, m), six radial functions and
    their derivatives by the distance, each (n, m).
    """

    unit: Any
    inverse: Any
    windows: list[tuple[Any, list[Any], list[Any]]]


def _pairs(vectors: Any, species: Any, config: DeepPotConfig, elements: int) -> _Pairs:
    square = jnp.where(species >= 0, jnp.sum(vectors**2, -1), config.cutoff**2)
    inverse = jax.lax.rsqrt(square)
    distance = square * inverse
    total = sum(functions_of(part, config.nodes) for part in config.descriptors)
    atom = jnp.arange(len(vectors), dtype="int32")[:, None]
    row = (atom * elements + jnp.maximum(species, 0)) * total
    windows, start = [], 0
    for part in config.descriptors:
        w, dw = _switch_and_slope(distance, part)
        scale = 1 / (distance + part.protection)
        s, ds = w * scale, (dw - w * scale) * scale
        end = largest(part, config.closest)
        first, t = _interval(s, end, config.nodes)
        dt = jnp.where(s < end, (config.nodes - SPLINE_DEGREE) / end * ds, 0)
        values, slopes = (_at(pieces, t) for pieces in _pieces())
        mine = [s * b for b in values]
        mine_slopes = [ds * b + s * dt * d for b, d in zip(values, slopes, strict=True)]
        windows.append(((row + start + first) * HARMONICS, mine, mine_slopes))
        start += config.nodes
        if fades_types(part):
            faded = [w * v for v in mine]
            faded_slopes = [dw * v + w * d for v, d in zip(mine, mine_slopes, strict=True)]
            windows.append(((row + start + first) * HARMONICS, faded, faded_slopes))
            start += config.nodes
    return _Pairs(vectors * inverse[..., None], inverse, windows)


def _switch_and_slope(distance: Any, part: Neighbourhood) -> tuple[Any, Any]:
    u = jnp.clip((distance - part.onset) / (part.cutoff - part.onset), 0, 1)
    return switch(distance, part.onset, part.cutoff), (
        -30 * (u * (1 - u)) ** 2 / (part.cutoff - part.onset)
    )


def _scatter(shape: tuple[int, ...], place: Any, rows: Any) -> Any:
    """Add windows (n, m, WINDOW, HARMONICS) to moments of the given shape."""
    numbers = jax.lax.ScatterDimensionNumbers((2,), (), (0,))
    flat = jax.lax.scatter_add(
        jnp.zeros(int(np.prod(shape)), rows.dtype),
        place[..., None],
        rows.reshape(*place.shape, WINDOW * HARMONICS),
        numbers,
        mode="promise_in_bounds",
    )
    return flat.reshape(shape)


def _gather(table: Any, place: Any) -> list[Any]:
    """Rows (n, m, HARMONICS) of the windows of a table, one for each spline."""
    numbers = jax.lax.GatherDimensionNumbers((2,), (), (0,))
    width = WINDOW * HARMONICS
    found = jax.lax.gather(
        table.reshape(-1), place[..., None], numbers, (width,), mode="promise_in_bounds"
    )
    rows = found.reshape(*place.shape, WINDOW, HARMONICS)
    return [rows[:, :, k] for k in range(WINDOW)]


def _shape(vectors: Any, config: DeepPotConfig, elements: int) -> tuple[int, ...]:
    total = sum(functions_of(part, config.nodes) for part in config.descriptors)
    return (len(vectors), elements, total, HARMONICS)


def moments(vectors: Any, species: Any, config: DeepPotConfig, elements: int) -> Any:
    """Moments of the neighbours of each atom.

    Parameters
    ----------
    vectors : (n, m, 3) array
        Displacements to the neighbours, Å; anything in padded slots.
    species : (n, m) int array
        Index of the neighbour's element among the model's; negative in padded slots.
    config : DeepPotConfig
    elements : int
        Number of elements of the model, Z.

    Returns
    -------
    (n, Z, B, 4) array
        B radial functions of all descriptors; 1, x/r, y/r, z/r.
    """
    pairs = _pairs(vectors, species, config, elements)
    angular = jnp.concatenate([jnp.ones_like(pairs.unit[..., :1]), pairs.unit], -1)
    shape = _shape(vectors, config, elements)
    total: Any = 0
    for place, values, _ in pairs.windows:
        rows = jnp.stack([v[..., None] * angular for v in values], 2)
        total = total + _scatter(shape, place, rows)
    return total


def trainable_pull(
    vectors: Any, species: Any, config: DeepPotConfig, elements: int, gradient: Any
) -> Any:
    """Gradient of the energy by the displacements, given that by the moments; with its transpose.

    Linear in `gradient`, and told so to JAX: its reverse derivative, the change of the moments
    with the displacements, is written out too, so that the geometry is never differentiated twice.

    Parameters
    ----------
    vectors, species, config, elements
        As in `moments`.
    gradient : (n, Z, B, 4) array
        Derivative of the energy by the moments, eV.

    Returns
    -------
    (n, m, 3) array
        eV/Å; zero in padded slots.
    """

    def forward(geometry: tuple[Any, Any], gradient: Any) -> Any:
        pairs = _pairs(*geometry, config, elements)
        unit, found = pairs.unit, jnp.zeros_like(pairs.unit)
        for place, values, slopes in pairs.windows:
            rows = _gather(gradient, place)
            value = sum(v[..., None] * row for v, row in zip(values, rows, strict=True))
            slope = sum(d[..., None] * row for d, row in zip(slopes, rows, strict=True))
            tangential = value[..., 1:] * pairs.inverse[..., None]
            along = slope[..., 0] + jnp.sum((slope[..., 1:] - tangential) * unit, -1)
            found = found + tangential + along[..., None] * unit
        return found

    def transpose(geometry: tuple[Any, Any], tangent: Any) -> Any:
        pairs = _pairs(*geometry, config, elements)
        along = jnp.sum(pairs.unit * tangent, -1, keepdims=True)
        turned = (tangent - along * pairs.unit) * pairs.inverse[..., None]
        moved = jnp.concatenate([along, along * pairs.unit], -1)
        turned = jnp.concatenate([jnp.zeros_like(along), turned], -1)
        total: Any = 0
        for place, values, slopes in pairs.windows:
            rows = [
                d[..., None] * moved + v[..., None] * turned
                for v, d in zip(values, slopes, strict=True)
            ]
            total = total + _scatter(_shape(vectors, config, elements), place, jnp.stack(rows, 2))
        return total

    return linear_call(forward, transpose, (vectors, species), gradient)


def expand(
    params: Params, part: Any, element: int, s: np.ndarray, transform: np.ndarray
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
    s : (p,) array
        Where the network is evaluated, 1/Å, positive.
    transform : (K, p) array
        From values there to coefficients of K functions.

    Returns
    -------
    radial, angular : (Z, B, g) arrays
        For the moments of degree 0 and 1; B from `functions_of`.
    constant : (g,) array
        Of degree 0: the unused slots.
    """
    dtype = params["embedding"][0]["weight"].dtype
    at_points, matrix = jnp.asarray(s, dtype), jnp.asarray(transform, dtype)
    mean, deviation = params["mean"][element], params["deviation"][element]
    empty = -mean / deviation[0]
    radial, angular, constant = [], [], jnp.zeros(part.neuron[-1], dtype)
    for other, slots in enumerate(sel_by_element(part, len(params["mean"]))):
        given = jnp.concatenate([at_points / deviation[0] + empty, empty[None]])
        values = _embed(params, part, element, other, given)
        if part.is_excluded(element, other):
            values = [jnp.zeros_like(v) for v in values]
        rows, columns = [], []
        for value in values:
            at, zero = value[:-1], value[-1]
            rise = (at - zero) / at_points[:, None]
            if isinstance(part, SeRConfig):
                rows.append(matrix @ rise)
            else:
                rows.append(matrix @ (at / deviation[0] + empty * rise))
            columns.append(matrix @ at / deviation[1])
        radial.append(jnp.concatenate(rows))
        angular.append(jnp.concatenate(columns))
        weight = 1.0 if isinstance(part, SeRConfig) else empty
        constant = constant + slots * weight * values[0][-1]
    total = part.total
    return jnp.stack(radial) / total, jnp.stack(angular) / total, constant / total


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
    """Energies (n,) above E0, eV, from the moments (n, Z, B, 4) of atoms of one element."""
    # The isolated atom is one row more, so that the network runs once.
    rows = jnp.concatenate([moments, jnp.zeros_like(moments[:1])])
    found = fit(params, config, element, descriptors(params, config, element, rows))
    return found[:-1] - found[-1]


def descriptors(params: Params, config: DeepPotConfig, element: int, moments: Any) -> Any:
    """Descriptors (n, D) of atoms of one element."""
    n = len(moments)
    points, transform = spline_fit(config.nodes)
    parts, start = [], 0
    for made, part in zip(params["descriptors"], config.descriptors, strict=True):
        count = functions_of(part, config.nodes)
        mine = moments[:, :, start : start + count]
        start += count
        s = points * largest(part, config.closest)
        radial, angular, constant = expand(made, part, element, s, transform)
        first = jnp.einsum("nzk,zkg->ng", mine[..., 0], radial) + constant
        if isinstance(part, SeRConfig):
            parts.append(RADIAL_ONLY_FACTOR * first)
            continue
        rest = jnp.einsum("nzkc,zkg->ncg", mine[..., 1:], angular)
        parts.append(gram(jnp.concatenate([first[:, None], rest], 1), part.axis))
        if isinstance(part, Dpa1Config) and part.types_to_fitting:
            own = made["types"][element].astype(first.dtype)
            parts.append(jnp.broadcast_to(own, (n, part.type_size)))
    return jnp.concatenate(parts, -1)
