"""From frames to batches of one fixed shape.

A frame is prepared once: neighbours, moments, labels above E0, atoms sorted by element. A batch
is a disjoint union of frames whose rows are sorted by element and padded to the same number of
rows for every batch, so that XLA compiles the training step once, whatever the sizes and
compositions of the frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from huozi.arrays import jax
from huozi.neighbors import Neighbors, build_neighbors, displacements
from huozi.potential.architectures import frame_moments, has_moments
from huozi.systems import Dataset, Frame, weights_of_errors

Array = NDArray[Any]
MOMENT_ROWS = 256
OPEN_BATCHES = 8


@dataclass(frozen=True, eq=False)
class PreparedFrame:
    """A frame on the host, atoms sorted by element of the model.

    Parameters
    ----------
    order : (n,) int
        Atom of the original frame in each row.
    counts : (Z,) int
        Atoms of each element.
    vectors : (n, m, 3) float32, or float64 where the architecture asks for it
        Displacements to the neighbours, Å.
    species : (n, m) int8
        Element of each neighbour, -1 in padded slots.
    index, reverse : (n, m) int32
        As in `huozi.neighbors.Neighbors`, for the sorted rows.
    moments : (n, ...), as the vectors; (n, 0, 0) where the architecture has none
    reference : float
        Sum of the atoms' E0, eV.
    frame : Frame
        The frame itself, labels included.
    energy_weight, force_weight : float, (n,) array
        Of the labels, by their standard errors; 1 without.
    """

    order: Array
    counts: Array
    vectors: Array
    species: Array
    index: Array
    reverse: Array
    moments: Array
    reference: float
    frame: Frame
    energy_weight: float
    force_weight: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Batch:
    """A union of frames with A rows, F frames and Z elements; absent labels have weight 0.

    Parameters
    ----------
    vectors : (A, m, 3); species, index, reverse : (A, m); moments : (A, ...)
        As in `PreparedFrame`.
    frame : (A,) int32
        Frame of each row; F in padded rows.
    atoms : (F,) float32
        Number of atoms of each frame, 1 where there is no frame.
    energy : (F,), forces : (A, 3), virial : (F, 3, 3) or None
        Labels above E0, eV and eV/Å, float32; None when no frame of the data has a virial.
    energy_weight : (F,), force_weight : (A,), virial_weight : (F,)
        1 where there is an exact label, less by its standard error, 0 where there is none.
    """

    vectors: Any
    species: Any
    index: Any
    reverse: Any
    moments: Any
    frame: Any
    atoms: Any
    energy: Any
    forces: Any
    virial: Any
    energy_weight: Any
    force_weight: Any
    virial_weight: Any


@dataclass(frozen=True)
class Capacity:
    """Shape shared by all batches: rows of each element, frames, slots a row, virials or not."""

    segments: tuple[int, ...]
    frames: int
    width: int
    virials: bool


def precision_of(config: Any) -> str:
    """Arithmetic in which an architecture is trained."""
    return getattr(config, "precision", "float32")


def element_rows(species: Array, elements: Sequence[int], place: str) -> Array:
    """Index of each atom's element among the model's.

    Raises
    ------
    ValueError
        If the model does not know an element; names the atom and `place`.
    """
    lookup = np.full(max(int(np.max(species, initial=0)), *elements) + 1, -1)
    lookup[list(elements)] = np.arange(len(elements))
    rows = lookup[species]
    if (rows < 0).any():
        atom = int(np.flatnonzero(rows < 0)[0])
        known = ", ".join(chemical_symbols[z] for z in elements)
        raise ValueError(
            f"{place}: atom {atom} is {chemical_symbols[int(species[atom])]}, an element the model "
            f"does not know (it knows {known}); train a model on data with this element"
        )
    return np.asarray(rows)


@partial(jax.jit, static_argnums=(2, 3))
def _moments_block(vectors: Any, species: Any, config: Any, elements: int) -> Any:
    return frame_moments(vectors, species, config, elements)


def compute_moments(vectors: Array, species: Array, config: Any, elements: int) -> Array:
    """Moments of any number of rows, in blocks of one compiled shape."""
    blocks = []
    for start in range(0, len(vectors), MOMENT_ROWS):
        part = slice(start, start + MOMENT_ROWS)
        pad = MOMENT_ROWS - len(vectors[part])
        v = np.pad(vectors[part], ((0, pad), (0, 0), (0, 0)))
        s = np.pad(species[part], ((0, pad), (0, 0)), constant_values=-1)
        block = np.asarray(_moments_block(v, s, config, elements))
        blocks.append(block[: MOMENT_ROWS - pad])
    return np.concatenate(blocks)


def _sorted_table(table: Neighbors, order: Array) -> tuple[Array, Array, Array, Array]:
    """Index, reverse, shift and mask for rows in another order."""
    width = table.index.shape[1]
    row_of = np.empty(len(order), np.int32)
    row_of[order] = np.arange(len(order), dtype=np.int32)
    index = row_of[table.index[order]]
    reverse = table.reverse[order]
    reverse = row_of[reverse // width] * width + reverse % width
    return index, reverse.astype(np.int32), table.shift[order], table.mask[order]


def prepare(
    dataset: Dataset,
    elements: Sequence[int],
    e0: Sequence[float],
    config: Any,
) -> list[PreparedFrame]:
    """Neighbours, moments and sorted rows of every frame.

    Parameters
    ----------
    dataset : Dataset
    elements : sequence of int
        Atomic numbers of the model, Z of them.
    e0 : sequence of float
        Energy of an isolated atom of each element, eV.
    config : MomentConfig or DeepPotConfig

    Raises
    ------
    ValueError
        If a frame has an element that the model does not know.
    """
    tables = [
        build_neighbors(f.system.positions, f.system.cell, f.system.pbc, config.cutoff)
        for f in dataset
    ]
    width = max((t.index.shape[1] for t in tables), default=0)
    prepared = []
    weights = _label_weights(dataset)
    for frame, table, given in zip(dataset, tables, weights, strict=True):
        rows = element_rows(frame.system.species, elements, frame.source or "frame")
        prepared.append(_prepare_one(frame, table, rows, width, np.asarray(e0), config, given))
    return prepared


def _label_weights(dataset: Dataset) -> Iterator[tuple[float, Array]]:
    """Weights of the energy and of every atom's force, by their standard errors."""
    labels = [frame.labels for frame in dataset]
    sizes = [len(frame) for frame in dataset]
    energies = weights_of_errors(
        [
            None if each.energy_error is None else each.energy_error / np.sqrt(size)
            for each, size in zip(labels, sizes, strict=True)
        ]
    )
    forces = weights_of_errors([each.forces_error for each in labels])
    for energy, force, size in zip(energies, forces, sizes, strict=True):
        yield float(energy), np.broadcast_to(force, (size, 3)).mean(1)


