"""Label a data set: one task a frame, whatever fails is listed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, ground_state_magnetic_moments

from huozi.labels.labeller import Labeller, level_settings, make_labeller
from huozi.labels.settings import LEVEL, FunctionalLevel, Level
from huozi.systems import Dataset, Frame, Labels, System
from huozi.workflow import Outcome, Runner, Task, task

STATE = ("charge", "multiplicity")
"""Keys of a frame's info that its label depends on."""


@dataclass(frozen=True)
class Labelled:
    """What a labelling left.

    Parameters
    ----------
    dataset : Dataset
        The frames that have labels, in the order given.
    failures : tuple of (str, Outcome)
        Source of a frame and what its task left.
    kept : tuple of int
        Numbers of the frames given that have labels.
    cpu_seconds : float
        Processor time of all labels, found ones included.
    """

    dataset: Dataset
    failures: tuple[tuple[str, Outcome], ...]
    kept: tuple[int, ...]
    cpu_seconds: float


@task()
def label_frame(folder: Path, inputs: dict[str, Any], files: dict[str, Path]) -> dict[str, Any]:
    """Label one frame; see `huozi.workflow.task`."""
    model = {"method": str(files["model"])} if "model" in files else {}
    labeller = make_labeller(LEVEL.validate_python(inputs["level"] | model))
    atoms = Atoms(**inputs["atoms"], info=inputs["state"])
    labels = labeller.label(atoms)
    numbers = asdict(labels)
    plain = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in numbers.items()}
    return plain | {"code": labeller.code}


def label_task(frame: Frame, level: Level) -> Task:
    """Return the task that labels a frame."""
    system = frame.system
    atoms = {
        "numbers": system.species.tolist(),
        "positions": system.positions.tolist(),
        "cell": system.cell.tolist(),
        "pbc": system.pbc.tolist(),
    }
    state = {key: _whole(frame, key) for key in STATE if key in frame.info}
    settings = level_settings(level)
    files: dict[str, Path] = {}
    if isinstance(level, FunctionalLevel):  # its contents count, not where it lies
        files["model"] = Path(settings.pop("method"))
    inputs: dict[str, Any] = {"level": settings, "atoms": atoms, "state": state}
    if _changed(level, frame):
        inputs["revision"] = 2
    return Task(label_frame, inputs, files, name=frame.source)


def _changed(level: Level, frame: Frame) -> bool:
    """Whether the engine once returned something else for this frame at these settings.

    Smearing lost the multiplicity and the dispersion, metals in GPAW their moments, tblite took
    layers for bulk, and wave functions have another form.
    """
    return (
        (level.engine in ("pyscf", "cp2k") and level.smearing > 0)
        or (level.engine == "gpaw" and level.spin)
        or (level.engine == "xtb" and 0 < frame.system.pbc.sum() < 3)
        or level.engine == "wavefunction"
    )


def _whole(frame: Frame, key: str) -> int:
    try:
        number = float(frame.info[key])
    except (TypeError, ValueError):
        number = np.nan
    if number != np.round(number):
        raise ValueError(f"{frame.source}: {key} is {frame.info[key]!r}, not a whole number")
    return int(number)


def label(
    frames: Sequence[Frame], level: Level, runner: Runner, quorum: float = 0.8, stage: str = "label"
) -> Labelled:
    """Label frames at one level of theory, as tasks of a run.

    Parameters
    ----------
    frames : sequence of Frame
        Labels they may have are replaced.
    level : Level
    runner : Runner
    quorum : float
        Part of the frames that must be labelled.
    stage : str
        For people.

    Returns
    -------
    Labelled
        Each frame's info says level, code and settings.

    Raises
    ------
    ImportError
        If the engine is missing; before any task is run.
    QuorumError
        If too many frames fail.
    """
    labeller = make_labeller(level)
    outcomes = runner.run(stage, [label_task(frame, level) for frame in frames], quorum)
    done = [i for i, outcome in enumerate(outcomes) if outcome.done]
    labelled = [with_label(frames[i], outcomes[i].result, labeller, level) for i in done]
    bad = tuple((frames[i].source, o) for i, o in enumerate(outcomes) if not o.done)
    cost = sum(o.status.get("cpu_seconds", 0.0) for o in outcomes)
    return Labelled(Dataset(tuple(labelled)), bad, tuple(done), cost)


def with_label(frame: Frame, found: dict[str, Any], labeller: Labeller, level: Level) -> Frame:
    """Return the frame with a label and where it comes from."""
    # Results of an earlier version lack error bars.
    numbers: Any = {k: np.array(v) if isinstance(v, list) else v for k, v in found.items()}
    labels = Labels(**{each.name: numbers.get(each.name) for each in fields(Labels)})
    # Data of a charged or open-shell level must say so: absent are 0 and 1.
    state = level.model_dump(include=set(STATE), exclude_defaults=True)
    origin = {
        "level": labeller.level,
        "code": found["code"],
        "level_settings": json.dumps(level_settings(level), sort_keys=True),
    }
    return replace(frame, labels=labels, info={**state, **frame.info, **origin})


def isolated_atoms(symbols: Sequence[str]) -> list[Frame]:
    """Return each element as an atom alone, in the spin state of its ground state.

    The atoms are open systems; engines that know only cells put them into a box. Training takes
    the energies of such frames for those of the elements.
    """
    frames = []
    for symbol in symbols:
        number = atomic_numbers[symbol]
        multiplicity = round(abs(ground_state_magnetic_moments[number])) + 1
        info = {"config_type": "isolated_atom", "charge": 0, "multiplicity": multiplicity}
        system = System.from_atoms(Atoms([symbol], positions=[[0, 0, 0]]))
        frames.append(Frame(system, source=f"isolated {symbol}", info=info))
    return frames
