"""One training step: gradient of the loss, Muon update, running average of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import optax

from huozi.arrays import AXIS, jax, jnp
from huozi.potential.architectures import Params
from huozi.potential.batch import Batch, PreparedFrame
from huozi.potential.deeppot_training import deeppot_scaling
from huozi.potential.loss import Weights, loss
from huozi.potential.moment import MomentConfig, descriptors, whitening_matrices
from huozi.potential.muon import scale_by_muon
from huozi.potential.parallel import summed_over_devices
from huozi.potential.settings import TrainConfig
from huozi.systems import is_isolated

SAMPLE_ROWS = 4096
SPREAD_FLOOR = 1e-3
SAME_DISTANCE = 1e-4
"""Å; distances that differ by less are those of one structure."""
WARM_UP = 0.01
FULL_NOISE = 25_000
LEAST_ENERGY_WEIGHT, LARGEST_ENERGY_WEIGHT = 0.02, 20.0


class Schedule(NamedTuple):
    """What changes from step to step.

    Number of the step, learning rate, prefactors of the loss, noise on the descriptors in their
    deviations, memory of the average.
    """

    step: Any
    learning_rate: Any
    weights: Weights
    noise: Any
    memory: Any


class Learner(NamedTuple):
    """What a step updates: trained parameters, their running average, the optimiser's state."""

    raw: Params
    averaged: Params
    optimizer: Any


Step = Callable[[Learner, Batch, Schedule], tuple[Learner, Any]]


def energy_weight_from_data(frames: Sequence[PreparedFrame]) -> tuple[float, float]:
    """Energy prefactor of the loss at start and end, from the spread of the energies.

    Frames of one trajectory differ little in energy, and their forces say nearly all that there
    is to learn; a weight on the energies mostly adds noise to the gradient. Frames of several
    phases or strains differ by far more than what their forces tell. What separates the two is
    ``mean N (e - mean e)^2 / mean F^2``, with e the energy per atom: 0.003 for liquid water, 2 to
    8 for crystals of many kinds. The prefactor at the end is five times that, within bounds; see
    docs/decisions/006-energy-weight.md.
    """
    energies = [
        (len(f.order), (f.frame.labels.energy - f.reference) / len(f.order))
        for f in frames
        if f.frame.labels.energy is not None and not is_isolated(f.frame)
    ]
    forces = [f.frame.labels.forces for f in frames if f.frame.labels.forces is not None]
    end = LARGEST_ENERGY_WEIGHT
    if energies and forces:
        atoms, per_atom = np.array(energies).T
        spread = float(np.mean(atoms * (per_atom - per_atom.mean()) ** 2))
        square = float(sum((f**2).sum() for f in forces) / sum(f.size for f in forces))
        ratio = spread / square if square > 0 else math.inf
        end = min(max(5 * ratio, LEAST_ENERGY_WEIGHT), LARGEST_ENERGY_WEIGHT)
    return 1e-3 * end, end


def noise_from_data(frames: Sequence[PreparedFrame]) -> float:
    """Noise on the descriptors at the start, in their own deviations, from the number of labels.

    What a prior weighs beside the data goes with one over their number, and so does the square of
    the noise: it is 1 up to FULL_NOISE components of forces, and less with more; see
    docs/decisions/014-noise.md.
    """
    forces = (f.frame.labels.forces for f in frames)
    components = sum(f.size for f in forces if f is not None)
    return min(1.0, math.sqrt(FULL_NOISE / max(components, 1)))


def descriptor_noise(config: TrainConfig, frames: Sequence[PreparedFrame]) -> float:
    """Noise at the start: as given, or from the data; none behind a trunk, or without moments."""
    if config.trunk is not None or not isinstance(config.architecture, MomentConfig):
        return 0.0
    given = config.descriptor_noise
    return noise_from_data(frames) if given is None else given


