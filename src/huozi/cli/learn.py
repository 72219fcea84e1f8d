"""``huozi learn`` and the verbs that look into its runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

JSON = typer.Option("--json", help="Print one JSON object.")


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    for verb in (learn, runs, status, explain, retry):
        app.command()(verb)


def learn(
    config: Annotated[Path, typer.Argument(help="Settings (YAML); see docs/learning.md.")],
    out: Annotated[Path, typer.Option(help="Run folder; run again to resume.")] = Path("learn-run"),
    workers: Annotated[int | None, typer.Option(min=1, help="Tasks at the same time.")] = None,
    executor: Annotated[str | None, typer.Option(help="local or parsl.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything and estimate the cost.")
    ] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Learn a potential from first principles: explore, select, label, retrain.

    OUT holds the data set, the model, report.html (after each iteration) and every task. Killed at
    any time, the same command goes on; nothing that had finished is done again.

    Example: huozi learn learn.yaml --out water
    """
    from huozi.cli.label import stage_display
    from huozi.learning import LearnSettings, estimate
    from huozi.learning import learn as run

    given = {"workers": workers, "executor": executor}
    stored = stored_settings(config)
    settings = LearnSettings.read(
        None if stored is not None else config,
        {**(stored or {}), **{k: v for k, v in given.items() if v is not None}},
    )
    if dry_run:
        _print_estimate(estimate(settings), as_json)
        return
    with stage_display() as report:
        result = run(settings, out, report)
    if as_json:
        typer.echo(json.dumps({"run": str(out), **result.results}))
        return
    final = result.results["final"]
    typer.echo(result.results["verdict"])
    typer.echo(
        f"{result.results['training_frames']} labelled frames; force error on "
        f"{final['frames']} control frames {final['force_rmse_mev_per_A']:.1f} meV/Å"
    )
    for failure in result.results["failed_labels"]:
        typer.echo(f"no label: {failure['frame']}: {failure['reason']}")
    typer.echo(
        f"model: {out / 'model.safetensors'}; with deviations: {out / 'ensemble.safetensors'}; "
        f"report: {out / 'report.html'}"
    )


def stored_settings(path: Path) -> dict[str, Any] | None:
    """Return the settings in the ``config.yaml`` of an earlier run, without its verb."""
    import yaml

    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict) or values.get("verb") != "learn":
        return None
    return {k: v for k, v in values.items() if k != "verb"}


def runs(
    root: Annotated[Path, typer.Argument(help="Where to look.")] = Path("."),
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """List the runs in a folder and its subfolders, the latest first."""
    from huozi.learning import find_runs

    found = find_runs(root)
    if as_json:
        typer.echo(json.dumps({"runs": found}))
        return
    for run in found:
        age = "" if run["seconds_ago"] is None else f", {run['seconds_ago']} s ago"
        typer.echo(f"{run['run']:<32} {run['verb']:<8} {run['last_event']}{age}")


def status(
    run: Annotated[Path, typer.Argument(help="Run folder of `huozi learn` or `huozi label`.")],
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Say what a run has done, what failed and why, and what it cost.

    Example: huozi status water
    """
    from huozi.learning import status as look

    found = look(run)
    if as_json:
        typer.echo(json.dumps(found))
        return
    ended = "finished" if found["finished"] else f"at {found['stage']}"
    typer.echo(
        f"{run}: {ended}; {found['tasks_done']} tasks done, {len(found['tasks_failed'])} failed, "
        f"{found['tasks_in_hand']} in hand"
    )
    if found["doing"] is not None:
        doing, seconds = found["doing"], found["doing"]["seconds_left"]
        left = "" if seconds is None else f", about {seconds / 60:.0f} min left"
        typer.echo(f"{found['stage']}: {doing['done']} of {doing['tasks']} tasks{left}")
    for record in found["iterations"]:
        error = record["control_force_rmse_mev_per_A"]
        typer.echo(
            f"iteration {record['iteration']}: {record['training_frames']} frames, "
            f"{record['fractions']['accurate']:.1%} accurate, {record['selected']} selected, "
            f"control error {'–' if error is None else f'{error:.1f} meV/Å'}"
        )
    for kind, cost in found["cost"].items():
        typer.echo(f"{kind}: {cost['tasks']} tasks, {cost['cpu_hours']:.3f} processor hours")
    for failure in found["tasks_failed"]:
        typer.echo(f"failed: {failure['task']}: {failure['reason']}")


def explain(
    run: Annotated[Path, typer.Argument(help="Run folder of `huozi learn`.")],
    frame: Annotated[str, typer.Argument(help="Name of a frame, or its beginning: i02w013#7.")],
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Say why a frame was or was not labelled.

    Example: huozi explain water i02w013#7
    """
    from huozi.learning import explain as look

    found = look(run, frame)
    if as_json:
        typer.echo(json.dumps({"frames": found}))
        return
    for decision in found:
        chosen = ", selected" if decision["selected"] else ""
        typer.echo(f"{decision['frame']}: {decision['verdict']}{chosen}; {decision['reason']}")


def retry(
    run: Annotated[Path, typer.Argument(help="Run folder of `huozi learn` or `huozi label`.")],
    failed: Annotated[bool, typer.Option("--failed", help="All tasks that failed.")] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Forget tasks that failed, so that the next run tries them again.

    Something should have changed: a setting, a program, the machine. Labels that come out now may
    change what a learning run selects from there on.

    Example: huozi retry water --failed
    """
    from huozi.learning import open_run
    from huozi.workflow import clear_failed

    if not failed:
        raise ValueError("say which tasks: --failed for all that failed")
    found = clear_failed(open_run(run))
    if as_json:
        typer.echo(json.dumps({"forgotten": [o.key for o in found]}))
        return
    for outcome in found:
        typer.echo(f"forgotten: {outcome.key}: {outcome.reason}")
    typer.echo(f"{len(found)} tasks will be tried again")


def _print_estimate(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found))
        return
    seconds = found["seconds_at_most"]
    structures = f"{found['structures']} structures of {found['atoms']:.0f} atoms"
    typer.echo(f"{structures}, {found['walkers']} walkers")
    typer.echo(
        f"at most {found['labels_at_most']} labels by {found['code']}, "
        f"{found['seconds_a_label']:.2f} s each: {seconds['labels'] / 3600:.2f} h"
    )
    typer.echo(
        f"at most {found['steps_at_most']:,} steps of dynamics, about "
        f"{seconds['exploration'] / 3600:.2f} h"
    )
    training = seconds["training"]
    text = "by steps, not known" if training is None else f"{training / 3600:.2f} h"
    typer.echo(f"at most {found['trainings_at_most']} trainings: {text}")
    typer.echo(f"wall time at most about {found['wall_hours_at_most']:.2f} h")
