"""What a training starts from: labels that can be learned, held-out frames, prepared data."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from ase.data import atomic_numbers

from huozi.potential.batch import PreparedFrame, prepare
from huozi.potential.deeppot_settings import DeepPotConfig
from huozi.potential.deeppot_training import fit_expansion
from huozi.potential.metrics import Evaluator
from huozi.potential.model import Model
from huozi.potential.settings import TrainConfig
from huozi.systems import Dataset, Split, data_digest, fit_e0, is_isolated, split


@dataclass(frozen=True)
class Problem:
    """Prepared data: elements and their energies, training frames, validation.

    Parameters
    ----------
    elements : tuple of int
        Atomic numbers.
    e0 : tuple of float
        eV.
    frames : list of PreparedFrame
    evaluator : Evaluator
        Holds the validation frames.
    digest : str
        Of the training data.
    """

    elements: tuple[int, ...]
    e0: tuple[float, ...]
    frames: list[PreparedFrame]
    evaluator: Evaluator
    digest: str


def check_labels(dataset: Dataset) -> None:
    """Raise ValueError unless there is something to learn from."""
    if not len(dataset):
        raise ValueError("the data set has no frames to train on")
    if all(f.labels.energy is None and f.labels.forces is None for f in dataset):
        raise ValueError("no frame of the data set has an energy or forces to train on")


def hold_out(dataset: Dataset, config: TrainConfig) -> Split:
    """Split off random validation frames, the same ones for the same seed.

    Isolated atoms, which tell the energies of the elements, and the last frame with an element are
    needed in training.
    """
    n = len(dataset)
    if n < 2:
        raise ValueError("a single frame leaves none for validation; give validation data")
    count = min(max(1, round(n * config.valid_fraction)), n - 1)
    parts = split(dataset, counts=(n - count, count), seed=config.seed)
    holds = dataset.count_matrix() > 0
    lonely = np.array([is_isolated(frame) for frame in dataset])
    left = holds[~lonely].sum(axis=0)
    held: list[int] = []
    others = np.random.default_rng(config.seed).permutation(parts.indices["train"])
    for i in map(int, (*parts.indices["valid"], *others)):
        if len(held) < count and not lonely[i] and (left[holds[i]] > 1).all():
            held.append(i)
            left = left - holds[i]
    if not held:
        raise ValueError(
            "every frame is needed for training, as an isolated atom or the only frame with an "
            "element; give validation data"
        )
    train = tuple(sorted(set(range(n)) - set(held)))
    return replace(parts, indices={"train": train, "valid": tuple(sorted(held)), "test": ()})


def fit_architecture(
    config: TrainConfig, dataset: Dataset, valid: Dataset, trunk: Model | None
) -> TrainConfig:
    """Complete settings of the architecture that depend on the data, or on the trunk."""
    architecture = config.architecture if trunk is None else trunk.config
    if isinstance(architecture, DeepPotConfig):
        architecture = fit_expansion(architecture, [*dataset, *valid])
    return config.model_copy(update={"architecture": architecture})


def check_trunk(trunk: Model, config: TrainConfig, dataset: Dataset) -> None:
    """Raise ValueError unless a model can lend its trunk to a training with these data."""
    if len(trunk.config.hidden) < 2:
        raise ValueError(f"trunk {config.trunk}: has one hidden layer, so all of it is trained")
    if set(trunk.elements) != set(dataset.elements):
        raise ValueError(
            f"trunk {config.trunk}: knows {' '.join(trunk.symbols)}, the training data hold "
            f"{' '.join(dataset.symbols)}; they must have the same elements"
        )
    if "architecture" in config.model_fields_set and config.architecture != trunk.config:
        raise ValueError(
            f"trunk {config.trunk}: its architecture is not that of the settings; leave out theirs"
        )


def prepare_problem(
    dataset: Dataset, valid: Dataset, config: TrainConfig, trunk: Model | None = None
) -> Problem:
    """Fit E0 and compute neighbours and moments of all frames; elements are in a trunk's order."""
    given = {}
    for symbol, value in (config.e0 or {}).items():
        if symbol not in atomic_numbers:
            raise ValueError(f"e0: {symbol!r} is not a chemical symbol")
        given[atomic_numbers[symbol]] = value
    elements = dataset.elements if trunk is None else trunk.elements
    if any(f.labels.energy is not None for f in dataset):
        energies = fit_e0(dataset, given)
    else:
        energies = dict.fromkeys(elements, 0.0) | given
    e0 = tuple(float(energies[z]) for z in elements)
    return Problem(
        elements,
        e0,
        prepare(dataset, elements, e0, config.architecture),
        Evaluator(prepare(valid, elements, e0, config.architecture)),
        data_digest(dataset),
    )
