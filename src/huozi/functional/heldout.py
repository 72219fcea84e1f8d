"""Frames that a fit is judged by, and when one model is better than another on them.

The loss of the training frames falls with every iteration; it says nothing of other molecules. A
functional is used on larger molecules than it was trained with, and further from equilibrium.
So these are held out in turn: the largest molecules, and of every composition the fifth that lies
highest in energy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from huozi.functional.data import Reference
from huozi.functional.projection import Array


def folds(frames: Sequence[Reference]) -> list[Array]:
    """Return indices of the frames to hold out: none, one or two arrays.

    A fold is left out if it is empty or the other frames lack one of its elements.
    """
    sizes = np.array([len(f.numbers) for f in frames])
    energies = np.array([f.energy for f in frames])
    compositions: dict[object, list[int]] = {}
    for i, f in enumerate(frames):
        compositions.setdefault((*sorted(f.numbers), f.charge, f.spin), []).append(i)
    highest: list[int] = []
    for members in compositions.values():
        count = len(members) // 5
        highest += sorted(members, key=lambda i: energies[i])[len(members) - count :]
    wanted = [np.flatnonzero(sizes == sizes.max()), np.array(sorted(highest), int)]
    return [fold for fold in wanted if len(fold) and _learnable(frames, fold)]


def _learnable(frames: Sequence[Reference], fold: Array) -> bool:
    out = set(fold.tolist())
    known = {z for i, f in enumerate(frames) if i not in out for z in f.numbers.tolist()}
    return known == {z for f in frames for z in f.numbers.tolist()}


def clearly_better(new: Array, old: Array) -> bool:
    """Whether squared errors fall by more than the standard error of their mean difference.

    Both are errors (n,) of the same frames, infinite where a field did not converge. Without
    frames (n = 0) nothing speaks against the new model.
    """
    if not len(new):
        return True
    if not np.isfinite(new).all():
        return False
    if not np.isfinite(old).all():
        return True
    gain = old**2 - new**2
    return bool(gain.mean() > gain.std() / np.sqrt(len(gain)))
