"""``huozi functional``: learn a density functional from accurate energies and forces."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from huozi.files import without_nan

app = typer.Typer(
    help="Learn a density functional from coupled cluster; use it as a PySCF method.",
    no_args_is_help=True,
)

Data = Annotated[
    list[str], typer.Argument(help="deepks folders (or folders of them), extxyz files.")
]
Config = Annotated[
    Path | None, typer.Option(help="YAML or JSON file of settings; see docs/functional.md.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Processes = Annotated[int | None, typer.Option(help="Fields at a time. [default: all cores]")]


@app.command()
def iterate(
    data: Data,
    out: Annotated[Path, typer.Option(help="Run folder; run again to resume.")],
    valid: Annotated[
        list[str] | None, typer.Option(help="Data to compare with after each iteration.")
    ] = None,
    config: Config = None,
    base: Annotated[
        str | None, typer.Option(help="Base method: hf, pbe, ... [default: hf]")
    ] = None,
    orbitals: Annotated[str | None, typer.Option(help="Basis. [default: cc-pvdz]")] = None,
    iterations: Annotated[int | None, typer.Option(help="Fits at most. [default: 4]")] = None,
    processes: Processes = None,
    as_json: AsJson = False,
) -> None:
    """Fields with the functional, its fit, fields again, ... until held-out frames gain no more.

    The best functional is left as OUT/model.safetensors; statistics of each iteration in
    OUT/iterations. An interrupted run continues when the same command is given again.

    Example: huozi functional iterate train.n1 train.n2 train.n3 --out water
    """
    from huozi.functional.data import read_references
    from huozi.functional.iterate import IterateConfig
    from huozi.functional.iterate import iterate as run
    from huozi.workflow import read_settings

    given = {
        "base": base,
        "orbitals": orbitals,
        "iterations": iterations,
        "processes": processes,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    settings = read_settings(IterateConfig, config, chosen)
    frames = read_references(data)
    held_out = read_references(valid) if valid else []
    course: list[dict[str, Any]] = []
    with _display(course) as report:
        model = run(frames, out, settings, held_out, report)
    best = next(e for e in course if e["iteration"] == model.metadata["iteration"])
    if as_json:
        typer.echo(json.dumps(without_nan({"model": str(out / "model.safetensors"), **best})))
    else:
        typer.echo(f"model: {out / 'model.safetensors'} (iteration {best['iteration']})")


@app.command("test")
def compare(
    model: Annotated[Path, typer.Argument(help="Model file, or the run folder that holds it.")],
    data: Data,
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder of finished fields. [default: fields, beside the model]"),
    ] = None,
    processes: Processes = None,
    as_json: AsJson = False,
) -> None:
    """Compare self-consistent energies and forces of a functional with references.

    Example: huozi functional test water tetramers.extxyz --json
    """
    from huozi.functional import load_model
    from huozi.functional.data import read_references
    from huozi.functional.iterate import evaluate

    functional, frames = load_model(model), read_references(data)
    folder = cache or (model if model.is_dir() else model.parent) / "fields"
    with _display([]) as report:
        found = evaluate(functional, frames, folder, processes, report)
    _print(found.to_dict(), as_json)


@app.command()
def scf(
    model: Annotated[Path, typer.Argument(help="Model file, or the run folder that holds it.")],
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for the fields, one file a frame.")],
    processes: Processes = None,
    as_json: AsJson = False,
) -> None:
    """Self-consistent fields of all frames with a functional, kept for `train`.

    Prints their errors, as `test` does. Fields of the base method alone are computed by `train`.

    Example: huozi functional scf first.safetensors train.n1 --out fields
    """
    compare(model, data, out, processes, as_json)
    if not as_json:
        typer.echo(f"fields: {out}")


@app.command()
def train(
    data: Data,
    fields: Annotated[
        Path, typer.Option(help="Folder of finished fields; those that lack are computed first.")
    ],
    out: Annotated[Path, typer.Option(help="File of the new model.")],
    start: Annotated[
        Path | None,
        typer.Option(help="The model of the fields; without it they are of the base method."),
    ] = None,
    config: Config = None,
    processes: Processes = None,
) -> None:
    """Fit a functional once, to fields of the base method or of another functional.

    `iterate` does all of it and judges the models; this is one step.

    With --start first.safetensors, the second fit is made at the fields of the first.

    Example: huozi functional train train.n1 --fields fields --out first.safetensors
    """
    import numpy as np

    from huozi.functional import load_model
    from huozi.functional.data import check_labels, read_references
    from huozi.functional.iterate import (
        IterateConfig,
        compute_samples,
        described,
        fit_samples,
        start_model,
    )
    from huozi.functional.samples import Sample
    from huozi.workflow import read_settings

    given = {} if processes is None else {"processes": processes}
    settings = read_settings(IterateConfig, config, given)
    frames = read_references(data)
    if out.is_dir():
        raise ValueError(f"{out} is a folder; --out takes the file of the new model")
    model = load_model(start) if start else start_model(frames, settings)
    settings = settings.model_copy(update={"orbitals": model.orbital_name})
    with _display([]) as report:
        places = compute_samples(frames, model, settings, fields, None, report)
    samples = [Sample.load(p) for p in places]
    good = [i for i, sample in enumerate(samples) if sample.converged]
    energies = np.array([samples[i].energy - samples[i].delta for i in good])
    check_labels([frames[i] for i in good], energies, [samples[i].forces for i in good])
    iteration = model.metadata.get("iteration", 0) + 1
    fitted = fit_samples(frames, samples, model, settings.fit)
    described(fitted, iteration, frames, settings.fit).save(out)
    used = sum(s.converged for s in samples)
    typer.echo(f"model: {out} (fitted to {used} of {len(frames)} fields, those that converged)")
    typer.echo(f"its errors: huozi functional test {out} DATA")


@app.command()
def stats(
    run: Annotated[Path, typer.Argument(help="Run folder of `iterate`.")],
    as_json: AsJson = False,
) -> None:
    """Convergence and errors of each iteration.

    Example: huozi functional stats water
    """
    files = sorted((run / "iterations").glob("*.json"), key=lambda p: int(p.stem))
    if not files:
        raise FileNotFoundError(
            f"no iterations in {run}; is it a run of `huozi functional iterate`?"
        )
    events = [json.loads(p.read_text(encoding="utf-8")) for p in files]
    if as_json:
        typer.echo(json.dumps(without_nan({"iterations": events})))
        return
    for event in events:
        typer.echo(_line(event))


def _print(values: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(without_nan(values)))
    else:
        typer.echo(_line(values))


def _line(values: dict[str, Any]) -> str:
    force = values["force_rmse_mHa_per_A"]
    held_out = values.get("held_out_kcal_per_mol_per_heavy_atom")
    return (
        (f"iteration {values['iteration']}: " if "iteration" in values else "")
        + f"{values['converged']} of {values['frames']} fields converged in {values['cycles']} "
        + f"cycles; energy MAE {values['energy_mae_kcal_per_mol']:.3f} kcal/mol"
        + ("" if force is None else f", force RMSE {force:.2f} mHa/Å")
        + ("" if held_out is None else f"; held-out {held_out:.3f} kcal/mol per heavy atom")
    )


@contextmanager
def _display(course: list[dict[str, Any]]) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Show a bar of the fields and a line for each iteration, on standard error."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("[bold]fields"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("fields", total=None)

        def report(event: dict[str, Any]) -> None:
            if event["event"] == "fields":
                progress.update(task, completed=event["done"], total=event["total"])
            elif event["event"] == "iteration":
                course.append(event)
                progress.console.print(_line(event))
                if "valid" in event:
                    progress.console.print(f"  validation: {_line(event['valid'])}")
            elif event["event"] == "kept":
                progress.console.print(
                    f"the next fit is not clearly better on held-out frames: iteration "
                    f"{event['iteration']} is kept"
                )
            elif event["event"] == "base":
                progress.console.print(
                    f"no fit improved on {event['base']}: the model left is {event['base']} itself "
                    "(zero correction); check the labels, or give more frames"
                )
            else:
                progress.console.print(
                    f"iteration {event['iteration']} made the fields worse: back to the best "
                    f"model, pull weight {event['pull_weight']:g}"
                )

        yield report
