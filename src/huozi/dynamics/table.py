"""A neighbour table with a skin, and the exact test of whether it still holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from huozi.arrays import jax, jnp
from huozi.neighbors import Neighbors, build_neighbors, round_width

Array = NDArray[Any]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Table:
    """Neighbours within cutoff + skin, and where the atoms were when they were found.

    Parameters
    ----------
    neighbors : Neighbors
    positions : (n, 3)
        Å, at the time of the search.
    cell : (3, 3)
        Å, at the time of the search.
    cutoff, skin : float
        Å.
    """

    neighbors: Neighbors
    positions: Any
    cell: Any
    cutoff: Any
    skin: Any

    @property
    def width(self) -> int:
        """Slots a row."""
        return int(self.neighbors.index.shape[1])


def build_table(
    positions: Array, cell: Array, pbc: Array, cutoff: float, skin: float, width: int | None = None
) -> Table:
    """Search neighbours on the host and put the table on the device.

    The table is at least `width` slots wide. When a row needs more, it becomes wider with some
    slots to spare: each new width costs a compilation.
    """
    neighbors = build_neighbors(positions, cell, pbc, cutoff + skin, width)
    needed = neighbors.index.shape[1]
    if width is not None and needed > width:
        width = round_width(needed + needed // 8)
        neighbors = build_neighbors(positions, cell, pbc, cutoff + skin, width)
    table = Table(neighbors, np.array(positions), np.array(cell), float(cutoff), float(skin))
    return jax.tree.map(jnp.asarray, table)


def room(table: Table, positions: Any, cell: Any, moves_cell: bool) -> Any:
    """How far, Å, any atom may still move until a pair within the cutoff may be missing.

    With F the deformation of the cell since the search and d the largest displacement relative
    to it, a pair at distance r now was closer than |F^-1| (r + 2 d) then: it is in the table
    if that is below cutoff + skin. The table holds while there is no less than no room; not a
    number holds nothing.
    """
    stretch = 1.0
    if moves_cell:
        stretch += jnp.linalg.norm(jnp.linalg.solve(cell, table.cell) - jnp.eye(3))
    moved = largest_move(table.positions, table.cell, positions, cell, moves_cell)
    return ((table.cutoff + table.skin) / stretch - table.cutoff) / 2 - moved


def largest_move(old: Any, old_cell: Any, positions: Any, cell: Any, moves_cell: bool) -> Any:
    """Largest displacement of an atom, Å, besides what it owes to the strain of the cell."""
    if moves_cell:
        old = old @ jnp.linalg.solve(old_cell, cell)
    return jnp.sqrt(jnp.max(jnp.sum((positions - old) ** 2, axis=1)))
