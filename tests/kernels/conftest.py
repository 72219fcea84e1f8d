"""Systems for the tests of the kernel."""

from __future__ import annotations

import numpy as np

from huozi.systems import System


def random_system(
    rng: np.random.Generator, elements: tuple[int, ...], atoms: int, scale: float
) -> System:
    """Atoms not closer than 0.7 Å, also outside the cell; skewed cell, any open directions.

    `scale` is the edge of a cube for each atom, Å.
    """
    edge = scale * atoms ** (1 / 3)
    cell = edge * (np.eye(3) + 0.15 * rng.uniform(-1, 1, size=(3, 3)))
    positions = np.zeros((0, 3))
    while len(positions) < atoms:
        new = rng.uniform(-0.5, 1.5, size=3) @ cell
        if len(positions) == 0 or np.linalg.norm(positions - new, axis=1).min() > 0.7:
            positions = np.vstack([positions, new])
    return System(rng.choice(elements, atoms), positions, cell, rng.integers(0, 2, 3).astype(bool))
