"""Neighbours of every atom as one dense table.

A row holds the neighbours of one atom within a cutoff, padded to a common width. Dense rows
turn sums over neighbours into small matrix products, which XLA runs several times faster on
CPUs than scatter-adds over an edge list (docs/decisions/003-dense-rows.md). The width is found
from the atoms, never asked of a user: it grows when a row overflows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.custom_derivatives import linear_call
from numpy.typing import NDArray
from vesin import NeighborList

from huozi import kernels
from huozi.arrays import jax, jnp

Array = NDArray[Any]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Neighbors:
    """Neighbour table of n atoms with m slots each.

    Parameters
    ----------
    index : (n, m) int32
        Atom in each slot; the atom itself in padded slots.
    shift : (n, m, 3) int32
        Periodic image of the neighbour, in lattice vectors.
    reverse : (n, m) int32
        Flat slot (row * m + column) that holds the same pair seen from the neighbour; a padded
        slot points to itself.
    mask : (n, m) bool
        True in slots that hold a neighbour.
    """

    index: Any
    shift: Any
    reverse: Any
    mask: Any


def build_neighbors(
    positions: Array, cell: Array, pbc: Array, cutoff: float, width: int | None = None
) -> Neighbors:
    """Find all neighbours within a cutoff, periodic images included.

    Parameters
    ----------
    positions : (n, 3) array
        Å; atoms may lie outside the cell.
    cell : (3, 3) array
        Rows are lattice vectors, Å. May be zero along open directions.
    pbc : (3,) bool array
    cutoff : float
        Å; may exceed half the cell (every image counts).
    width : int, optional
        Least number of slots a row; more are taken when a row needs them.

    Returns
    -------
    Neighbors
        NumPy arrays, on the host.

    Raises
    ------
    ValueError
        If a position or the cell is not finite, or a periodic cell has no volume.
    """
    positions, cell, pbc = np.asarray(positions), np.asarray(cell), np.asarray(pbc, bool)
    if not np.isfinite(positions).all():
        atom = int(np.argwhere(~np.isfinite(positions))[0, 0])
        raise ValueError(f"the position of atom {atom} is not finite: {positions[atom]}")
    if not np.isfinite(cell).all():
        raise ValueError(f"the cell is not finite: {cell.tolist()}")
    box = _complete_cell(cell, pbc)
    if kernels.is_available():
        return _search_compiled(positions, box, pbc, cutoff, width)
    centre, other, image = _half_list(positions, box, pbc, cutoff)
    return _fill_rows(len(positions), centre, other, image, width)


def round_width(count: int) -> int:
    """Smallest multiple of 8 (one AVX-512 register holds 16 floats) that holds `count` slots."""
    return max(8, -(-count // 8) * 8)


def _search_compiled(
    positions: Array, box: Array, pbc: Array, cutoff: float, width: int | None
) -> Neighbors:
    """Let the kernel fill the table; again if the first guess of its width was too small."""
    n, slots = len(positions), width or 8
    while True:
        index, reverse = np.empty((2, n, slots), np.int32)
        shift, mask = np.empty((n, slots, 3), np.int32), np.empty((n, slots), bool)
        needed = kernels.fill_table(positions, box, pbc, cutoff, index, shift, reverse, mask)
        if needed <= slots:
            return Neighbors(index, shift, reverse, mask)
        slots = round_width(needed)


def _half_list(
    positions: Array, box: Array, pbc: Array, cutoff: float
) -> tuple[Array, Array, Array]:
    """Each pair once: first atom, second atom, periodic image of the second."""
    calculator = NeighborList(cutoff=float(cutoff), full_list=False)
    centre, other, image = calculator.compute(
        points=np.ascontiguousarray(positions, np.float64),
        box=box,
        periodic=pbc if pbc.any() else False,
        quantities="ijS",
    )
    return centre.astype(np.int64), other.astype(np.int64), image.astype(np.int32)


def _complete_cell(cell: Array, pbc: Array) -> Array:
    """Give open directions without a lattice vector a unit vector orthogonal to the others."""
    box = np.array(cell, np.float64)
    if not pbc.any():
        return np.eye(3)
    for axis in np.flatnonzero(~pbc & (np.linalg.norm(box, axis=1) == 0)):
        rest = np.delete(box, axis, axis=0)
        normal = np.linalg.svd(rest)[2][-1]
        box[axis] = normal
    if abs(np.linalg.det(box)) < 1e-9:
        raise ValueError(f"a periodic system needs a cell with a volume; found {cell.tolist()}")
    return np.asarray(box)


def _fill_rows(n: int, centre: Array, other: Array, image: Array, width: int | None) -> Neighbors:
    """Spread a half list over the rows of both atoms, keeping track of the reverse slots."""
    pairs = len(centre)
    row = np.concatenate([centre, other])
    counts = np.bincount(row, minlength=n)
    m = max(round_width(int(counts.max(initial=0))), width or 0)
    order = np.argsort(row, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    slot = np.empty(2 * pairs, np.int64)
    slot[order] = np.arange(2 * pairs) - np.repeat(starts, counts)
    flat = row * m + slot

    index = np.repeat(np.arange(n, dtype=np.int32), m)
    shift = np.zeros((n * m, 3), np.int32)
    reverse = np.arange(n * m, dtype=np.int32)
    mask = np.zeros(n * m, bool)
    index[flat] = np.concatenate([other, centre])
    shift[flat] = np.concatenate([image, -image])
    reverse[flat] = np.roll(flat, pairs)
    mask[flat] = True
    return Neighbors(
        index.reshape(n, m), shift.reshape(n, m, 3), reverse.reshape(n, m), mask.reshape(n, m)
    )


def displacements(positions: Any, cell: Any, neighbors: Neighbors, centres: Any = None) -> Any:
    """Vectors from each atom to its neighbours, (n, m, 3) Å; zero in padded slots.

    When the table holds only some of the atoms, `centres` are the positions of those.
    """
    centres = positions if centres is None else centres
    moved = positions[neighbors.index] - centres[:, None]
    return moved + neighbors.shift.astype(cell.dtype) @ cell


def forces_from_pairs(gradient: Any, neighbors: Neighbors) -> Any:
    """Collect forces (n, 3) from the energy's gradient by the displacements (n, m, 3).

    An atom is pulled by the pairs of its own row and pushed by the same pairs seen from the
    other side, found in the reverse slots: a gather, where a scatter-add would be slower. The
    transpose, written out for training, is a gather too.
    """

    def collect(neighbors: Neighbors, gradient: Any) -> Any:
        mirrored = gradient.reshape(-1, 3)[neighbors.reverse.reshape(-1)].reshape(gradient.shape)
        return jnp.sum(jnp.where(neighbors.mask[..., None], gradient - mirrored, 0), axis=1)

    def spread(neighbors: Neighbors, forces: Any) -> Any:
        difference = forces[:, None] - forces[neighbors.index]
        return jnp.where(neighbors.mask[..., None], difference, 0)

    return linear_call(collect, spread, neighbors, gradient)


def virial_from_pairs(gradient: Any, vectors: Any) -> Any:
    """Virial (3, 3) eV: minus the sum of displacement times energy gradient."""
    return -jnp.einsum("nmi,nmj->ij", vectors, gradient)
