"""``huozi train``, ``test``, ``ensemble`` and ``convert``."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

if TYPE_CHECKING:
    from huozi.systems import Frame

DATA_HELP = "Files or folders: extxyz, deepmd/npy, ASE databases, ..."


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    app.command()(train)
    app.command("test")(compare)
    app.command()(ensemble)
    app.command()(convert)


def train(
    data: Annotated[
        list[str],
        typer.Argument(help=f"{DATA_HELP} Or the input.json of deepmd-kit, which names its data."),
    ],
    out: Annotated[Path, typer.Option(help="Run folder; run again to resume.")] = Path("run"),
    valid: Annotated[
        list[str] | None,
        typer.Option(help="Validation data; without it 5 % of the frames are held out."),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Wall time of the run: 90s, 5min, 1h. [default: 5min]")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Train this many steps instead of filling a budget.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed. [default: 0]")] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="YAML or JSON file of settings, as in the config.yaml of a run."),
    ] = None,
    trunk: Annotated[
        Path | None,
        typer.Option(
            help="Keep this model but for its last hidden layer: a cheap further member of an "
            "ensemble, or fine-tuning."
        ),
    ] = None,
    devices: Annotated[
        int | None, typer.Option(help="Devices that share each batch. [default: 1]")
    ] = None,
    join: Annotated[
        str | None,
        typer.Option(
            help="Train with other processes: auto (Slurm, Open MPI), or HOST:PORT,INDEX/COUNT. "
            "Give all of them the same command."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train a deep potential on your data.

    The model at the end (of a run cut short, the best) is left as OUT/model.safetensors, the
    settings as config.yaml, the course of the training as events.jsonl. An interrupted run
    continues where it was when the same command is given again.

    Example: huozi train water.extxyz --budget 5min --out water
    """
    from huozi.cli.progress import training_display
    from huozi.potential import TrainConfig
    from huozi.potential import train as run
    from huozi.potential.deepmd_input import is_deepmd_input, read_deepmd_input
    from huozi.potential.parallel import is_first, join_processes
    from huozi.systems import read

    if join is not None:
        join_processes(join)
    given = {
        "budget": budget,
        "steps": steps,
        "seed": seed,
        "trunk": trunk,
        "devices": devices,
    }
    overrides: dict[str, Any] = {n: value for n, value in given.items() if value is not None}
    if budget is not None:
        if steps is not None:
            raise ValueError("--budget and --steps contradict each other; give one of them")
        overrides["steps"] = None  # those of a file of settings
    held_out = None
    if len(data) == 1 and is_deepmd_input(data[0]):
        if config is not None:
            raise ValueError(f"{data[0]} holds settings itself; give options, but no --config")
        settings, dataset, held_out, ignored = read_deepmd_input(data[0], overrides)
        typer.echo(f"{data[0]}: read; without a counterpart here, and ignored:", err=True)
        typer.echo("\n".join(f"  {line}" for line in ignored) or "  nothing", err=True)
    else:
        settings = TrainConfig.read(config, overrides)
        dataset = read(data)
    held_out = read(valid) if valid else held_out
    if is_first():
        notes = [*dataset.notes, *(held_out.notes if held_out else ())]
        if not as_json:
            _print_notes(notes)
        with training_display() as report:
            result = run(dataset, out, settings, held_out, report)
    else:
        run(dataset, out, settings, held_out)
        return
    errors = result.metrics.to_dict()
    summary = {
        "model": str(result.path / "model.safetensors"),
        "steps": result.steps,
        "seconds": round(result.seconds, 1),
        "validation": errors,
        "notes": notes,
    }
    if as_json:
        typer.echo(json.dumps(summary))
        return
    _print_metrics(errors, "validation frames")
    typer.echo(f"{result.steps} steps in {result.seconds:.0f} s; model: {summary['model']}")


