"""Energies, forces and virials of a batch, and the loss on those labels that are present."""

from __future__ import annotations

from typing import Any, NamedTuple

from huozi.arrays import jax, jnp
from huozi.neighbors import Neighbors, forces_from_pairs
from huozi.potential.architectures import Params, batch_gradient
from huozi.potential.batch import Batch


class Prediction(NamedTuple):
    """Energies (F,) above E0 in eV, forces (A, 3) in eV/Å, virials (F, 3, 3) in eV or None."""

    energy: Any
    forces: Any
    virial: Any


class Weights(NamedTuple):
    """Prefactors of the loss: energy and virial per eV^2/atom, forces per (eV/Å)^2."""

    energy: Any
    forces: Any
    virial: Any


def predict(
    params: Params, config: Any, segments: tuple[int, ...], batch: Batch, noise: Any = None
) -> Prediction:
    """Evaluate a batch, with `noise` (A, D) on the descriptors if given."""
    frames = batch.atoms.shape[0]

    energies, pairs = batch_gradient(params, config, segments, batch, noise)
    table = Neighbors(batch.index, None, batch.reverse, batch.species >= 0)

    def by_frame(rows: Any) -> Any:
        return jax.ops.segment_sum(rows, batch.frame, frames + 1)[:frames]

    virial = None
    if batch.virial is not None:
        virial = by_frame(-jnp.einsum("nmi,nmj->nij", batch.vectors, pairs))
    return Prediction(by_frame(energies), forces_from_pairs(pairs, table), virial)


def loss(
    params: Params,
    config: Any,
    segments: tuple[int, ...],
    weights: Weights,
    batch: Batch,
    noise: Any = None,
    axis: str | None = None,
) -> Any:
    """Weighted mean squares: energy and virial errors squared per atom, forces per component.

    The energy term is dE^2 / N, as in Zhang et al., Phys. Rev. Lett. 120, 143001 (2018), so that
    the energies of large frames, whose errors add up, count no more than those of small ones.
    Of a batch that the devices of `axis` share, a device finds its part of the sum.
    """
    found = predict(params, config, segments, batch, noise)
    energy = batch.energy_weight * (found.energy - batch.energy) ** 2 / batch.atoms
    forces = batch.force_weight[:, None] * (found.forces - batch.forces) ** 2

    def mean(values: Any, weight: Any) -> Any:
        per_label = values.size // weight.size
        count = jnp.sum(weight)
        if axis is not None:
            count = jax.lax.psum(count, axis)
        return jnp.sum(values) / (jnp.maximum(count, 1) * per_label)

    total = weights.energy * mean(energy, batch.energy_weight)
    total += weights.forces * mean(forces, batch.force_weight)
    if batch.virial is not None:
        virial = batch.virial_weight[:, None, None] * (found.virial - batch.virial) ** 2
        virial = virial / batch.atoms[:, None, None]
        total += weights.virial * mean(virial, batch.virial_weight)
    return total
