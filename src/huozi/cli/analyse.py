"""``huozi analyse``: observables of a run with error bars."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("analyse")(analyse_command)


def analyse_command(
    run: Annotated[
        Path, typer.Argument(help="Folder written by `huozi md`, or any trajectory ASE reads.")
    ],
    reference: Annotated[
        list[Path] | None,
        typer.Option(help="Data set whose structure is shown beside the run's. Repeatable."),
    ] = None,
    pair: Annotated[
        list[str] | None,
        typer.Option(help="Pair of elements for g(r), e.g. O-H. Repeatable; all by default."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the results.  [default: RUN/analysis]", show_default=False),
    ] = None,
    skip: Annotated[
        float, typer.Option(min=0, help="Leave out the first part as equilibration, ps.")
    ] = 0.0,
    time_step: Annotated[
        float | None,
        typer.Option(help="Time between the frames of a file that does not know it, fs."),
    ] = None,
    r_max: Annotated[
        float | None,
        typer.Option(help="Largest distance of g(r), Å.  [default: half the cell, 6 to 10]"),
    ] = None,
    viscosity: Annotated[
        float | None,
        typer.Option(help="Viscosity of the model, mPa s, to correct diffusion for the box."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Compute observables of a run: structure, diffusion, vibrations, averages.

    Averages have standard errors, from blocks. Writes analysis.json, the figures
    (SVG and PNG) and a self-contained report.html.

    Example: `huozi analyse run --reference data/test --pair O-O --pair O-H --skip 1`
    """
    from huozi.dynamics.observables import analyse, write_analysis
    from huozi.dynamics.observables.analysis_page import summary_rows
    from huozi.files import without_nan

    pairs = [split_pair(text) for text in pair or []]
    folder = out or (run / "analysis" if run.is_dir() else run.parent / f"{run.stem}-analysis")
    with Console(stderr=True).status("Averaging over the run"):
        analysis = analyse(
            run,
            reference or None,
            pairs or None,
            time_step=time_step,
            skip=skip,
            r_max=r_max,
            viscosity=viscosity,
        )
        written = write_analysis(analysis, folder, [shlex.join(["huozi", *sys.argv[1:]])])
    if as_json:
        typer.echo(json.dumps(without_nan(analysis.numbers), ensure_ascii=False))
        return
    for label, value in summary_rows(analysis):
        typer.echo(f"{label:<58}{value}")
    for name, entry in analysis.numbers.get("radial_distribution", {}).items():
        if "deviation" in entry:
            gap = entry["deviation"]
            typer.echo(
                f"{f'g(r) {name}, largest deviation from the reference':<58}"
                f"{gap['largest']:.3f} ± {gap['error']:.3f} at {gap['r_A']:.2f} Å"
            )
    for note in analysis.notes:
        typer.echo(note)
    typer.echo(f"Report: {written[-1]}")


def split_pair(text: str) -> tuple[str, str]:
    """Read ``O-H`` as ("O", "H").

    Raises
    ------
    ValueError
        If the text is not two chemical symbols.
    """
    first, _, second = text.partition("-")
    if not first or not second or "-" in second:
        raise ValueError(f"--pair takes two chemical symbols such as O-H; found {text!r}")
    return first, second