def _prepare_one(
    frame: Frame,
    table: Neighbors,
    rows: Array,
    width: int,
    e0: Array,
    config: Any,
    weights: tuple[float, Array],
) -> PreparedFrame:
    order = np.argsort(rows, kind="stable")
    index, reverse, shift, mask = _sorted_table(table, order)
    system = frame.system
    positions = system.positions[order]
    sorted_table = Neighbors(index, shift, reverse, mask)
    precision = precision_of(config)
    vectors = np.asarray(displacements(positions, system.cell, sorted_table), precision)
    species = np.where(mask, rows[order][index], -1).astype(np.int8)
    padding = ((0, 0), (0, width - index.shape[1]))
    wide_vectors = np.pad(vectors, (*padding, (0, 0)))
    wide_species = np.pad(species, padding, constant_values=-1)
    return PreparedFrame(
        order=order,
        counts=np.bincount(rows, minlength=len(e0)),
        vectors=vectors,
        species=species,
        index=index,
        reverse=reverse,
        moments=(
            compute_moments(wide_vectors, wide_species, config, len(e0))
            if has_moments(config)
            else np.zeros((len(order), 0, 0), precision)
        ),
        reference=float(e0[rows].sum()),
        frame=frame,
        energy_weight=weights[0],
        force_weight=weights[1][order],
    )


