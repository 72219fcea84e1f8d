"""Live display of a training run, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


@contextmanager
def training_display() -> Iterator[Callable[[dict[str, Any]], None]]:
    """Show a bar with the step, the errors on the validation frames and the time left."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[errors]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    ) as progress:
        task = progress.add_task("preparing", total=1.0, errors="")

        def report(event: dict[str, Any]) -> None:
            if event["event"] == "resume":
                progress.console.print(f"resuming after step {event['step']}")
                return
            validated = event["event"] == "validation"
            fields: dict[str, Any] = {"errors": _errors(event)} if validated else {}
            progress.update(
                task, completed=event["done"], description=f"step {event['step']:,}", **fields
            )

        yield report


def _errors(event: dict[str, Any]) -> str:
    parts = []
    for name, key, unit in (
        ("F", "force_rmse_mev_per_A", "meV/Å"),
        ("E", "energy_rmse_mev_per_atom", "meV/atom"),
    ):
        if event.get(key) is not None:
            parts.append(f"{name} {event[key]:.3g} {unit}")
    return "  ".join(parts)
