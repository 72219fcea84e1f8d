"""Operations and bytes of one evaluation of a model, counted."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from huozi.neighbors import build_neighbors
from huozi.potential import Model, MomentConfig
from huozi.potential.architectures import kernel_part
from huozi.systems import System

HARMONICS_COST = 130  # unit vector, harmonics to l = 3, envelope: of a pair
GRADIENT_COST = 170  # their derivatives, force and virial of a pair
ACTIVATION_COST = 25  # SiLU or tanh and its derivative, one exponential
SWITCH_COST = 45  # unit vector, switch and its slope: of a pair
SPLINES_COST = 95  # the six quintic splines at a distance


@dataclass(frozen=True)
class Cost:
    """Per atom, for energy, forces and virial.

    Parameters
    ----------
    flops : float
        Floating-point operations that the equations ask for: a multiply-add is two, and padding,
        transpositions, searches and conversions are none.
    bytes : float
        Read and written in memory at least: positions, forces, the neighbour list. What stays
        in the caches (weights, moments) is not counted.
    """

    flops: float
    bytes: float


def model_cost(model: Model, system: System) -> Cost | None:
    """Count the work of an atom of a system; None for models that the kernel does not run.

    Parameters
    ----------
    model : Model
    system : System
        Its neighbours within the cutoff are counted, without those in the skin of a list.

    Returns
    -------
    Cost or None
    """
    table = build_neighbors(system.positions, system.cell, system.pbc, model.cutoff)
    inside = float(table.mask.sum()) / len(system)
    if isinstance(model.config, MomentConfig):
        return cost_per_atom(model.config, len(model.elements), inside, inside)
    part = kernel_part(model.config, model.params)
    if part is None:
        return None
    kernel, _ = part
    images = system.positions[table.index] + table.shift @ system.cell
    distances = np.linalg.norm(images - system.positions[:, None], axis=-1)
    distances[~table.mask] = np.inf
    reach = np.zeros(len(system))
    for element in model.elements:
        nearest = np.where(system.species[table.index] == element, distances, np.inf).min(1)
        reach += kernel["sets"] * kernel["nodes"] * np.minimum(1 / nearest / kernel["end"], 1)
    return deeppot_cost_per_atom(kernel, model.config.hidden, float(reach.mean()), inside)


def deeppot_cost_per_atom(
    kernel: dict[str, Any], hidden: tuple[int, ...], reach: float, inside: float
) -> Cost:
    """Count the work of an atom of DeepPot-SE or DPA-1 in the form that the kernel runs.

    Parameters
    ----------
    kernel : dict
        What the header of the model file says of its splines, functions and their products.
    hidden : tuple of int
        Widths of the fitting network.
    reach : float
        Mean number of splines, of all elements and sets, that an atom's neighbours reach.
    inside : float
        Mean number of neighbours within the cutoff, and in the list.

    Returns
    -------
    Cost
    """
    harmonics, sets, channels = 4, kernel["sets"], kernel["channels"]
    pair = 2 * (SWITCH_COST + SPLINES_COST)
    pair += sets * harmonics * 2 * (6 + 6 + 5) + GRADIENT_COST  # moments; values and slopes back
    mixing = 3 * 2 * reach * channels * harmonics  # the gradients of values and of slopes
    products = sum(len(row) for row in kernel["products"])
    invariants = 3 * 2 * products * harmonics
    network = _network_flops(products or channels, hidden)
    return Cost(inside * pair + mixing + invariants + network, _bytes(inside))


def cost_per_atom(config: MomentConfig, elements: int, inside: float, listed: float) -> Cost:
    """Count the work of an atom.

    Parameters
    ----------
    config : MomentConfig
    elements : int
        In the model.
    inside, listed : float
        Mean number of neighbours within the cutoff, and in the list.

    Returns
    -------
    Cost
    """
    radial, channels = config.radial, config.channels
    harmonics, functions = (config.degree + 1) ** 2, config.radial * elements
    partners = min(config.partners, channels)
    # Geometry is computed for the moments and again for the forces.
    pair = 2 * HARMONICS_COST + 2 * 11 * radial + GRADIENT_COST
    pair += 2 * radial * harmonics + 4 * radial * harmonics + 2 * harmonics
    mixing = 2 * 2 * functions * channels * harmonics
    products = partners * channels - partners * (partners - 1) // 2
    invariants = 3 * 2 * products * harmonics
    network = _network_flops(channels + (config.degree + 1) * products, config.hidden)
    return Cost(inside * pair + mixing + invariants + network, _bytes(listed))


def _network_flops(inputs: int, hidden: tuple[int, ...]) -> float:
    """Operations of a network, there and back."""
    products = sum(2 * 2 * a * b for a, b in pairwise([inputs, *hidden]))
    return products + ACTIVATION_COST * sum(hidden)


def _bytes(listed: float) -> float:
    """Position (24) and kind (4) of the atom; forces read and written (48); 4 for a list entry.

    Positions of neighbours come from the caches as long as atoms are sorted in space.
    """
    return 24 + 4 + 48 + 4 * listed
