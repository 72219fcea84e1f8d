"""``huozi demo``: from quantum mechanics to observables, in one command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("demo")(demo_command)


def demo_command(
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="Labelled frames of your own instead of the embedded water; a fifth is kept for "
            "testing. Repeatable.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the demo; run again to resume.")] = Path(
        "demo-run"
    ),
    train_budget: Annotated[str, typer.Option(help="Wall time of the training.")] = "5min",
    picoseconds: Annotated[
        float, typer.Option(help="Length of the simulation after equilibration, ps.")
    ] = 10.0,
    temperature: Annotated[float, typer.Option(help="Temperature of the simulation, K.")] = 300.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Learn water from quantum mechanics, let it move, and report: the founding experiment.

    Trains a deep potential on labelled frames, tests it on others, simulates at constant
    temperature and at constant energy, computes structure, diffusion and vibrations beside the
    reference, and writes OUT/report.html. Ten minutes on two cores; interrupted at any time, the
    same command goes on.

    Example: huozi demo --data my_frames.extxyz --temperature 500 --out my-demo
    """
    from huozi.cli.progress import training_display
    from huozi.demo import DemoConfig, Display, run_demo
    from huozi.dynamics import md_progress_bar

    config = DemoConfig(
        train_budget=train_budget,
        picoseconds=picoseconds,
        temperature=temperature,
    )
    display = Display(lambda line: typer.echo(line, err=as_json), training_display, md_progress_bar)
    result = run_demo(out, data, config, display)
    if as_json:
        typer.echo(json.dumps(result.numbers, ensure_ascii=False))
