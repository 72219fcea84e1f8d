"""Errors of a model on labelled frames; the same numbers while training and in ``huozi test``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from huozi.arrays import jax
from huozi.potential.architectures import Params, exact
from huozi.potential.batch import (
    Batch,
    Capacity,
    PreparedFrame,
    assemble,
    choose_capacity,
    pack,
    prepare,
)
from huozi.potential.loss import Prediction, predict
from huozi.potential.model import Model
from huozi.systems import Dataset

Array = NDArray[Any]
TEST_ATOMS = 512
WORST = 5


@dataclass(frozen=True, eq=False)
class Parity:
    """Reference and predicted values of every label that is present.

    Parameters
    ----------
    energy : (2, frames) array
        Reference and prediction, eV per atom.
    forces : (2, rows, 3) array
        eV/Å.
    virial : (2, frames, 3, 3) array
        eV per atom.
    force_species : (rows,) int array
        Atomic number of each row of `forces`.
    """

    energy: Array
    forces: Array
    virial: Array
    force_species: Array


@dataclass(frozen=True, eq=False)
class Metrics:
    """Errors over a whole data set; None where no frame has the label."""

    frames: int
    atoms: int
    energy_rmse_mev_per_atom: float | None
    energy_mae_mev_per_atom: float | None
    force_rmse_mev_per_A: float | None
    force_mae_mev_per_A: float | None
    virial_rmse_mev_per_atom: float | None
    force_rmse_by_element_mev_per_A: dict[str, float]
    worst_frames: list[dict[str, Any]]
    parity: Parity

    def to_dict(self) -> dict[str, Any]:
        """Everything but the single values, ready for JSON."""
        return {k: v for k, v in vars(self).items() if k != "parity"}


@partial(jax.jit, static_argnums=(1, 2))
def _predict(params: Params, config: Any, segments: tuple[int, ...], batch: Batch) -> Prediction:
    return predict(params, config, segments, batch)


class Evaluator:
    """Frames prepared and batched once, to be compared with any parameters.

    Parameters
    ----------
    frames : sequence of PreparedFrame
        At least one.
    """

    def __init__(self, frames: Sequence[PreparedFrame]) -> None:
        self.frames = frames
        self.capacity: Capacity = choose_capacity(frames, TEST_ATOMS)
        counts = np.array([f.counts for f in frames])
        self.batches = pack(counts, self.capacity, range(len(frames)))

    def __call__(self, params: Params, config: Any) -> Metrics:
        """Evaluate all frames with these folded parameters."""
        found: dict[int, tuple[float, Array, Array]] = {}
        for members in self.batches:
            chosen = [self.frames[i] for i in members]
            batch = assemble(chosen, self.capacity)
            out = _predict(params, config, self.capacity.segments, batch)
            energy, forces = np.asarray(out.energy, float), np.asarray(out.forces, float)
            virial = np.zeros((len(energy), 3, 3))
            if out.virial is not None:
                virial = np.asarray(out.virial, float)
            for f, i in enumerate(members):
                original = np.argsort(self.frames[i].order, kind="stable")
                found[i] = (
                    float(energy[f]),
                    forces[np.flatnonzero(batch.frame == f)][original],
                    virial[f],
                )
        return summarise(self.frames, [found[i] for i in range(len(self.frames))])


def summarise(
    frames: Sequence[PreparedFrame], found: Sequence[tuple[float, Array, Array]]
) -> Metrics:
    """Compare predictions (energy above E0, forces, virial) with the labels of each frame."""
    energies, forces, virials, species, worst = [], [], [], [], []
    for item, (energy, force, virial) in zip(frames, found, strict=True):
        labels, n = item.frame.labels, len(item.order)
        summary: dict[str, Any] = {"frame": item.frame.source, "atoms": n}
        if labels.energy is not None:
            pair = (labels.energy / n, (energy + item.reference) / n)
            energies.append(pair)
            summary["energy_error_mev_per_atom"] = 1e3 * (pair[1] - pair[0])
        if labels.forces is not None:
            forces.append(np.stack([labels.forces, force]))
            species.append(item.frame.system.species)
            summary["force_rmse_mev_per_A"] = 1e3 * rms(force - labels.forces)
        if labels.virial is not None:
            virials.append((labels.virial / n, virial / n))
        worst.append(summary)
    worst.sort(
        key=lambda s: -s.get("force_rmse_mev_per_A", abs(s.get("energy_error_mev_per_atom", 0)))
    )
    parity = Parity(
        np.array(energies).reshape(-1, 2).T,
        np.concatenate(forces, axis=1) if forces else np.zeros((2, 0, 3)),
        np.moveaxis(np.array(virials).reshape(-1, 2, 3, 3), 0, 1),
        np.concatenate(species) if species else np.zeros(0, int),
    )
    return _metrics(frames, parity, worst[:WORST])


def _metrics(
    frames: Sequence[PreparedFrame], parity: Parity, worst: list[dict[str, Any]]
) -> Metrics:
    energy, forces, virial = (
        1e3 * (x[1] - x[0]) for x in (parity.energy, parity.forces, parity.virial)
    )
    by_element = {
        chemical_symbols[z]: rms(forces[parity.force_species == z])
        for z in np.unique(parity.force_species)
    }
    return Metrics(
        frames=len(frames),
        atoms=sum(len(f.order) for f in frames),
        energy_rmse_mev_per_atom=rms(energy) if energy.size else None,
        energy_mae_mev_per_atom=float(np.abs(energy).mean()) if energy.size else None,
        force_rmse_mev_per_A=rms(forces) if forces.size else None,
        force_mae_mev_per_A=float(np.abs(forces).mean()) if forces.size else None,
        virial_rmse_mev_per_atom=rms(virial) if virial.size else None,
        force_rmse_by_element_mev_per_A=by_element,
        worst_frames=worst,
        parity=parity,
    )


def rms(values: Array) -> float:
    """Root mean square of all values."""
    return float(np.sqrt(np.mean(np.square(values))))


def evaluate(model: Model, dataset: Dataset) -> Metrics:
    """Errors of a model on a data set.

    Parameters
    ----------
    model : Model
    dataset : Dataset
        Frames with any labels; at least one.

    Returns
    -------
    Metrics

    Raises
    ------
    ValueError
        If the data set is empty or has an element the model does not know.
    """
    if not len(dataset):
        raise ValueError("the data set has no frames to test on")
    config = exact(model.config)
    prepared = prepare(dataset, model.elements, model.e0, config)
    return Evaluator(prepared)(model.params, config)
