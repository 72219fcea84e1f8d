"""Operations and bytes of one evaluation of a model, counted."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from huozi.potential import MomentConfig

HARMONICS_COST = 130  # unit vector, harmonics to l = 3, envelope: of a pair
GRADIENT_COST = 170  # their derivatives, force and virial of a pair
ACTIVATION_COST = 25  # SiLU and its derivative, one exponential


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
    sizes = [channels + (config.degree + 1) * products, *config.hidden]
    network = sum(2 * 2 * a * b for a, b in pairwise(sizes))
    network += ACTIVATION_COST * sum(config.hidden)
    # Position (24) and kind (4) of the atom; forces read and written (48); 4 for a list entry.
    # Positions of neighbours come from the caches as long as atoms are sorted in space.
    return Cost(
        flops=inside * pair + mixing + invariants + network,
        bytes=24 + 4 + 48 + 4 * listed,
    )
