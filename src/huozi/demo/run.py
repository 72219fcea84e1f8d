"""Data, training, test, dynamics, report: the stages of the demo, each of which resumes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ase import Atoms
from ase.io import read as ase_read
from ase.io import write as ase_write

from huozi.demo import lines
from huozi.demo.config import DemoConfig
from huozi.demo.data import prepare_data
from huozi.demo.page import demo_page
from huozi.demo.story import Story
from huozi.dynamics import MDProgress, MDResult, run_md
from huozi.dynamics.observables import RunData, analyse, read_run, write_analysis
from huozi.files import atomic_path, write_json
from huozi.potential import Model, evaluate, train
from huozi.systems import System, read
from huozi.units import ASE_TIME
from huozi.workflow import RunFolder


def _silent() -> AbstractContextManager[None]:
    return nullcontext()


def _unheard(line: str) -> None:
    pass


@dataclass(frozen=True)
class Display:
    """What is shown of a running demo; nothing by default.

    Parameters
    ----------
    say : callable
        Called with one line at the end of each stage.
    training : callable
        Returns a context manager that yields what `huozi.potential.train` reports to.
    dynamics : callable
        The same for `huozi.dynamics.run_md`, e.g. `huozi.dynamics.md_progress_bar`.
    """

    say: Callable[[str], None] = _unheard
    training: Callable[[], AbstractContextManager[Callable[[dict[str, Any]], None] | None]] = (
        _silent
    )
    dynamics: Callable[[], AbstractContextManager[Callable[[MDProgress], None] | None]] = _silent


@dataclass(frozen=True)
class DemoResult:
    """What the demo leaves.

    Parameters
    ----------
    report, model : Path
        ``report.html`` and the model file.
    numbers : dict
        Every number of the report, ready for JSON; also ``results.json``.
    story : Story
        What the report was made from: the model, its errors, the analysis of the simulation.
    """

    report: Path
    model: Path
    numbers: dict[str, Any]
    story: Story


def run_demo(
    out: str | Path = "demo-run",
    data: Sequence[str | Path] | None = None,
    config: DemoConfig | None = None,
    display: Display | None = None,
) -> DemoResult:
    """Train a potential on quantum mechanics, test it, simulate with it, and report.

    The same call again finishes an interrupted demo; a finished one only writes its report
    anew, or simulates on when `picoseconds` has grown.

    Parameters
    ----------
    out : path
        Folder for everything.
    data : sequence of paths, optional
        Labelled frames of any elements; liquid water that comes with Huozi by default.
    config : DemoConfig, optional
    display : Display, optional

    Returns
    -------
    DemoResult

    Raises
    ------
    FileNotFoundError, ValueError
        If the data cannot be used, the folder holds another demo, or the simulation blows up.
    """
    out, config, display = Path(out), config or DemoConfig(), display or Display()
    folder = RunFolder(out)
    settings = check_folder(folder, data, config)
    with stage(folder, "data"):
        summary = prepare_data(out / "data", data, config.temperature)
        folder.write_config(settings)
    display.say(lines.data(summary))
    with stage(folder, "training"), display.training() as report:
        frames = read(out / "data" / "train.extxyz")
        trained = train(frames, out / "train", config.training(), None, report)
    display.say(lines.training(trained))
    with stage(folder, "test"):
        metrics = evaluate(trained.model, read(out / "data" / "test.extxyz"))
        write_json(out / "test.json", metrics.to_dict())
    display.say(lines.test(metrics))
    warm = constant_temperature(folder, trained.model, config, display)
    energies = constant_energy(folder, trained.model, config, display, warm)
    with stage(folder, "analysis"):
        reference = out / "data" / "reference.extxyz"
        analysis = analyse(
            out / "nvt",
            reference if summary["reference"]["frames"] >= 4 else None,
            skip=config.skipped(warm.system),
        )
        write_analysis(analysis, out / "nvt" / "analysis")
    display.say(lines.analysis(analysis))
    story = Story(out, config, data, summary, trained, metrics, analysis, energies, seconds(folder))
    write_json(out / "results.json", story.numbers)
    path = demo_page(story).write(out / "report.html")
    display.say(f"report     {path}, {sum(story.seconds.values()):.0f} s in all")
    return DemoResult(path, out / "train" / "model.safetensors", story.numbers, story)


def check_folder(
    folder: RunFolder, data: Sequence[str | Path] | None, config: DemoConfig
) -> dict[str, Any]:
    """Return the settings to be stored; the folder must be free or hold this very demo.

    Raises
    ------
    ValueError
        If it holds another.
    """
    wanted = {
        "verb": "demo",
        "data": None if data is None else [str(path) for path in data],
        **config.model_dump(mode="json"),
    }
    path = folder.path / "config.yaml"
    if path.exists():
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        for name, value in wanted.items():
            before = found.get(name) if isinstance(found, dict) else None
            if before != value and name != "picoseconds":
                raise ValueError(
                    f"{folder.path} holds another run ({name} {before}, now {value}); "
                    "choose another folder with --out, or delete this one"
                )
    elif (folder.path / "data").exists() and not (folder.path / "data" / "data.json").exists():
        raise ValueError(
            f"{folder.path / 'data'} exists and is of no demo, which would write its frames there; "
            "choose another folder with --out"
        )
    return wanted


def constant_temperature(
    folder: RunFolder, model: Model, config: DemoConfig, display: Display
) -> MDResult:
    """Simulate at constant temperature, equilibration included."""
    system = System.from_atoms(read_atoms(folder.path / "data" / "start.extxyz"))
    settings = config.constant_temperature(system)
    with stage(folder, "constant temperature"), display.dynamics() as report:
        result = run_md(model, system, settings, folder.path / "nvt", None, report)
    display.say(lines.dynamics("NVT", result, settings))
    return result


def constant_energy(
    folder: RunFolder, model: Model, config: DemoConfig, display: Display, warm: MDResult
) -> RunData:
    """Simulate on at constant energy, from where the first run of this demo ended."""
    path = folder.path / "nve-start.extxyz"
    if not path.exists():
        atoms = warm.system.to_atoms()
        atoms.set_velocities(warm.velocities * ASE_TIME)
        with atomic_path(path) as temporary:
            ase_write(temporary, atoms)
    atoms = read_atoms(path)
    system, velocities = System.from_atoms(atoms), atoms.get_velocities() / ASE_TIME
    settings = config.constant_energy(system)
    with stage(folder, "constant energy"), display.dynamics() as report:
        result = run_md(model, system, settings, folder.path / "nve", velocities, report)
    display.say(lines.dynamics("NVE", result, settings))
    return read_run(folder.path / "nve")


def read_atoms(path: Path) -> Atoms:
    """Read a structure as ``huozi md`` reads it."""
    atoms = ase_read(path)
    assert isinstance(atoms, Atoms)
    return atoms


@contextmanager
def stage(folder: RunFolder, name: str) -> Iterator[None]:
    """Note how long a stage took."""
    started = time.perf_counter()
    yield
    folder.log("stage", name=name, seconds=round(time.perf_counter() - started, 2))


def seconds(folder: RunFolder) -> dict[str, float]:
    """Time of each stage: of its longest session, since later ones found the work done."""
    longest: dict[str, float] = {}
    for event in folder.events("stage"):
        longest[event["name"]] = max(longest.get(event["name"], 0.0), event["seconds"])
    return longest
