"""How energies, forces and virials compare: measured ratios, one for each pair of labels.

Along a trajectory with small steps, energy differences must equal minus force times step, and
minus virial times strain where the cell changes: that is exact. Where frames are too far apart,
a pair potential fitted to the forces predicts energies and virials well enough to see a wrong
sign or a wrong factor of ten and more (measured on water, Li, Mo, Si, Ge: ratios 0.7 to 3.7).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from huozi.systems.frame import Array, Frame
from huozi.systems.pairfit import PairModel

_MAX_STEP, _MAX_STRAIN = 0.15, 0.05  # Å rms, none: where the trapezoidal rule is still good
_SAMPLE = 200  # frames are enough for a statistical ratio


@dataclass(frozen=True)
class Ratio:
    """Size of one label relative to what another says, with its sign.

    Parameters
    ----------
    label, other : str
        ``energy``, ``forces`` or ``virial``.
    value : float
        1 when they agree.
    low, high : float
        The two disagree when `value` lies outside.
    evidence : str
        How it was measured.
    """

    label: str
    other: str
    value: float
    low: float
    high: float
    evidence: str

    @property
    def agrees(self) -> bool:
        """Whether the labels speak of the same surface in the same units."""
        return self.low < self.value < self.high


def trajectory_ratios(frames: Sequence[Frame]) -> list[Ratio]:
    """Compare energy differences of neighbouring frames with the work of forces and virials.

    Parameters
    ----------
    frames : sequence of Frame
        In the order of the files.

    Returns
    -------
    list of Ratio
        Energy over forces, energy over virial, where at least five steps are small enough.

    Source: trapezoidal rule, dE = -(F1 + F2)/2 . dr - (W1 + W2)/2 : strain.
    """
    steps = [step for a, b in pairwise(frames) if (step := _step(a, b)) is not None]
    rigid = np.array([(de, work) for de, work, strain in steps if strain is None])
    strained = np.array([(de - work, strain) for de, work, strain in steps if strain is not None])
    ratios = []
    for label, table, tolerance in (("forces", rigid, 1.35), ("virial", strained, 2.0)):
        pairs = table.reshape(-1, 2)
        slope = _slope(pairs[:, 1], pairs[:, 0])
        if slope is not None:
            kind = "steps" if label == "forces" else "strains"
            evidence = f"{len(pairs)} small {kind} between neighbouring frames"
            ratios.append(Ratio("energy", label, slope, 1 / tolerance, tolerance, evidence))
    return ratios


def _step(a: Frame, b: Frame) -> tuple[float, float, float | None] | None:
    """Energy change, work of the forces, work of the virial (None in a rigid cell), in eV.

    None if the frames are no neighbours on a trajectory.
    """
    one, two = a.labels, b.labels
    if one.energy is None or two.energy is None or one.forces is None or two.forces is None:
        return None
    same = np.array_equal(a.system.species, b.system.species)
    if not same or not np.array_equal(a.system.pbc, b.system.pbc):
        return None
    strain, work_of_strain = np.zeros((3, 3)), None
    if np.abs(b.system.cell - a.system.cell).max() > 1e-6:
        if one.virial is None or two.virial is None or not a.system.pbc.all():
            return None
        strain = np.linalg.inv(a.system.cell) @ b.system.cell - np.eye(3)
        work_of_strain = -float(np.sum((one.virial + two.virial) / 2 * strain))
    if np.abs(strain).max() > _MAX_STRAIN:
        return None
    move = b.system.positions - a.system.positions @ (np.eye(3) + strain)
    if a.system.pbc.any():
        box = np.where(a.system.pbc[:, None], b.system.cell, 0.0)
        move = move - np.round(move @ np.linalg.pinv(box)) @ box
    if np.sqrt(np.mean(np.sum((move - move.mean(axis=0)) ** 2, axis=1))) > _MAX_STEP:
        return None
    work = -float(np.sum((one.forces + two.forces) / 2 * move))
    return two.energy - one.energy, work, work_of_strain


def _slope(expected: Array, found: Array) -> float | None:
    """Slope through the origin, if the points are many and lie on a line."""
    moving = np.abs(expected) > 1e-9
    if moving.sum() < 5:
        return None
    x, y = expected[moving], found[moving]
    weight = 1 / (x**2 + np.median(x**2))  # so that no single step decides
    xx, xy, yy = (float(np.sum(weight * p)) for p in (x * x, x * y, y * y))
    if yy == 0 or xy**2 < 0.8 * xx * yy:
        return None
    return xy / xx


def fitted_ratios(frames: Sequence[Frame], model: PairModel) -> list[Ratio]:
    """Compare the spread of energies and virials with that of a model fitted to the forces.

    Parameters
    ----------
    frames : sequence of Frame
    model : PairModel

    Returns
    -------
    list of Ratio
        Energy over forces, virial over forces, where there are at least eight numbers to compare.
    """
    sample = list(frames[:: max(1, len(frames) // _SAMPLE)])
    predictions = [model.predict(f.system) for f in sample]
    energies = [(f, e, f.labels.energy) for f, (e, _, _) in zip(sample, predictions)]
    virials = [(f, w, f.labels.virial) for f, (_, _, w) in zip(sample, predictions)]
    energy = [_per_atom(e) for e in energies if e[2] is not None]
    virial = [_per_atom(w) for w in virials if w[2] is not None and w[0].system.pbc.all()]
    ratios = []
    if energy:
        frames_of, x, y = zip(*energy)
        found = _compare(*_centred(frames_of, np.array(x), np.array(y)))
        # phases and defects may differ in ways that a pair potential does not see: large
        # energies need a correlation to count, too small ones do not
        if found and (found[1] > 0.5 or abs(found[0]) < 1):
            ratios.append(_fitted("energy", *found))
    if virial:
        frames_of, x, y = zip(*virial)
        found = _compare_virials(frames_of, np.array(x), np.array(y))
        if found and (found[1] > 0.5 or abs(found[0]) < 1):
            ratios.append(_fitted("virial", *found))
    return ratios


def _fitted(label: str, value: float, correlation: float) -> Ratio:
    evidence = f"pair potential fitted to the forces, correlation {correlation:.2f}"
    return Ratio(label, "forces", value, 0.2, 8.0, evidence)


def _per_atom(row: tuple[Frame, Array | float, Array | float | None]) -> tuple[Frame, Array, Array]:
    frame, predicted, labelled = row
    return frame, np.asarray(predicted) / len(frame), np.asarray(labelled) / len(frame)


def _centred(frames: Sequence[Frame], x: Array, y: Array) -> tuple[Array, Array]:
    """Values less the median of their composition; compositions of one or two are left out."""
    names = np.array([hash(np.asarray(f.system.species).tobytes()) for f in frames])
    kept = np.zeros(len(names), bool)
    x, y = x.copy(), y.copy()
    for name in np.unique(names):
        mine = names == name
        if mine.sum() >= 3:
            kept |= mine
            x[mine] -= np.median(x[mine], axis=0)
            y[mine] -= np.median(y[mine], axis=0)
    return x[kept], y[kept]


def _compare_virials(frames: Sequence[Frame], x: Array, y: Array) -> tuple[float, float] | None:
    """Compare the deviatoric parts or the traces, whichever the model describes better.

    Forces say nothing of a part of the energy that depends on the volume alone, so traces
    are compared within each composition only.
    """
    traces = [np.trace(v, axis1=1, axis2=2) for v in (x, y)]
    rest = [v - t[:, None, None] * np.eye(3) / 3 for v, t in zip((x, y), traces)]
    pairs = ((rest[0].ravel(), rest[1].ravel()), _centred(frames, traces[0], traces[1]))
    found = [c for a, b in pairs if (c := _compare(a, b)) is not None]
    return max(found, key=lambda c: c[1], default=None)


def _compare(predicted: Array, labelled: Array) -> tuple[float, float] | None:
    """Ratio of sizes with the sign of the correlation, and the correlation's size.

    The twentieth that fits least is left out, so that one broken frame decides nothing.
    """
    if len(predicted) < 8:
        return None
    x, y = predicted, labelled
    for _ in range(2):
        a, b = float(np.linalg.norm(x)), float(np.linalg.norm(y))
        if a < 1e-9 or b == 0:
            return None
        correlation = float(x @ y) / (a * b)
        misfit = np.abs(y / b - np.copysign(x / a, x * correlation))
        near = misfit <= np.quantile(misfit, 0.95)
        x, y = x[near], y[near]
    return (-1 if correlation < -0.5 else 1) * b / a, abs(correlation)