def schedule_at(
    config: TrainConfig,
    energy_weight: tuple[float, float],
    noise: float,
    done: float,
    pace: float,
    step: int,
) -> Schedule:
    """Schedule at a completed part `done` (0 to 1) of a run that a step advances by `pace`.

    The learning rate warms up over the first hundredth of the run and falls as half a cosine;
    the noise falls as its square root, a quarter of a cosine; the prefactors of energy and virial
    grow geometrically.
    """
    rate = config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
    rate *= min(1.0, 0.1 + 0.9 * done / WARM_UP)

    def grown(ends: tuple[float, float]) -> np.float32:
        start, end = ends
        if min(ends) <= 0:
            return np.float32(start + (end - start) * done)
        return np.float32(start * (end / start) ** done)

    weights = Weights(
        grown(energy_weight), np.float32(config.force_weight), grown(config.virial_weight)
    )
    memory = math.exp(-pace / config.ema) if config.ema else 0.0
    memory = min(memory, (1 + step) / (10 + step))
    noise *= math.cos(0.5 * math.pi * done)
    return Schedule(
        np.int32(step), np.float32(rate), weights, np.float32(noise), np.float32(memory)
    )


def make_optimizer(config: TrainConfig) -> optax.GradientTransformation:
    """Muon with weight decay for the network's matrices, Adam for all else.

    Muon reaches here in a quarter of the steps what Adam reaches, and decoupled weight decay
    closes half of the gap between training and held-out errors that this opens. The wide first
    matrices of DeepPot-SE would cost more than the rest of a step; it has Adam alone. The learning
    rate is applied by `make_step`, so that it may follow the wall time.
    """
    muon = isinstance(config.architecture, MomentConfig)

    def kinds(params: Params) -> Any:
        return jax.tree.map(lambda x: "matrix" if muon and x.ndim == 3 else "vector", params)

    matrix = optax.chain(
        scale_by_muon(), optax.add_decayed_weights(config.weight_decay), optax.scale(-1.0)
    )
    vector = optax.chain(optax.scale_by_adam(b2=0.99), optax.scale(-1.0))
    return optax.chain(
        optax.clip_by_global_norm(config.clip),
        optax.partition({"matrix": matrix, "vector": vector}, kinds),
    )


def make_step(
    config: TrainConfig,
    fold: Callable[[Params], Params],
    deviation: Any,
    optimizer: optax.GradientTransformation,
    segments: tuple[int, ...],
    mesh: Any = None,
) -> Step:
    """Compile the training step for batches with `segments` rows of each element.

    `fold` makes a model's parameters of the trained ones. `deviation` (Z, D) of the descriptors is
    the scale of their noise; None trains without. With the `mesh` of several devices, for as many
    such batches, which together are one.
    """
    axis = None if mesh is None else AXIS

    def objective(raw: Params, batch: Batch, schedule: Schedule) -> Any:
        params, noise = fold(raw), None
        if deviation is not None:
            unit = unit_noise(config.seed, schedule.step, deviation, segments, axis)
            noise = schedule.noise * unit
        return loss(params, config.architecture, segments, schedule.weights, batch, noise, axis)

    gradient_of = summed_over_devices(jax.value_and_grad(objective), mesh)

    def step(learner: Learner, batch: Batch, schedule: Schedule) -> tuple[Learner, Any]:
        value, gradient = gradient_of(learner.raw, batch, schedule)
        updates, state = optimizer.update(gradient, learner.optimizer, learner.raw)
        updates = jax.tree.map(lambda u: schedule.learning_rate * u, updates)
        raw = optax.apply_updates(learner.raw, updates)
        averaged = jax.tree.map(
            lambda old, new: schedule.memory * old + (1 - schedule.memory) * new,
            learner.averaged,
            raw,
        )
        return Learner(raw, averaged, state), value

    return jax.jit(step, donate_argnums=0)


