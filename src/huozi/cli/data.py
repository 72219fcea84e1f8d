"""``huozi data``: look at, check, convert and split data sets."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from huozi.systems import Dataset, DatasetInfo, Finding
    from huozi.systems.summary import Spread

app = typer.Typer(
    help="Look at, check, convert and split labelled frames.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

Paths = Annotated[
    list[str],
    typer.Argument(
        help="Files or folders: extxyz (.extxyz, .xyz, .gz), deepmd/npy, mixed, raw or hdf5 "
        "(file.hdf5#/group), ASE databases (.db, .json); a folder is searched.",
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="Format of the input if its name does not tell: vasp/outcar, vasp/xml, cp2k/output, "
        "qe/pw/scf, gaussian/log, lammps/dump, any other name of dpdata's or ASE's.",
    ),
]
Key = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        metavar="QUANTITY=KEY",
        help="Which key is the energy, forces, stress or virial, e.g. energy=REF_energy; "
        "stress=none leaves it out. May be repeated.",
    ),
]
TypeMap = Annotated[
    str | None,
    typer.Option("--type-map", metavar="O,H", help="Elements of numbered types, in order."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]


@app.command()
def info(
    paths: Paths,
    format: Format = None,
    key: Key = None,
    type_map: TypeMap = None,
    as_json: AsJson = False,
) -> None:
    """Show what is in a data set: composition, sizes, density, statistics of the labels.

    Example: huozi data info train.extxyz
    """
    from huozi.systems import info as summarise

    summary = summarise(_read(paths, format, key, type_map))
    if as_json:
        typer.echo(json.dumps(summary.as_dict(), ensure_ascii=False))
    else:
        _print_info(summary)


@app.command()
def check(
    paths: Paths,
    format: Format = None,
    key: Key = None,
    type_map: TypeMap = None,
    everything: Annotated[
        bool, typer.Option("--all", help="List every finding, not three of a kind.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look for damage: NaN, wrong shapes and units, copies, outliers, atoms too close.

    Exits with 1 if there are errors, with 0 if there are none (warnings may remain).

    Example: huozi data check train.extxyz
    """
    from huozi.systems import check as run_check
    from huozi.systems.finding import Finding
    from huozi.systems.frame import Dataset

    remedy = "do what it says, or restore the file"
    dataset, findings = Dataset(()), []
    for path in paths:
        try:
            dataset += _read([path], format, key, type_map, validate=False)
        except ValueError as error:
            findings.append(Finding("error", "unreadable", str(error), remedy, path))
    if dataset.frames:
        with _progress("checking") as report:
            findings += run_check(dataset, report)
    errors = sum(f.severity == "error" for f in findings)
    if as_json:
        record = {
            "frames": len(dataset),
            "errors": errors,
            "warnings": len(findings) - errors,
            "findings": [f.as_dict() for f in findings],
            "notes": list(dataset.notes),
        }
        typer.echo(json.dumps(record, ensure_ascii=False))
    else:
        _print_findings(findings, dataset, 10**9 if everything else 3)
    raise typer.Exit(1 if errors else 0)


