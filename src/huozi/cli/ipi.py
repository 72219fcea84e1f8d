"""``huozi ipi``: serve forces to i-PI."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from huozi.cli.md import MODEL_HELP, STRUCTURE_HELP, read_structure


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command()(ipi)


def ipi(
    model: Annotated[Path, typer.Argument(help=MODEL_HELP)],
    structure: Annotated[
        str,
        typer.Argument(help=f"{STRUCTURE_HELP} Its elements, in i-PI's order, are what counts."),
    ],
    socket: Annotated[
        str | None, typer.Option(help="UNIX socket: the address in i-PI's input, mode='unix'.")
    ] = None,
    host: Annotated[str, typer.Option(help="Without --socket: where i-PI runs.")] = "localhost",
    port: Annotated[int, typer.Option(help="Without --socket: i-PI's port.")] = 31415,
    patience: Annotated[float, typer.Option(help="Seconds to wait for i-PI.")] = 60.0,
    open_system: Annotated[
        bool,
        typer.Option("--open", help="A molecule alone: i-PI's cell does not repeat."),
    ] = False,
) -> None:
    """Serve energies and forces to i-PI, which then moves the atoms (path integrals and more).

    Start i-PI first; several drivers share the beads of a path. The cell that i-PI sends repeats
    unless --open is given. See docs/ipi.md.

    Example: huozi ipi water start.extxyz --socket water
    """
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from huozi.dynamics import serve_forces
    from huozi.potential import load_model

    force_field, atoms = load_model(model), read_structure(structure)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.completed:,.0f} evaluations"),
        TimeElapsedColumn(),
    )
    with Progress(*columns) as display:
        task = display.add_task("")

        def report(count: int) -> None:
            display.update(task, completed=count)

        count = serve_forces(
            force_field, atoms, socket, host, port, patience, report, not open_system
        )
    typer.echo(f"i-PI is done after {count} evaluations")
