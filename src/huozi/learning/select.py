"""Which frames are worth a label, and why; every decision is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from huozi.learning.descriptor import farthest_points
from huozi.learning.explore import Seen
from huozi.learning.generate import CLOSE
from huozi.learning.settings import Converge, Select

EXTREME = 4.0
"""Largest error of a force on some hundred atoms, in units of the root mean square error."""

WIDE = 20.0
"""Upper bound in units of the lower one."""

STALE = 0.1
"""Selection ends when what is left is so much closer to something known than the first choice."""


@dataclass(frozen=True)
class Bounds:
    """Deviations between which a frame is a candidate, eV/Å, and where they come from."""

    low: float
    high: float
    reason: str


@dataclass(frozen=True)
class Decision:
    """What became of one frame.

    Parameters
    ----------
    frame : str
        Name: iteration, walker, number.
    deviation : float or None
        eV/Å; None where a model gave no number.
    verdict : str
        accurate, candidate or failed.
    selected : bool
    reason : str
    """

    frame: str
    deviation: float | None
    verdict: str
    selected: bool
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        return asdict(self)


def in_turn(order: Sequence[int], groups: Sequence[Hashable]) -> list[int]:
    """Reorder items so that their groups take turns, each with its own items in the order given.

    Parameters
    ----------
    order : sequence of int
        Items.
    groups : sequence
        Of each of them.
    """
    count: Counter[Hashable] = Counter()
    before = []
    for group in groups:
        before.append(count[group])
        count[group] += 1
    return [order[k] for k in np.argsort(before, kind="stable")]


def set_bounds(settings: Select, pairs: Sequence[Sequence[float]]) -> Bounds:
    """Bounds that follow from the error that is good enough.

    Parameters
    ----------
    settings : Select
    pairs : sequence of (float, float)
        Deviation and largest error of labelled control frames: models trained on the same data
        agree more than they are right, and the ratio says by how much.
    """
    values = np.array(pairs, float).reshape(-1, 2)
    values = values[(values > 0).all(axis=1) & np.isfinite(values).all(axis=1)]
    ratio = float(np.median(values[:, 1] / values[:, 0])) if len(values) else 1.0
    ratio = max(ratio, 1.0)
    low = settings.low or EXTREME * settings.target / ratio
    why = (
        "as set"
        if settings.low
        else f"{EXTREME:g} times the target of {settings.target:g} eV/Å, divided by "
        f"{ratio:.2f}, the ratio of largest error to deviation on {len(values)} control frames"
    )
    return Bounds(low, max(settings.high or WIDE * low, low), f"lower bound {why}")


def widened(bounds: Bounds, seen: Seen, settings: Select) -> Bounds:
    """Raise the upper bound until a batch of frames lies below it, if it was not set.

    A first model is so bad that everything lies beyond any bound; then the least bad is
    what it can learn from. Once a batch is below, accurate frames counted, what is beyond failed.
    """
    batch = settings.batch
    physical = seen.deviation[(seen.closest > CLOSE) & np.isfinite(seen.deviation)]
    sound = np.sort(physical[physical >= bounds.low])
    if settings.high or not len(sound) or (physical < bounds.high).sum() >= batch:
        return bounds
    high = max(bounds.high, float(sound[min(batch, len(sound)) - 1]) * (1 + 1e-9))
    return Bounds(bounds.low, high, f"{bounds.reason}; upper bound raised to admit {batch} frames")


def decide(
    seen: Seen,
    bounds: Bounds,
    batch: int,
    known: NDArray[np.floating],
    control: Sequence[int] = (),
) -> tuple[list[Decision], list[int]]:
    """Judge every frame and choose a batch of different ones.

    Parameters
    ----------
    seen : Seen
    bounds : Bounds
    batch : int
    known : (k, D) array
        Descriptors of what is labelled already.
    control : sequence of int
        Frames that are drawn as a test and cannot be selected.

    Returns
    -------
    decisions : list of Decision
        One for each frame.
    chosen : list of int
        Frames to label, the most different first.
    """
    overlap = ~(seen.closest > CLOSE)
    beyond = ~(seen.deviation < bounds.high)
    accurate = seen.deviation < bounds.low
    drawn = np.isin(np.arange(len(seen.frames)), control)
    candidates = np.flatnonzero(~overlap & ~beyond & ~accurate & ~drawn)
    order, distance = farthest_points(seen.descriptors[candidates], known, batch)
    if order:
        first = distance[order[0]]
        order = [row for row in order if distance[row] > STALE * first or row == order[0]]
    rank = {int(candidates[row]): k for k, row in enumerate(order)}
    far = {int(i): float(distance[row]) for row, i in enumerate(candidates)}
    decisions = []
    for i, frame in enumerate(seen.frames):
        value = float(seen.deviation[i])
        if overlap[i]:
            verdict, reason = "failed", f"atoms at {seen.closest[i]:.2f} of their covalent radii"
        elif accurate[i]:
            verdict, reason = "accurate", f"deviation {value:.3f} below {bounds.low:.3f} eV/Å"
        elif beyond[i]:
            verdict, reason = "failed", f"deviation {value:.3f} not below {bounds.high:.3f} eV/Å"
        elif i in rank:
            verdict = "candidate"
            reason = f"choice {rank[i] + 1}: {far[i]:.3f} from everything known before it"
        elif drawn[i]:
            verdict, reason = "candidate", "drawn at random as a control frame"
        else:
            verdict = "candidate"
            reason = f"not chosen: {far[i]:.3f} from something labelled or chosen"
        number = value if np.isfinite(value) else None
        decisions.append(Decision(frame.source, number, verdict, i in rank, reason))
    return decisions, [int(candidates[row]) for row in order]


def fractions(decisions: Sequence[Decision]) -> dict[str, float]:
    """Part of the frames with each verdict."""
    n = max(1, len(decisions))
    return {
        verdict: sum(d.verdict == verdict for d in decisions) / n
        for verdict in ("accurate", "candidate", "failed")
    }


def reason_to_stop(records: Sequence[dict[str, Any]], rule: Converge) -> str:
    """Why the loop may end after the iterations of these records, or nothing.

    Frames that were chosen count even when none of them could be labelled.
    """
    last = records[-1]
    if last["chosen"] == 0 and last["fractions"]["failed"] <= rule.candidates:
        return "nothing was left to select"
    recent = records[-rule.iterations - 1 :]
    if len(recent) <= rule.iterations:
        return ""
    errors = [r["control_force_rmse_mev_per_A"] for r in recent]
    open_questions = [1 - r["fractions"]["accurate"] for r in recent[1:]]
    if None in errors or max(open_questions) > rule.candidates:
        return ""
    changes = [abs(b - a) / a for a, b in pairwise(errors)]
    if max(changes) > rule.change:
        return ""
    return (
        f"in {rule.iterations} iterations at most {max(open_questions):.1%} of the frames were "
        f"not accurate and the control error changed by at most {max(changes):.1%}"
    )