def compare(
    model: Annotated[Path, typer.Argument(help="Model file, or the run folder that holds it.")],
    data: Annotated[list[str], typer.Argument(help=DATA_HELP)],
    plots: Annotated[
        Path | None,
        typer.Option(help="Folder for plots (PNG): parity, and calibration of an ensemble."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare a model with labelled frames: errors, worst frames, parity plots.

    For an ensemble (`huozi ensemble`) also what the deviation of its members says of the error of
    the forces; the frames must be new to all of them.

    Example: huozi test water held_out.extxyz --plots parity
    """
    from huozi.potential import calibrate, evaluate, load_ensemble
    from huozi.systems import read
    from huozi.systems.keys import convert_hint

    models, frames = load_ensemble(model), read(data)
    if not as_json:
        _print_notes(frames.notes)
    if not any(_has_label(frame) for frame in frames):
        raise ValueError(
            f"{', '.join(data)}: no frame has an energy, forces or a virial, so there is nothing "
            "to compare the model with; if the labels have unusual keys, run "
            + convert_hint(data[0], "--key energy=KEY --key forces=KEY")
        )
    calibration = None
    if len(models.members) > 1 and any(f.labels.forces is not None for f in frames):
        metrics, calibration = calibrate(models, frames)
    else:
        metrics = evaluate(models.members[0], frames)
    if plots is not None:
        _write_plots(metrics, calibration, plots)
    numbers = metrics.to_dict()
    if calibration is not None:
        numbers["calibration"] = calibration.to_dict()
    if as_json:
        typer.echo(json.dumps(numbers))
        return
    _print_metrics(numbers, "frames")
    if calibration is not None:
        _print_calibration(calibration)


def ensemble(
    models: Annotated[
        list[Path], typer.Argument(help="Model files or run folders; the first moves the atoms.")
    ],
    out: Annotated[Path, typer.Option(help="Model file to write.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Join models that were trained with different seeds in one file.

    Where a model is read, the file is its first model; `huozi test`, `huozi md` and LAMMPS also
    report how far all of them differ. See docs/ensembles.md.

    Example: huozi ensemble seed0 seed1 seed2 --out water.safetensors
    """
    from huozi.potential import Ensemble, load_ensemble

    _refuse_existing(out)
    if len(models) < 2:
        raise ValueError("an ensemble needs two models or more")
    joined = Ensemble(tuple(m for path in models for m in load_ensemble(path).members))
    joined.save(out)
    summary = {
        "model": str(out),
        "members": len(joined.members),
        "elements": list(joined.symbols),
        "cutoff_A": joined.cutoff,
    }
    if as_json:
        typer.echo(json.dumps(summary, ensure_ascii=False))
        return
    typer.echo(
        f"{out}: {len(joined.members)} models, {' '.join(joined.symbols)}, cutoff {joined.cutoff} Å"
    )


def convert(
    model: Annotated[
        Path,
        typer.Argument(help="Model of deepmd-kit: .pth, .pb, .dp, .yaml; others need `dp`."),
    ],
    out: Annotated[Path, typer.Argument(help="Model file to write.")],
    single: Annotated[
        bool, typer.Option("--float32", help="Compute in float32 instead of float64.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Turn a model of deepmd-kit into a model of Huozi; see docs/deepmd.md.

    Example: huozi convert frozen.pth model.safetensors
    """
    from huozi.potential.deepmd_convert import convert as read
    from huozi.potential.deeppot_kernel import refusal, table_error
    from huozi.potential.deeppot_settings import DeepPotConfig

    _refuse_existing(out)
    converted = read(model).astype("float32" if single else "float64")
    converted.save(out)
    kinds = [part["name"] for part in converted.config.model_dump()["descriptors"]]
    config = cast(DeepPotConfig, converted.config)
    refused = refusal(config, converted.params)
    table = table_error(config, converted.params)
    summary = {
        "model": str(out),
        "descriptors": kinds,
        "elements": list(converted.symbols),
        "cutoff_A": converted.cutoff,
        "isolated_atom_eV": dict(zip(converted.symbols, map(float, converted.e0), strict=True)),
        "kernel": refused or "runs",
        "table_error_eV": table,
    }
    if as_json:
        typer.echo(json.dumps(summary, ensure_ascii=False))
        return
    typer.echo(
        f"{out}: {' + '.join(kinds)}, {' '.join(converted.symbols)}, cutoff {converted.cutoff} Å"
    )
    if table is None:
        typer.echo(f"{refused}; JAX runs it")
    else:
        typer.echo(
            "the compiled kernel and LAMMPS run it from a table of the embedding, whose largest "
            f"error in the energy of a pair is {table:.1e} eV"
            + ("" if single else "; convert with --float32, the precision in which they compute")
        )


def _print_notes(notes: Sequence[str]) -> None:
    """Print what the readers decided; standard output is for results."""
    for note in notes:
        typer.echo(f"note: {note}", err=True)


def _has_label(frame: Frame) -> bool:
    labels = frame.labels
    return any(label is not None for label in (labels.energy, labels.forces, labels.virial))


def _print_metrics(values: dict[str, Any], frames: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{values['frames']} {frames}, {values['atoms']} atoms", title_style="bold")
    table.add_column("error")
    table.add_column("RMSE", justify="right")
    table.add_column("MAE", justify="right")
    for name, unit, key in (
        ("energy", "meV/atom", "energy_{}_mev_per_atom"),
        ("forces", "meV/Å", "force_{}_mev_per_A"),
        ("virial", "meV/atom", "virial_{}_mev_per_atom"),
    ):
        rmse, mae = (values.get(key.format(kind)) for kind in ("rmse", "mae"))
        if rmse is not None:
            table.add_row(f"{name}, {unit}", f"{rmse:.3f}", "" if mae is None else f"{mae:.3f}")
    for symbol, rmse in values["force_rmse_by_element_mev_per_A"].items():
        table.add_row(f"  forces on {symbol}, meV/Å", f"{rmse:.3f}", "")
    console = Console()
    console.print(table)
    worst = values["worst_frames"][0]
    if "force_rmse_mev_per_A" in worst:
        typer.echo(
            f"worst frame: {worst['frame']}, forces {worst['force_rmse_mev_per_A']:.1f} meV/Å"
        )


def _refuse_existing(out: Path) -> None:
    if out.exists():
        raise ValueError(f"{out} exists; choose another name, or remove it")


def _print_calibration(found: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"forces of {found.members} models, meV/Å", title_style="bold")
    for name in ("atoms", "deviation", "scaled", "real error"):
        table.add_column(name, justify="right")
    for b in found.bins:
        values = (b.deviation_mev_per_A, found.scale * b.deviation_mev_per_A, b.error_mev_per_A)
        table.add_row(str(b.atoms), *(f"{value:.1f}" for value in values))
    console = Console()
    console.print(table)
    error = f" ± {found.scale_error:.2f}" if math.isfinite(found.scale_error) else ""
    console.print(
        f"mean deviation {found.deviation_mev_per_A:.1f} meV/Å; expected error = "
        f"({found.scale:.2f}{error}) × deviation"
    )


def _write_plots(metrics: Any, calibration: Any, folder: Path) -> None:
    from huozi.report.embed import figure_png
    from huozi.report.plots import calibration_curve, parity_energies, parity_forces

    folder.mkdir(parents=True, exist_ok=True)
    parity = metrics.parity
    if parity.energy.size:
        (folder / "energy.png").write_bytes(figure_png(parity_energies(*parity.energy)))
    if parity.forces.size:
        (folder / "forces.png").write_bytes(figure_png(parity_forces(*parity.forces)))
    if calibration is not None:
        figure = calibration_curve(
            [b.deviation_mev_per_A for b in calibration.bins],
            [b.error_mev_per_A for b in calibration.bins],
            calibration.scale,
        )
        (folder / "deviation.png").write_bytes(figure_png(figure))
