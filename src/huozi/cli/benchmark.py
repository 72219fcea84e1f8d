"""``huozi benchmark``: what a model costs on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from huozi.cli.md import JSON_HELP, MODEL_HELP, STRUCTURE_HELP, read_structure


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command()(benchmark)


def benchmark(
    model: Annotated[Path, typer.Argument(help=MODEL_HELP)],
    structure: Annotated[
        str | None, typer.Argument(help=f"{STRUCTURE_HELP} Without it, liquid water.")
    ] = None,
    atoms: Annotated[
        int, typer.Option(min=1, help="Repeat the structure to at least so many atoms.")
    ] = 12288,
    engine: Annotated[
        list[str] | None,
        typer.Option(help="kernel, xla or lammps; may be repeated. [default: all installed]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """Time molecular dynamics with a model, engine by engine, on all threads.

    Example: huozi benchmark water/model.safetensors start.extxyz --atoms 12288
    """
    from huozi.benchmark import ENGINES, replicate, water
    from huozi.benchmark import benchmark as run

    unknown = set(engine or ()) - set(ENGINES)
    if unknown:
        raise ValueError(f"unknown engine {unknown.pop()}; expected one of {', '.join(ENGINES)}")
    box = replicate(read_structure(structure) if structure else water(), atoms)
    rows = [speed.to_dict() for speed in run(model, box, tuple(engine) if engine else None)]
    if as_json:
        typer.echo(json.dumps({"engines": rows}))
    else:
        _print(rows)


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{rows[0]['atoms']} atoms, steps of 0.5 fs", title_style="bold")
    table.add_column("engine")
    for name in ("µs/atom/step", "ns/day", "memory, MB", "of peak"):
        table.add_column(name, justify="right")
    for row in rows:
        fraction = row["fraction_of_peak"]
        table.add_row(
            row["engine"],
            f"{row['us_per_atom_step']:.2f}",
            f"{row['ns_per_day']:.3g}",
            f"{row['peak_memory_MB']:.0f}",
            "" if fraction is None else f"{100 * fraction:.0f} %",
        )
    Console().print(table)
