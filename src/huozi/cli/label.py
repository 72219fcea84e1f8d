"""``huozi label``: labels by a program of quantum chemistry."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from huozi.labels import Labelled, Level


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command()(label)


def label(
    frames: Annotated[list[str], typer.Argument(help="Structures: extxyz or anything ASE reads.")],
    out: Annotated[Path, typer.Option(help="extxyz file for the labelled frames.")],
    engine: Annotated[
        str | None,
        typer.Option(
            help="pyscf, xtb, gpaw, cp2k, ase (any ASE calculator), huozi-functional, wavefunction."
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help="hf, ccsd(t), GFN2-xTB, a functional's file, ...; docs/labels.md."),
    ] = None,
    basis: Annotated[str | None, typer.Option(help="Basis set (pyscf, cp2k).")] = None,
    charge: Annotated[int | None, typer.Option(help="Net charge, e.")] = None,
    multiplicity: Annotated[int | None, typer.Option(help="Spin multiplicity.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file with all settings of the level; options win.")
    ] = None,
    isolated: Annotated[
        bool, typer.Option("--isolated-atoms", help="Label each element as an atom alone, too.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Frames at the same time.")] = 2,
    quorum: Annotated[
        float, typer.Option(min=0, max=1, help="Part of the frames that must succeed.")
    ] = 0.8,
    timeout: Annotated[
        float | None, typer.Option(min=1e-3, help="Seconds a frame may take.")
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try failed frames again.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Label structures with energies, forces and virials.

    Each frame is a task of its own in the folder OUT.run: killed at any time, the same command
    goes on with the frames that have no label yet. A frame that fails, for instance because its
    SCF does not converge, is listed with its reason and never becomes a label.

    Example: huozi label water.extxyz --engine xtb --method GFN2-xTB --out labels.extxyz
    """
    from huozi.files import write_json
    from huozi.labels import isolated_atoms
    from huozi.labels import label as run
    from huozi.systems import Dataset, check_target, read, write
    from huozi.workflow import RunFolder, Runner, clear_failed, open_executor

    given: dict[str, Any] = {"engine": engine, "method": method, "basis": basis}
    given |= {"charge": charge, "multiplicity": multiplicity}
    level = read_level(config, {k: v for k, v in given.items() if v is not None})
    folder = RunFolder(out.with_name(f"{out.name}.run"))
    if out.exists() and not folder.path.exists():
        raise FileExistsError(
            f"{out} exists and was not made by this command (there is no {folder.path}); choose "
            "another --out"
        )
    if check_target(out, overwrite=True) != "extxyz":
        raise ValueError(f"{out}: error bars and levels fit into extxyz alone; name it *.extxyz")
    described = {"verb": "label", "frames": frames, "isolated_atoms": isolated}
    described["level"] = level.model_dump(mode="json")
    if before := folder.stored_config("label"):
        _refuse_another(before, described, out)
    dataset = read(frames)
    if isolated:
        dataset = Dataset(tuple(isolated_atoms(dataset.symbols))) + dataset
    folder.write_config(described)
    if retry:
        clear_failed(folder)
    with stage_display() as report, open_executor("local", workers, folder.path) as executor:
        found = run(dataset, level, Runner(folder, executor, timeout, report), quorum)
    if len(found.dataset):
        write(found.dataset, out, overwrite=True)
    numbers = _numbers(found, level, out)
    write_json(folder.path / "results.json", numbers)
    if as_json:
        typer.echo(json.dumps(numbers))
    else:
        _print(found, numbers)


def _refuse_another(found: dict[str, Any], wanted: dict[str, Any], out: Path) -> None:
    """Stop if labels of another level, or of frames that would go, were made before."""
    frames = set(found["frames"]) <= set(wanted["frames"])
    isolated = wanted["isolated_atoms"] or not found.get("isolated_atoms")
    # A setting that is newer than the run had its default then.
    level = all(found["level"].get(name, v) == v for name, v in wanted["level"].items())
    if not (level and frames and isolated):
        other = "other frames, too" if level else "another level"
        raise ValueError(
            f"{out} holds labels of {other}; choose another --out, or remove it and {out}.run"
        )


def read_level(path: Path | None, given: dict[str, Any]) -> Level:
    """Return the level of theory of a file and of options.

    Raises
    ------
    ValueError
        With every setting that is wrong.
    """
    import yaml

    from huozi.labels import ENGINES
    from huozi.workflow import read_settings

    stored = yaml.safe_load(path.read_text(encoding="utf-8")) if path else {}
    engine = given.get("engine", stored.get("engine") if isinstance(stored, dict) else None)
    if engine not in ENGINES:
        raise ValueError(f"--engine should be one of {', '.join(ENGINES)}; found {engine}")
    level: Any = read_settings(ENGINES[engine], path, given)
    return level


@contextmanager
def stage_display() -> Iterator[Callable[[str, int, int, int], None]]:
    """Show a bar for each stage, with the tasks that failed."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:.0f}/{task.total:.0f}{task.fields[failed]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    ) as progress:
        bars: dict[str, Any] = {}

        def report(stage: str, finished: int, failed: int, total: int) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(stage, total=total, failed="")
            text = f", {failed} failed" if failed else ""
            progress.update(bars[stage], completed=finished, total=total, failed=text)

        yield report


def _numbers(found: Labelled, level: Level, out: Path) -> dict[str, Any]:
    return {
        "out": str(out),
        "labelled": len(found.dataset),
        "failed": len(found.failures),
        "cpu_seconds": round(found.cpu_seconds, 2),
        "failures": [
            {"frame": source, "reason": outcome.reason, "folder": str(outcome.folder)}
            for source, outcome in found.failures
        ],
        "level": level.model_dump(mode="json"),
    }


def _print(found: Labelled, numbers: dict[str, Any]) -> None:
    info = found.dataset[0].info if len(found.dataset) else {}
    origin = f" at {info['level']} by {info['code']}" if info else ""
    typer.echo(
        f"{numbers['labelled']} frames labelled{origin}, {found.cpu_seconds:.1f} s of processor "
        f"time: {numbers['out']}"
    )
    for failure in numbers["failures"]:
        typer.echo(f"no label: {failure['frame']}: {failure['reason']} ({failure['folder']})")
