"""What the deviation of an ensemble is worth: compared with real errors on labelled frames."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from huozi.neighbors import force_deviation
from huozi.potential.ensemble import Ensemble
from huozi.potential.metrics import Metrics, evaluate, rms
from huozi.systems import Dataset

Array = NDArray[Any]
BINS = 10


@dataclass(frozen=True)
class Bin:
    """Atoms whose forces have about the same deviation.

    Parameters
    ----------
    atoms : int
    deviation_mev_per_A, error_mev_per_A : float
        Root mean squares, over these atoms, of the deviation and of the first model's error.
    """

    atoms: int
    deviation_mev_per_A: float
    error_mev_per_A: float


@dataclass(frozen=True)
class Calibration:
    """Deviation of the forces against their real error.

    The error of an atom is |F - F_label| of the first model, which moves the atoms; its deviation
    is sqrt(<|F - <F>|^2>) over the members. Independent errors of M members have the scale
    sqrt(M / (M - 1)); what they have in common, and the noise of the labels, makes it larger.

    Parameters
    ----------
    members, atoms : int
    deviation_mev_per_A : float
        Mean deviation over all atoms.
    error_mev_per_A : float
        Root mean square of the error (a vector's length, not a component).
    scale, scale_error : float
        Factor between the root mean squares of deviation and error, and its standard error, by
        leaving out one frame at a time (not a number for a single frame). The scaled deviation
        is the error to be expected over all atoms; `bins` say how well it holds for few.
    bins : list of Bin
        The calibration curve: up to ten groups of as many atoms each, by rising deviation.
    """

    members: int
    atoms: int
    deviation_mev_per_A: float
    error_mev_per_A: float
    scale: float
    scale_error: float
    bins: list[Bin]

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON; what is not a number becomes None."""
        found = asdict(self)
        for name in ("scale", "scale_error"):
            found[name] = found[name] if np.isfinite(found[name]) else None
        return found


def calibrate(ensemble: Ensemble, dataset: Dataset) -> tuple[Metrics, Calibration]:
    """Errors of the first model, and what the deviation of all says of them.

    Parameters
    ----------
    ensemble : Ensemble
        Two models or more.
    dataset : Dataset
        Frames that none of the models was trained on, of which at least one has forces.

    Returns
    -------
    Metrics, Calibration

    Raises
    ------
    ValueError
        If the ensemble has one member, or no frame has forces.
    """
    if len(ensemble.members) < 2:
        raise ValueError("the deviation needs two models or more; `huozi ensemble` joins them")
    metrics, *others = [evaluate(member, dataset) for member in ensemble.members]
    reference, first = metrics.parity.forces
    if not len(reference):
        raise ValueError("no frame has forces to compare the deviation with")
    forces = np.array([first, *(m.parity.forces[1] for m in others)])
    counts = [len(f.system) for f in dataset if f.labels.forces is not None]
    error = np.linalg.norm(first - reference, axis=1)
    return metrics, _calibration(len(forces), force_deviation(forces), error, counts)


def _calibration(members: int, deviation: Array, error: Array, counts: list[int]) -> Calibration:
    scale, scale_error = fit_scale(deviation, error, counts)
    deviation, error = 1e3 * deviation, 1e3 * error
    groups = np.array_split(np.argsort(deviation, kind="stable"), min(BINS, len(deviation)))
    bins = [Bin(len(g), rms(deviation[g]), rms(error[g])) for g in groups]
    mean = float(deviation.mean())
    return Calibration(members, len(error), mean, rms(error), scale, scale_error, bins)


def fit_scale(deviation: Array, error: Array, counts: list[int]) -> tuple[float, float]:
    """Ratio of the root mean squares of error and deviation, and its standard error.

    Parameters
    ----------
    deviation, error : (n,) arrays
        eV/Å.
    counts : list of int
        Atoms of each frame, in this order; atoms of one frame are not independent.

    Source: the jackknife; Efron & Tibshirani, An Introduction to the Bootstrap, chapter 11.
    """
    starts = np.cumsum([0, *counts[:-1]])
    squares = np.stack([np.add.reduceat(x**2, starts) for x in (error, deviation)])
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.sqrt(np.divide(*squares.sum(axis=1)))
        without = np.sqrt(np.divide(*(squares.sum(axis=1, keepdims=True) - squares)))
    frames = len(counts)
    if frames < 2:
        return float(scale), float("nan")
    spread = np.sum((without - without.mean()) ** 2)
    return float(scale), float(np.sqrt((frames - 1) / frames * spread))
