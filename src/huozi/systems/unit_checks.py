"""Checks that energies, forces and virials have the same units and signs, and fit their atoms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from huozi.systems.consistency import Ratio
from huozi.systems.finding import Finding
from huozi.systems.frame import Frame
from huozi.systems.pairfit import PairModel
from huozi.units import BOHR, GPA, HARTREE

Indexed = Sequence[tuple[int, Frame]]
KCAL, KJ, RYDBERG = 23.060548, 96.485332, HARTREE / 2  # 1 eV in kcal/mol and kJ/mol; eV
# value in the unit over value in eV, eV/Å; a virial in GPa means: from a stress in GPa
UNITS = {
    "energy": {
        "hartree": 1 / HARTREE,
        "rydberg": 1 / RYDBERG,
        "kcal/mol": KCAL,
        "kJ/mol": KJ,
    },
    "forces": {
        "hartree/bohr": BOHR / HARTREE,
        "hartree/Å": 1 / HARTREE,
        "rydberg/bohr": BOHR / RYDBERG,
        "kcal/mol/Å": KCAL,
        "kJ/mol/Å": KJ,
        "kJ/mol/nm": 10 * KJ,
        "eV/bohr": BOHR,
    },
    "virial": {
        "GPa": GPA,
        "kbar": 10 * GPA,
        "hartree": 1 / HARTREE,
        "hartree/bohr^3": BOHR**3 / HARTREE,
    },
}
_CODES = {"energy": "energy-units", "forces": "force-units", "virial": "virial-units"}


def judge_ratios(ratios: Sequence[Ratio]) -> Iterator[Finding]:
    """Yield a finding that names the label whose unit or sign is wrong.

    A label is suspected when every ratio it takes part in is off and every other one is not.

    Parameters
    ----------
    ratios : sequence of Ratio
    """
    off = [r for r in ratios if not r.agrees]
    if not off:
        return
    suspects = [
        label for label in UNITS if all((label in (r.label, r.other)) != r.agrees for r in ratios)
    ]
    measured = "; ".join(
        f"{_plural(r.label)} are {r.value:.3g} times what the {_plural(r.other)} say ({r.evidence})"
        for r in off
    )
    if suspects:
        advice = ", or ".join(_advice(label, off[0]) for label in suspects)
    else:
        advice = "no single unit or sign explains it; check the units of all labels"
    code = _CODES[suspects[0]] if len(suspects) == 1 else "energy-force-units"
    yield Finding("error", code, measured, advice)


def _plural(label: str) -> str:
    return {"energy": "energies", "forces": "forces", "virial": "virials"}[label]


def _advice(label: str, ratio: Ratio) -> str:
    """Say which unit, sign or both would explain the ratio if this label is wrong."""
    size = abs(ratio.value) if label == ratio.label else 1 / abs(ratio.value)
    sign = "the wrong sign" if ratio.value < 0 else ""
    distance = {unit: abs(np.log(size / factor)) for unit, factor in UNITS[label].items()}
    closeness = np.log(1 / ratio.low)
    units = [u for u in sorted(distance, key=lambda u: distance[u]) if distance[u] < closeness]
    if ratio.low < abs(ratio.value) < ratio.high:
        unit = ""
    else:
        unit = f"the unit {' or '.join(units)}" if units else "an unknown unit"
    return f"the {_plural(label)} look as if they had " + " and ".join(p for p in (sign, unit) if p)


def check_force_match(frames: Indexed, model: PairModel) -> Iterator[Finding]:
    """Yield frames whose forces do not belong to their positions.

    Parameters
    ----------
    frames : sequence of (index, Frame)
        All with forces.
    model : PairModel
        Fitted to the forces of these frames.
    """
    if model.explained < 0.2:
        yield Finding(
            "warning",
            "forces-do-not-fit",
            "the forces hardly follow from the positions: a pair potential explains "
            f"{100 * model.explained:.0f} % of them (85 to 99 % in water, silicon and metals)",
            "check that forces and positions are of the same frames and the same order of atoms",
        )
    rows = [_match(frame, model) for _, frame in frames]
    scores, sizes = (np.array(column) for column in zip(*rows))
    if len(frames) < 10 or np.median(scores) < 0.7:
        return
    for k in np.flatnonzero((scores < 0.2) & (sizes > 0.3 * np.median(sizes))).tolist():
        index, frame = frames[k]
        yield Finding(
            "warning",
            "forces-do-not-fit",
            f"the forces do not fit the positions: correlation {scores[k]:.2f} with a pair "
            f"potential fitted to all frames, {np.median(scores):.2f} in the median",
            "turn their sign" if scores[k] < -0.6 else "check the order of atoms and of frames",
            frame.source,
            index,
        )


def _match(frame: Frame, model: PairModel) -> tuple[float, float]:
    """Correlation of a frame's forces with those of the model, and their rms in eV/Å."""
    forces, predicted = frame.labels.forces, model.predict(frame.system)[1]
    assert forces is not None
    size = float(np.linalg.norm(forces) * np.linalg.norm(predicted))
    score = float(np.sum(forces * predicted)) / size if size else 1.0
    return score, float(np.sqrt(np.mean(forces**2)))
