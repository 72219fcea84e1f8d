"""Splitting a data set into training, validation and test parts without leaks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from huozi.files import written_aside
from huozi.systems.frame import Array, Dataset, Frame

PARTS = ("train", "valid", "test")


@dataclass(frozen=True, eq=False)
class Split:
    """A data set cut in parts.

    Parameters
    ----------
    dataset : Dataset
        The whole.
    indices : dict of str to tuple of int
        Frames of ``train``, ``valid`` and ``test``, ascending; frames in none are unused.
    settings : dict
        How the split was made (by, seed, ...).
    """

    dataset: Dataset
    indices: dict[str, tuple[int, ...]]
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def train(self) -> Dataset:
        """Frames to learn from."""
        return self.dataset[self.indices["train"]]

    @property
    def valid(self) -> Dataset:
        """Frames to choose the best model by."""
        return self.dataset[self.indices["valid"]]

    @property
    def test(self) -> Dataset:
        """Frames that no decision has seen."""
        return self.dataset[self.indices["test"]]

    @property
    def unused(self) -> tuple[int, ...]:
        """Frames in no part (gaps between blocks, or more frames than asked for)."""
        used = {i for part in self.indices.values() for i in part}
        return tuple(i for i in range(len(self.dataset)) if i not in used)

    def save(self, path: str | Path) -> None:
        """Write indices, sources and digests as JSON, whole or not at all."""
        record = {
            "settings": self.settings,
            "frames": len(self.dataset),
            "sources": [list(source) for source in _sources(self.dataset)],
            **{name: list(part) for name, part in self.indices.items()},
        }
        with written_aside(path, overwrite=True) as fresh:
            fresh.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path, dataset: Dataset) -> Split:
        """Read a saved split of the same data set.

        Raises
        ------
        ValueError
            If the file is no split, or its sources differ from those of `dataset`; file paths
            may differ, contents and order may not.
        """
        try:
            record = json.loads(Path(path).read_text(encoding="utf-8"))
            indices = {name: tuple(int(i) for i in record[name]) for name in PARTS}
            saved = [(str(s), int(n), str(d)) for s, n, d in record["sources"]]
            settings = dict(record["settings"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is not a split saved by huozi: {error!r}") from None
        found = _sources(dataset)
        if len(saved) != len(found):
            raise ValueError(
                f"{path} splits {len(saved)} sources, the data set has {len(found)}: "
                f"{[s for s, _, _ in found]}"
            )
        for (name, frames, digest), (source, count, other) in zip(saved, found):
            if digest != other:
                raise ValueError(
                    f"{path} was made for {name} ({frames} frames); {source} ({count} frames) "
                    "has other contents; split the data again"
                )
        return cls(dataset, indices, settings)


def split(
    dataset: Dataset,
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    *,
    counts: Sequence[int] | None = None,
    by: Literal["frame", "group", "block"] = "frame",
    seed: int = 0,
    group: str = "group",
    block: int | None = None,
    gap: int = 0,
) -> Split:
    """Split a data set in training, validation and test parts.

    Parameters
    ----------
    dataset : Dataset
    fractions : sequence of float
        Of train, valid and (may be absent) test; their sum is at most 1.
    counts : sequence of int, optional
        Frames of each part instead of fractions; by group or block they are met as nearly as
        whole groups or blocks allow.
    by : {'frame', 'group', 'block'}
        ``frame`` shuffles all frames: right for independent frames. ``group`` keeps frames
        with the same ``info[group]`` together. ``block`` cuts each trajectory (source file)
        in contiguous blocks, so that neighbouring frames do not leak into the test part.
    seed : int
    group : str
        Key of ``info`` that names the group.
    block : int, optional
        Frames in a block; a tenth of each trajectory when absent.
    gap : int
        By block: leave out training frames within `gap` frames of a validation or test frame
        of the same trajectory, and validation frames as near to a test frame.

    Returns
    -------
    Split

    Raises
    ------
    ValueError
        If a part that was asked for would be empty, or a frame has no group.
    """
    if by != "block" and (gap or block is not None):
        raise ValueError(f"blocks and gaps between them are of a split by block, not by {by}")
    if by != "group" and group != "group":
        raise ValueError(f"the group {group!r} is of a split by group, not by {by}")
    if gap < 0:
        raise ValueError(f"a gap has at least no frames; found {gap}")
    targets = _targets(len(dataset), fractions, counts)
    units = _units(dataset, by, group, block)
    order = np.random.default_rng(seed).permutation(len(units))
    indices = _assign([units[i] for i in order], targets, len(dataset))
    if gap:
        indices = _with_gaps(dataset, indices, gap)
    for name in PARTS:
        if targets[name] and not indices[name]:
            raise ValueError(
                f"the {name} part would be empty: {len(dataset)} frames in {len(units)} {by}s "
                f"cannot be split as {[targets[p] for p in PARTS]} frames"
                + (f" with a gap of {gap}" if gap else "")
            )
    settings: dict[str, Any] = {"by": by, "seed": seed, "targets": [targets[p] for p in PARTS]}
    if by == "group":
        settings["group"] = group
    if by == "block":
        settings |= {"block": block, "gap": gap}
    return Split(dataset, {n: tuple(part) for n, part in indices.items()}, settings)


def _targets(
    frames: int, fractions: Sequence[float], counts: Sequence[int] | None
) -> dict[str, int]:
    """Frames wanted in each part."""
    asked = list(fractions if counts is None else counts)
    if not np.isfinite(asked).all():
        raise ValueError(f"the parts should be finite numbers; found {asked}")
    if not 2 <= len(asked) <= 3 or min(asked) < 0 or asked[0] <= 0:
        raise ValueError(f"give train, valid and maybe test, the first above zero; found {asked}")
    if counts is not None:
        if sum(counts) > frames:
            raise ValueError(f"{sum(counts)} frames asked for, the data set has {frames}")
        wanted = [int(c) for c in counts]
    else:
        if sum(asked) > 1 + 1e-9:
            raise ValueError(f"the fractions {asked} add up to more than 1")
        wanted = [max(round(f * frames), 1 if f else 0) for f in asked]
        if abs(sum(asked) - 1) < 1e-9:
            wanted[0] = frames - sum(wanted[1:])
        if wanted[0] < 1:
            raise ValueError(f"{frames} frames are too few for the fractions {asked}")
    return dict(zip(PARTS, [*wanted, 0][:3]))


def _assign(units: list[list[int]], targets: dict[str, int], frames: int) -> dict[str, list[int]]:
    """Give each unit to the part whose relative squared shortfall it reduces most.

    A part that is still empty when only as many units are left as there are empty parts gets
    one of them; units beyond the targets stay unused unless all frames were asked for.
    """
    asked = [name for name in PARTS if targets[name]]
    parts: dict[str, list[int]] = {name: [] for name in PARTS}
    for place, unit in enumerate(units):
        gain = {n: 2 * (targets[n] - len(parts[n])) - len(unit) for n in asked}
        empty = [n for n in asked if not parts[n]]
        last_chance = len(units) - place <= len(empty)
        best = max(empty if last_chance else asked, key=lambda n: gain[n] / targets[n])
        if gain[best] >= 0 or last_chance or sum(targets.values()) == frames:
            parts[best] += unit
    return {name: sorted(part) for name, part in parts.items()}


def _units(dataset: Dataset, by: str, group: str, block: int | None) -> list[list[int]]:
    """Frames that must stay together."""
    if by == "frame":
        return [[i] for i in range(len(dataset))]
    if by == "group":
        return list(_by_group(dataset, group).values())
    if by != "block":
        raise ValueError(f"unknown way to split {by!r}; known: 'frame', 'group', 'block'")
    if block is not None and block < 1:
        raise ValueError(f"a block needs at least one frame, found {block}")
    units = []
    for run in _trajectories(dataset).values():
        size = block or -(-len(run) // 10)
        units += [run[k : k + size] for k in range(0, len(run), size)]
    return units


def _by_group(dataset: Dataset, key: str) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for index, frame in enumerate(dataset):
        if key not in frame.info:
            raise ValueError(
                f"{frame.source}: no {key!r} to split by; the frame has {sorted(frame.info)} "
                "(choose with group=, --group)"
            )
        groups.setdefault(str(frame.info[key]), []).append(index)
    return groups


def _trajectories(dataset: Dataset) -> dict[str, list[int]]:
    """Frames by the file they came from, in order."""
    runs: dict[str, list[int]] = {}
    for index, frame in enumerate(dataset):
        runs.setdefault(frame.source.rpartition("#")[0], []).append(index)
    return runs


def _with_gaps(dataset: Dataset, indices: dict[str, list[int]], gap: int) -> dict[str, list[int]]:
    """Leave out frames too near to a part that ranks higher (test before valid before train)."""
    rank = np.full(len(dataset), -1)
    for level, name in enumerate(PARTS):
        rank[indices[name]] = level
    kept = rank >= 0
    for run in _trajectories(dataset).values():
        levels = rank[run]
        padded = np.pad(levels, gap, constant_values=-1)
        near = np.lib.stride_tricks.sliding_window_view(padded, 2 * gap + 1).max(axis=1)
        kept[run] &= near <= levels
    return {name: [i for i in part if kept[i]] for name, part in indices.items()}


def frame_digest(frame: Frame) -> bytes:
    """SHA-256 of a frame's geometry and labels, as stored in memory."""
    state = hashlib.sha256()
    system, labels = frame.system, frame.labels
    values: tuple[Array | float | None, ...] = (
        *(system.species, system.positions, system.cell, system.pbc),
        *(labels.energy, labels.forces, labels.virial),
    )
    # Error bars weigh labels; frames without keep the digest they had before there were any.
    errors = [e for e in (labels.energy_error, labels.forces_error) if e is not None]
    for value in (*values, *errors):
        array = np.asarray([] if value is None else value, np.float64)
        state.update(repr(array.shape).encode() + array.tobytes())
    return state.digest()


def data_digest(frames: Iterable[Frame]) -> str:
    """SHA-256 of the geometries and labels of frames, whatever file and format they lie in."""
    return hashlib.sha256(b"".join(frame_digest(frame) for frame in frames)).hexdigest()


def _sources(dataset: Dataset) -> list[tuple[str, int, str]]:
    """File, number of frames and digest of each trajectory of the data set."""
    return [
        (name, len(run), data_digest(dataset[i] for i in run))
        for name, run in _trajectories(dataset).items()
    ]