@app.command()
def convert(
    paths: Paths,
    out: Annotated[
        Path,
        typer.Option(help="NAME.extxyz, NAME.xyz (also .gz), or a folder for deepmd/npy."),
    ],
    format: Format = None,
    to: Annotated[
        str | None,
        typer.Option("--to", help="extxyz or deepmd/npy, if the name does not tell."),
    ] = None,
    key: Key = None,
    type_map: TypeMap = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Read data sets and write them as one, in extxyz or deepmd/npy.

    Example: huozi data convert OUTCAR --out train.extxyz
    """
    dataset = _read(paths, format, key, type_map)
    notes = _write(dataset, out, to, overwrite)
    if as_json:
        record = {"out": str(out), "frames": len(dataset), "notes": [*dataset.notes, *notes]}
        typer.echo(json.dumps(record, ensure_ascii=False))
        return
    for note in (*dataset.notes, *notes):
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"{len(dataset)} frames written to {out}")


@app.command()
def split(
    paths: Paths,
    out: Annotated[Path, typer.Option(help="Folder for the parts and split.json.")],
    fractions: Annotated[
        str, typer.Option(help="Parts for training, validation and test (test may be absent).")
    ] = "0.8,0.1,0.1",
    counts: Annotated[
        str | None, typer.Option(help="Frames of each part instead of fractions, e.g. 200,40,40.")
    ] = None,
    by: Annotated[
        str,
        typer.Option(
            help="frame: at random; group: whole groups; block: contiguous pieces of each "
            "trajectory, so that neighbouring frames do not leak into the test part."
        ),
    ] = "frame",
    group: Annotated[str, typer.Option(help="Key that names the group.")] = "group",
    block: Annotated[
        int | None, typer.Option(help="Frames in a block. [default: a tenth of each trajectory]")
    ] = None,
    gap: Annotated[
        int, typer.Option(min=0, help="Frames left out between blocks of two parts.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    format: Format = None,
    key: Key = None,
    type_map: TypeMap = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Split data in train.extxyz, valid.extxyz and test.extxyz, with the indices in split.json.

    Example: huozi data split md.extxyz --by block --gap 5 --out parts
    """
    from huozi.systems import split as cut

    dataset = _read(paths, format, key, type_map)
    parts = cut(
        dataset,
        _numbers(fractions, float, "--fractions"),
        counts=None if counts is None else _numbers(counts, int, "--counts"),
        by=by,  # type: ignore[arg-type]
        seed=seed,
        group=group,
        block=block,
        gap=gap,
    )
    names = [name for name, indices in parts.indices.items() if indices]
    places = {name: out / f"{name}.extxyz" for name in parts.indices}
    taken = [place for place in places.values() if place.exists()]
    if taken and not overwrite:
        raise ValueError(f"{taken[0]} exists; give --overwrite to replace it")
    read_from = {Path(frame.source.rpartition("#")[0]).resolve() for frame in dataset}
    for place in taken:
        if place.resolve() in read_from:
            raise ValueError(
                f"{place} is read, and would be replaced by a part of itself; choose another "
                "folder with --out"
            )
    # First the record, and no part of an older split stays, whatever happens meanwhile.
    for place in (out / "split.json", *taken):
        place.unlink(missing_ok=True)
    notes = dict.fromkeys(dataset.notes)
    for name in names:
        notes |= dict.fromkeys(_write(dataset[parts.indices[name]], places[name], "extxyz", False))
    parts.save(out / "split.json")
    sizes = {name: len(indices) for name, indices in parts.indices.items()}
    sizes["unused"] = len(parts.unused)
    if as_json:
        record = {"out": str(out), "frames": sizes, "settings": parts.settings}
        typer.echo(json.dumps(record | {"notes": list(notes)}, ensure_ascii=False))
        return
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    for name, size in sizes.items():
        typer.echo(
            f"{name:7} {size:7} frames" + (f"  {out / name}.extxyz" if name in names else "")
        )


def _read(
    paths: Sequence[str],
    format: str | None,
    key: list[str] | None,
    type_map: str | None,
    validate: bool = True,
) -> Dataset:
    from huozi.systems import read

    keys = {}
    for pair in key or []:
        quantity, found, name = pair.partition("=")
        if not found or not name:
            raise ValueError(f"--key takes QUANTITY=KEY, e.g. energy=REF_energy; found {pair!r}")
        keys[quantity] = name
    symbols = None if type_map is None else [s.strip() for s in type_map.split(",")]
    with _progress("reading"):
        return read(list(paths), format=format, type_map=symbols, keys=keys, validate=validate)


def _write(dataset: Dataset, out: Path, to: str | None, overwrite: bool) -> tuple[str, ...]:
    from huozi.systems import write

    try:
        return write(dataset, out, to, overwrite=overwrite)
    except FileExistsError as error:
        raise ValueError(str(error)) from None


def _numbers(text: str, kind: type, option: str) -> list[Any]:
    try:
        return [kind(word) for word in text.split(",")]
    except ValueError:
        raise ValueError(
            f"{option} takes numbers with commas between them, found {text!r}"
        ) from None


@contextmanager
def _progress(title: str) -> Iterator[Any]:
    """Show a bar on standard error while frames are worked on."""
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _print_info(summary: DatasetInfo) -> None:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in _info_rows(summary):
        table.add_row(name, escape(text))
    Console().print(table)


def _info_rows(summary: DatasetInfo) -> Iterator[tuple[str, str]]:
    """Names and values of the table, in the order a reader asks."""
    s = summary
    yield "frames", f"{s.frames:,} with {s.atoms:,} atoms"
    yield "elements", " ".join(s.elements)
    yield "compositions", _counted(s.compositions)
    if s.groups:
        yield "groups", _counted(s.groups)
    smallest, largest = int(s.sizes.min), int(s.sizes.max)
    yield "atoms a frame", str(smallest) if smallest == largest else f"{smallest} to {largest}"
    yield "periodicity", _counted(s.periodicity)
    rows: list[tuple[str, Spread | None, float, str]] = [
        ("density", s.density, 1, "g/cm^3"),
        ("energy", s.energy, 1, "eV/atom"),
        ("energy less E0", s.energy_after_e0, 1000, "meV/atom"),
        ("largest force", s.force_max, 1, "eV/Å"),
        ("pressure", s.pressure, 1, "GPa"),
    ]
    for name, spread, factor, unit in rows:
        yield name, _spread(spread, factor, unit, s.frames)
    yield "forces, rms", "none" if s.force_rms is None else f"{s.force_rms:.4g} eV/Å"
    if s.e0:
        yield "E0", ", ".join(f"{symbol} {value:.6g}" for symbol, value in s.e0.items()) + " eV"
        if s.e0_isolated:
            yield "", f"{', '.join(s.e0_isolated)}: energy of the isolated atom in the data"
        if not s.e0_determined and set(s.e0) - set(s.e0_isolated):
            yield "", "not determined by the compositions: least norm around the mean per atom"
    for note in s.notes:
        yield "note", note


def _counted(counts: dict[str, int], most: int = 8) -> str:
    """Names with numbers of frames, the first few of them."""
    if len(counts) == 1:
        return next(iter(counts))
    shown = [f"{name} ({count})" for name, count in list(counts.items())[:most]]
    rest = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def _spread(spread: Spread | None, factor: float, unit: str, frames: int) -> str:
    if spread is None:
        return "none"
    mean, std, low, high = (
        f"{factor * v:.4f}" if abs(factor * v) < 1e5 else f"{factor * v:.4e}"
        for v in (spread.mean, spread.std, spread.min, spread.max)
    )
    some = "" if spread.frames == frames else f", in {spread.frames} of {frames} frames"
    if low == high:
        return f"{mean} {unit}{some}"
    return f"mean {mean}, std {std}, {low} to {high} {unit}{some}"


def _print_findings(findings: list[Finding], dataset: Dataset, most: int) -> None:
    """Print findings by kind, a few of each."""
    console = Console(highlight=False)
    for note in dataset.notes:
        console.print(f"[dim]note: {escape(note)}[/]", soft_wrap=True)
    kinds: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        kinds.setdefault((finding.severity, finding.code), []).append(finding)
    for (severity, code), members in kinds.items():
        colour = "red" if severity == "error" else "yellow"
        count = f" ({len(members)})" if len(members) > 1 else ""
        console.print(f"[bold {colour}]{severity}[/] [bold]{code}[/]{count}")
        for finding in members[:most]:
            told = not finding.source or finding.message.startswith(finding.source)
            place = "" if told else f"{finding.source}: "
            console.print(f"  {escape(place + finding.message)}", soft_wrap=True)
        if len(members) > most:
            console.print(f"  ... and {len(members) - most} more (--all lists them)")
        console.print(f"  [dim]remedy:[/] {escape(members[0].remedy)}", soft_wrap=True)
    errors = sum(f.severity == "error" for f in findings)
    warnings = len(findings) - errors
    verdict = f"{errors} errors, {warnings} warnings" if findings else "nothing suspicious found"
    console.print(f"{len(dataset):,} frames checked: {verdict}")
