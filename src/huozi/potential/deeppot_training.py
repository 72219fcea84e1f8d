"""What training needs of DeepPot-SE and DPA-1 beyond their equations: start and scaling."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from huozi.arrays import jax, jnp
from huozi.neighbors import build_neighbors, displacements
from huozi.potential import deeppot
from huozi.potential.deeppot_settings import DeepPotConfig, Neighbourhood
from huozi.potential.environment import switch

Params = dict[str, Any]
MARGIN = 0.9  # of the shortest distance of the data, where the expansion ends
SPREAD_FLOOR = 1e-3
SAMPLE_ROWS = 4096
BLOCK = 256
STATISTICS = ("mean", "deviation")


def init(key: Any, config: DeepPotConfig, elements: int) -> Params:
    """Random parameters to be trained: `huozi.potential.deeppot.init` without statistics."""
    made = deeppot.init(key, config, elements)
    made["descriptors"] = [
        {name: value for name, value in part.items() if name not in STATISTICS}
        for part in made["descriptors"]
    ]
    return made


def fold(raw: Params, config: DeepPotConfig, scaling: Params) -> Params:
    """Absorb the standardisation of descriptors and energies into the weights.

    Parameters
    ----------
    raw : dict
        From `init`.
    config : DeepPotConfig
    scaling : dict
        ``environment``: a list of ``deviation`` (Z, 2) of each descriptor; ``mean`` and
        ``deviation`` (Z or 1, D) of the descriptors; ``energy`` (Z or 1,) eV.
    """
    first, *rest = raw["layers"]
    weight = first["weight"] / scaling["deviation"][:, :, None]
    bias = first["bias"] - jnp.einsum("zd,zdh->zh", scaling["mean"], weight)
    descriptors = [
        part | {"mean": jnp.zeros(len(deviation), deviation.dtype), "deviation": deviation}
        for part, deviation in zip(raw["descriptors"], scaling["environment"], strict=True)
    ]
    return {
        "descriptors": descriptors,
        "layers": [first | {"weight": weight, "bias": bias}, *rest],
        "readout": raw["readout"] * scaling["energy"][:, None],
    }


def environment_deviation(
    part: Neighbourhood, vectors: list[np.ndarray], species: list[np.ndarray]
) -> np.ndarray:
    """Root mean squares (2,) of s and of one of its angular columns over neighbours, 1/Å."""
    total, count = 0.0, 0
    for v, kinds in zip(vectors, species, strict=True):
        distance = np.linalg.norm(v[kinds >= 0].astype(float), axis=-1)
        distance = distance[distance < part.cutoff]
        s = np.asarray(switch(distance, part.onset, part.cutoff)) / (distance + part.protection)
        total, count = total + float((s**2).sum()), count + len(s)
    rms = max(np.sqrt(total / max(count, 1)), 1e-3)
    return np.array([rms, rms / np.sqrt(3)])


def deeppot_scaling(
    raw: Params, frames: Sequence[Any], config: DeepPotConfig, energies: np.ndarray
) -> Params:
    """Deviation of the environment, standardisation of the descriptors, scale of the energies.

    Parameters
    ----------
    raw : dict
        From `init`.
    frames : sequence of huozi.potential.batch.PreparedFrame
        Training frames; about 4,096 atoms of each element are looked at.
    config : DeepPotConfig
    energies : (Z,) array
        Energy scale of each element, eV.

    Returns
    -------
    dict
        For `fold`.
    """
    elements = len(energies)
    dtype = raw["readout"].dtype
    rows = [_sample(frames, element) for element in range(elements)]
    environment = [
        jnp.asarray([environment_deviation(part, [v], [s]) for v, s in rows], dtype)
        for part in config.descriptors
    ]
    made = [
        part | {"mean": jnp.zeros(elements, dtype), "deviation": deviation}
        for part, deviation in zip(raw["descriptors"], environment, strict=True)
    ]
    values = [_descriptors(made, config, element, *rows[element]) for element in range(elements)]
    if config.shared:
        values, energies = [np.concatenate(values)], np.array([energies.mean()])
    spread = np.array([v.std(0) for v in values])
    floor = SPREAD_FLOOR * np.maximum(spread.max(1, keepdims=True), 1e-3)
    return {
        "environment": environment,
        "mean": jnp.asarray([v.mean(0) for v in values], dtype),
        "deviation": jnp.asarray(spread + floor, dtype),
        "energy": jnp.asarray(energies, dtype),
    }


def _descriptors(
    made: list[Params], config: DeepPotConfig, element: int, vectors: Any, species: Any
) -> np.ndarray:
    """Descriptors of sampled atoms, by blocks of one compiled shape."""
    function = jax.jit(
        lambda v, s: deeppot.descriptors({"descriptors": made}, config, element, v, s)
    )
    found = []
    for start in range(0, len(vectors), BLOCK):
        v, s = vectors[start : start + BLOCK], species[start : start + BLOCK]
        pad = BLOCK - len(v)
        v = np.pad(v, ((0, pad), (0, 0), (0, 0)))
        s = np.pad(s, ((0, pad), (0, 0)), constant_values=-1)
        found.append(np.asarray(function(v, s), np.float64)[: BLOCK - pad])
    return np.concatenate(found)


def _sample(frames: Sequence[Any], element: int) -> tuple[np.ndarray, np.ndarray]:
    """Displacements and species around about SAMPLE_ROWS atoms of an element."""
    holders = [f for f in frames if f.counts[element]]
    stride = max(1, sum(int(f.counts[element]) for f in holders) // SAMPLE_ROWS)
    width = max(f.vectors.shape[1] for f in holders)
    vectors, species = [], []
    for f in holders[::stride]:
        start = int(f.counts[:element].sum())
        own = slice(start, start + int(f.counts[element]))
        pad = width - f.vectors.shape[1]
        vectors.append(np.pad(f.vectors[own], ((0, 0), (0, pad), (0, 0))))
        species.append(np.pad(f.species[own], ((0, 0), (0, pad)), constant_values=-1))
    return np.concatenate(vectors), np.concatenate(species)


def fit_expansion(config: DeepPotConfig, dataset: Iterable[Any]) -> DeepPotConfig:
    """Let the expansion of the embedding begin a little below the shortest distance of the data."""
    shortest = config.closest / MARGIN
    distances = [_shortest(frame.system, config.cutoff) for frame in dataset]
    if distances:
        shortest = min(distances)
    return config.model_copy(update={"closest": round(MARGIN * shortest, 4)})


def _shortest(system: Any, cutoff: float) -> float:
    table = build_neighbors(system.positions, system.cell, system.pbc, cutoff)
    vectors = np.asarray(displacements(system.positions, system.cell, table))
    lengths = np.linalg.norm(vectors, axis=-1)[np.asarray(table.mask)]
    return float(lengths.min(initial=cutoff))
