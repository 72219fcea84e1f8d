"""The demo's data: frames to learn from, frames to test on, a start, a reference."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np

from huozi.files import write_json, written_aside
from huozi.potential.problem import check_labels
from huozi.systems import Dataset, Frame, System, data_digest, read, split, write

TEST_FRACTION = 0.2
BLOCKS = 25
SAME_DENSITY = 0.02
SAME_TEMPERATURE = 25.0
"""Reference frames are as dense as the start within this share, and as hot within these K."""


def embedded_water() -> tuple[Dataset, Dataset]:
    """Read the data set that comes with Huozi: liquid water, density functional theory.

    Returns
    -------
    train, test : Dataset

    Raises
    ------
    FileNotFoundError
        If this copy of Huozi has none.
    """
    folder = files("huozi.demo").joinpath("data")
    parts = []
    for name in ("water_train.extxyz.gz", "water_test.extxyz.gz"):
        resource = folder.joinpath(name)
        if not resource.is_file():
            raise FileNotFoundError(
                f"this copy of Huozi has no embedded data ({name}); give your own with --data"
            )
        with as_file(resource) as path:
            parts.append(read(path))
    return parts[0], parts[1]


def prepare_data(
    folder: Path, data: Sequence[str | Path] | None, temperature: float
) -> dict[str, Any]:
    """Write what the other stages read, once: train, test, start and reference as extxyz.

    Parameters
    ----------
    folder : Path
    data : sequence of paths or None
        A fifth of these frames, in contiguous blocks, is kept for testing; the embedded set,
        which is split already, when absent.
    temperature : float
        Of the simulation to come, K.

    Returns
    -------
    dict
        Summary for the report, also ``data.json`` in the folder.

    Raises
    ------
    ValueError
        If the folder was made from other frames; files that are gone since are no fault.
    """
    record = folder / "data.json"
    if record.exists():
        summary: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
        if data is not None and all(Path(path).exists() for path in data):
            found = data_digest(read([str(path) for path in data]))
            if found != summary.get("sha256", found):
                raise ValueError(
                    f"{folder.parent} holds a demo with other frames than "
                    f"{', '.join(map(str, data))} now has; choose another folder with --out, or "
                    "delete this one"
                )
        return summary
    whole = None if data is None else read([str(path) for path in data])
    with written_aside(folder) as fresh:
        fresh.mkdir()
        return _write(fresh, whole, temperature)


def _write(folder: Path, whole: Dataset | None, temperature: float) -> dict[str, Any]:
    """Write the parts of given frames, or of the embedded ones, and what to say about them."""
    train, test = embedded_water() if whole is None else take_apart(whole, folder / "split.json")
    start = choose_start(test, temperature)
    reference = Dataset(tuple(f for f in (*train, *test) if alike(f, start, temperature)))
    for name, frames in (
        ("train", train),
        ("test", test),
        ("start", Dataset((Frame(start.system, source=start.source),))),
        ("reference", reference),
    ):
        if len(frames):
            write(frames, folder / f"{name}.extxyz")
    summary = {
        "embedded": whole is None,
        "sha256": None if whole is None else data_digest(whole),
        "train_frames": len(train),
        "test_frames": len(test),
        "substance": substance(start.system),
        "virials": any(frame.labels.virial is not None for frame in train),
        "start": describe(start),
        "reference": {"frames": len(reference), **ranges(reference.frames)},
        "notes": [*train.notes],
    }
    write_json(folder / "data.json", summary)
    return summary


def take_apart(whole: Dataset, record: Path) -> tuple[Dataset, Dataset]:
    """Keep a fifth of the frames for testing; the split is recorded."""
    check_labels(whole)
    block = max(1, len(whole) // BLOCKS)
    parts = split(whole, (1 - TEST_FRACTION, 0.0, TEST_FRACTION), by="block", block=block)
    parts.save(record)
    return parts.train, parts.test


def choose_start(test: Dataset, temperature: float) -> Frame:
    """Test frame of the most frequent composition that suits the simulation best.

    The nearest in temperature, where frames know theirs; then the nearest to the middle density.
    """
    kinds = Counter(kind(frame) for frame in test)
    common = kinds.most_common(1)[0][0]
    frames = [frame for frame in test if kind(frame) == common]
    densities = np.array([frame.system.density or 0.0 for frame in frames])
    heats = [label_temperature(frame) for frame in frames]
    off = [0.0 if heat is None else abs(heat - temperature) for heat in heats]
    away = np.abs(densities - np.median(densities))
    return frames[min(range(len(frames)), key=lambda i: (off[i], away[i], i))]


def alike(frame: Frame, start: Frame, temperature: float) -> bool:
    """Whether a frame is in about the state that is simulated, as far as it says.

    Frames that say ``equilibrium=F`` were made to learn from and sample no state.
    """
    if frame.info.get("equilibrium") is False:
        return False
    here, there = frame.system.density, start.system.density
    if here is None or there is None or frame.system.proportions != start.system.proportions:
        return False
    heat = label_temperature(frame)
    near = heat is None or abs(heat - temperature) <= SAME_TEMPERATURE
    return near and abs(here / there - 1) <= SAME_DENSITY


def kind(frame: Frame) -> tuple[Any, ...]:
    """Composition and periodicity."""
    return (*np.bincount(frame.system.species, minlength=119), *frame.system.pbc)


def is_water(system: System) -> bool:
    """Whether there are two hydrogen atoms for each oxygen atom and nothing else."""
    counts = system.proportions
    return counts[1] == 2 and counts[8] == 1 and sum(counts) == 3


def substance(system: System) -> str:
    """Name for headings: ``64 water molecules`` or the chemical formula."""
    if is_water(system):
        return f"{len(system) // 3} water molecules"
    return str(system.to_atoms().get_chemical_formula())


def label_temperature(frame: Frame) -> float | None:
    """Temperature that a frame says it was sampled at, K."""
    value = frame.info.get("temperature_K", frame.info.get("temperature"))
    return float(value) if isinstance(value, (int, float)) else None


def describe(frame: Frame) -> dict[str, Any]:
    """Return the source and state of a frame."""
    return {
        "frame": frame.source,
        "atoms": len(frame),
        "density_g_cm3": frame.system.density,
        "temperature_K": label_temperature(frame),
    }


def ranges(frames: Sequence[Frame]) -> dict[str, Any]:
    """Lowest and highest density and temperature; None where frames do not say."""
    result = {}
    for name, values in (
        ("density_g_cm3", [frame.system.density for frame in frames]),
        ("temperature_K", [label_temperature(frame) for frame in frames]),
    ):
        known = [value for value in values if value is not None]
        result[name] = [min(known), max(known)] if known and len(known) == len(values) else None
    return result
