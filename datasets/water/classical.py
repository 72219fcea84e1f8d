"""Round 0 geometries: classical molecular dynamics of flexible SPC/Fw water in CP2K's FIST.

SPC/Fw: Wu, Tepper, Voth, J. Chem. Phys. 124, 024503 (2006), doi:10.1063/1.2136877.
Its O-H bonds are longer than those of density functional theory, so each frame's bonds are
shortened by a random factor and some frames are displaced at random: what counts is that the
frames surround the region which a first potential has to know, not that they obey SPC/Fw.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from ase.geometry import find_mic

WATER_MASS = 18.01528  # amu
WATER = np.array([[0.0, 0.0, 0.0], [0.7570, 0.5859, 0.0], [-0.7570, 0.5859, 0.0]])  # Å


def box_length(molecules: int, density: float) -> float:
    """Edge of a cubic box of water in Å; density in g/cm^3."""
    gram_per_cm3 = 1e-3 * units.kg / (1e-2 * units.m) ** 3
    return float((molecules * WATER_MASS / (density * gram_per_cm3)) ** (1 / 3))


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """Rotation matrix (3, 3), uniform over all orientations (from a random unit quaternion)."""
    w, x, y, z = rng.normal(size=4)
    q = np.array([[w, -x, -y, -z], [x, w, -z, y], [y, z, w, -x], [z, -y, x, w]])
    q /= np.sqrt(w * w + x * x + y * y + z * z)
    left = q
    right = q.T * np.array([1, -1, -1, -1])
    return (left @ (right * np.array([1, -1, -1, -1])[:, None]))[1:, 1:]
