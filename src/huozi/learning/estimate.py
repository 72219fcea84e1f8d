"""What a run may cost, before it is begun: bounds from its settings and one measured label."""

from __future__ import annotations

import sys
import time
from contextlib import redirect_stdout
from typing import Any

import numpy as np

from huozi.labels import Labeller, make_labeller
from huozi.learning.explore import states
from huozi.learning.generate import random_boxes
from huozi.learning.settings import LearnSettings
from huozi.systems import Frame, read

MICROSECONDS = 6.0
"""Energy and forces of one atom on one core with the compiled kernel (docs/handbook.md)."""


def estimate(settings: LearnSettings, measure: bool = True) -> dict[str, Any]:
    """Largest number of labels and their cost, length of the walks, time of the training.

    Parameters
    ----------
    settings : LearnSettings
    measure : bool
        Label the first structure, to see how long that takes.

    Raises
    ------
    ImportError, ValueError
        If the engine is missing, or the first structure cannot be labelled.
    """
    frames = list(read(settings.structures)) if settings.structures else []
    for number, boxes in enumerate(settings.boxes):
        frames += random_boxes(boxes, np.random.default_rng([settings.seed, 100 + number]))
    labeller = make_labeller(settings.level)
    seconds = None
    if measure:
        started = time.perf_counter()
        _label(labeller, frames[0])
        seconds = time.perf_counter() - started
    explore, rounds = settings.explore, settings.iterations
    each = settings.select.batch * (2 if settings.random_control else 1) + settings.control
    labels = settings.initial + rounds * each
    if settings.isolated_atoms:
        labels += len({number for frame in frames for number in frame.system.species})
    walkers = len(frames) * len(states(explore))
    lengths = [explore.picoseconds[min(i, len(explore.picoseconds) - 1)] for i in range(rounds)]
    steps = 1000 * sum(lengths) / explore.timestep * walkers
    atoms = float(np.mean([len(frame) for frame in frames]))
    trainings = rounds * (settings.models + (1 if settings.random_control else 0))
    final = settings.final or settings.train
    unknown = bool(settings.train.steps or final.steps)
    training = None if unknown else settings.train.budget * trainings + final.budget
    exploration = steps * atoms * MICROSECONDS * 1e-6
    parts = {
        "labels": None if seconds is None else seconds * labels,
        "training": training,
        "exploration": exploration,
    }
    # The label was timed with all cores, of which a worker has its share.
    wall = (seconds or 0) * labels + exploration / settings.workers
    if training is not None:
        # Members train side by side, but in whole rounds; the model of random frames, and the final
        # one, alone.
        in_turn = -(-settings.models // settings.workers) + bool(settings.random_control)
        wall += rounds * in_turn * settings.train.budget + final.budget
    return {
        "structures": len(frames),
        "atoms": atoms,
        "labels_at_most": labels,
        "seconds_a_label": seconds,
        "walkers": walkers,
        "steps_at_most": round(steps),
        "trainings_at_most": trainings + 1,
        "seconds_at_most": parts,
        "wall_hours_at_most": wall / 3600,
        "code": labeller.code,
    }


def _label(labeller: Labeller, frame: Frame) -> None:
    """Label once; what the engine writes goes to standard error, what it raises is one line."""
    try:
        with redirect_stdout(sys.stderr):
            labeller.label(frame.to_atoms())
    except (ImportError, ValueError):
        raise
    except Exception as error:
        raise ValueError(
            f"the first structure cannot be labelled: {type(error).__name__}: {error}"
        ) from error