def unit_noise(
    seed: int, step: Any, deviation: Any, segments: tuple[int, ...], axis: str | None = None
) -> Any:
    """Noise (A, D) of the descriptors' own deviation for the atoms of a step, another per device.

    Uniform, eight random bits a value: normal deviates would cost more than the network. Averaged
    over the steps, noise penalises the curvature of the network (Bishop, Neural Comput. 7, 108
    (1995)).
    """
    key = jax.random.fold_in(jax.random.key(seed), step)
    if axis is not None:
        key = jax.random.fold_in(key, jax.lax.axis_index(axis))
    scale = jnp.repeat(deviation, np.array(segments), axis=0)
    rows, size = scale.shape
    words = jax.random.bits(key, (rows, -(-size // 4)), jnp.uint32)
    levels = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(rows, -1)[:, :size]
    return scale * (levels.astype(jnp.float32) - 127.5) / math.sqrt((256**2 - 1) / 12)


def scaling_from_data(
    raw: Params, frames: Sequence[PreparedFrame], config: TrainConfig, elements: int
) -> Params:
    """Whitening of the moments, standardisation of the descriptors, and scale of the energies.

    Parameters
    ----------
    raw : dict
        Initial parameters, from `huozi.potential.moment.init`.
    frames : sequence of PreparedFrame
        Training frames; about 4,096 atoms of each element are looked at.
    config : TrainConfig
    elements : int
        Number of elements Z.

    Returns
    -------
    dict
        For `huozi.potential.moment.fold`.

    Raises
    ------
    ValueError
        If all atoms of each element have the same surroundings.
    """
    _refuse_equal_surroundings(frames, elements)
    architecture = config.architecture
    if not isinstance(architecture, MomentConfig):
        return deeppot_scaling(raw, frames, architecture, _energy_scales(frames, elements))
    samples = [_sample_moments(frames, element) for element in range(elements)]
    whitening = jnp.asarray(whitening_matrices(samples, architecture.degree), jnp.float32)
    mean, deviation = [], []
    for element, rows in enumerate(samples):
        mix = whitening[element] @ raw["mix"][element]
        values = np.asarray(descriptors(mix, jnp.asarray(rows), architecture), np.float64)
        spread = values.std(0)
        mean.append(values.mean(0))
        deviation.append(spread + SPREAD_FLOOR * max(float(spread.max()), 1e-3))
    return {
        "whitening": whitening,
        "mean": jnp.asarray(np.array(mean), jnp.float32),
        "deviation": jnp.asarray(np.array(deviation), jnp.float32),
        "energy": jnp.asarray(_energy_scales(frames, elements), jnp.float32),
    }


def _refuse_equal_surroundings(frames: Sequence[PreparedFrame], elements: int) -> None:
    """Raise if neighbours of every atom of an element are at the same distances, as in a crystal.

    Nothing then says how the energy changes, and the scales of the descriptors are rounding errors.
    """
    width = max(f.vectors.shape[1] for f in frames)
    first: dict[int, np.ndarray] = {}
    for f in frames:
        distances = np.where(f.species < 0, 0, np.linalg.norm(f.vectors, axis=-1))
        rows = np.sort(np.pad(distances, ((0, 0), (width - distances.shape[1], 0))), axis=1)
        for element, part in enumerate(np.split(rows, np.cumsum(f.counts)[:-1])):
            for row in part:
                if np.abs(row - first.setdefault(element, row)).max(initial=0) > SAME_DISTANCE:
                    return
    if width > 0:
        raise ValueError(
            "in the training data all atoms of an element have the same surroundings, so nothing "
            "says how energies and forces change; add frames that are distorted or strained"
        )


def _sample_moments(frames: Sequence[PreparedFrame], element: int) -> np.ndarray:
    """Moments of about SAMPLE_ROWS atoms of an element, spread over the frames."""
    holders = [f for f in frames if f.counts[element]]
    stride = max(1, sum(int(f.counts[element]) for f in holders) // SAMPLE_ROWS)
    rows = []
    for f in holders[::stride]:
        start = int(f.counts[:element].sum())
        rows.append(f.moments[start : start + f.counts[element]])
    return np.concatenate(rows)


def _energy_scales(frames: Sequence[PreparedFrame], elements: int) -> np.ndarray:
    """Typical energy of an atom's surroundings: the rms force on the element times 1 Å."""
    squares, counts = np.zeros(elements), np.zeros(elements)
    for f in frames:
        if f.frame.labels.forces is None:
            continue
        of_row = np.repeat(np.arange(elements), f.counts)
        square = (f.frame.labels.forces[f.order] ** 2).mean(1)
        squares += np.bincount(of_row, square, elements)
        counts += f.counts
    scales = np.sqrt(squares / np.maximum(counts, 1))
    return np.where(scales > 1e-3, scales, 1.0)