def choose_capacity(frames: Sequence[PreparedFrame], batch_atoms: int) -> Capacity:
    """Smallest shape that holds every frame, and on average `batch_atoms` atoms of the data."""
    counts = np.array([f.counts for f in frames])
    per_batch = max(1, round(batch_atoms / counts.sum(1).mean()))
    wanted = np.maximum(counts.max(0), np.ceil(per_batch * counts.mean(0))).astype(int)
    segments = tuple(int(-(-c // 8) * 8) for c in wanted)
    smallest = max(1, int(counts.sum(1).min()))
    most = min(len(frames), max(1, sum(segments) // smallest), 4 * per_batch)
    return Capacity(
        segments,
        most,
        width=max(f.index.shape[1] for f in frames),
        virials=any(f.frame.labels.virial is not None for f in frames),
    )


def pack(counts: Array, capacity: Capacity, order: Iterable[int]) -> list[list[int]]:
    """Distribute frames over batches that respect the capacity.

    First fit over a few open batches: nearly full batches also when the frames of a data set
    have different elements or sizes.

    Parameters
    ----------
    counts : (frames, Z) int
    capacity : Capacity
    order : iterable of int
        Frames in the order in which they are to be placed.
    """
    limit = np.array(capacity.segments)
    open_batches: list[tuple[list[int], Array]] = []
    closed: list[list[int]] = []
    for frame in order:
        need = counts[frame]
        for members, used in open_batches:
            if len(members) < capacity.frames and (used + need <= limit).all():
                members.append(int(frame))
                used += need
                break
        else:
            open_batches.append(([int(frame)], need.copy()))
        if len(open_batches) > OPEN_BATCHES:
            fullest = max(range(len(open_batches)), key=lambda i: open_batches[i][1].sum())
            closed.append(open_batches.pop(fullest)[0])
    return closed + [members for members, _ in open_batches]


def assemble(frames: Sequence[PreparedFrame], capacity: Capacity) -> Batch:
    """Unite prepared frames into one padded batch (NumPy arrays)."""
    rows, width = sum(capacity.segments), capacity.width
    starts = np.concatenate([[0], np.cumsum(capacity.segments)[:-1]])
    own = np.arange(rows, dtype=np.int32)[:, None]
    index = np.repeat(own, width, axis=1)
    reverse = own * width + np.arange(width, dtype=np.int32)
    dtype = frames[0].vectors.dtype
    vectors = np.zeros((rows, width, 3), dtype)
    species = np.full((rows, width), -1, np.int8)
    moment_rows = np.zeros((rows, *frames[0].moments.shape[1:]), dtype)
    frame_of = np.full(rows, capacity.frames, np.int32)
    atoms = np.ones(capacity.frames, dtype)
    energy, energy_weight, virial_weight = np.zeros((3, capacity.frames), dtype)
    virial = np.zeros((capacity.frames, 3, 3), dtype)
    forces, force_weight = np.zeros((rows, 3), dtype), np.zeros(rows, dtype)
    used = starts.copy()
    for f, item in enumerate(frames):
        place = np.concatenate(
            [np.arange(u, u + c) for u, c in zip(used, item.counts, strict=True)]
        ).astype(np.int32)
        used = used + item.counts
        m = item.index.shape[1]
        index[place, :m] = place[item.index]
        reverse[place, :m] = place[item.reverse // m] * width + item.reverse % m
        vectors[place, :m] = item.vectors
        species[place, :m] = item.species
        moment_rows[place] = item.moments
        frame_of[place] = f
        atoms[f] = len(item.order)
        labels = item.frame.labels
        if labels.energy is not None:
            energy[f], energy_weight[f] = labels.energy - item.reference, item.energy_weight
        if labels.forces is not None:
            forces[place], force_weight[place] = labels.forces[item.order], item.force_weight
        if labels.virial is not None:
            virial[f], virial_weight[f] = labels.virial, 1
    return Batch(
        vectors, species, index, reverse, moment_rows, frame_of, atoms, energy, forces,
        virial if capacity.virials else None, energy_weight, force_weight, virial_weight,
    )  # fmt: skip
