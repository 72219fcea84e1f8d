"""What a running simulation says of itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_CHUNK_SECONDS = 0.5


class MDProgress(NamedTuple):
    """State of a run.

    Parameters
    ----------
    step, steps : int
        Steps done and wanted.
    temperature : float
        K.
    ns_per_day : float
        Speed since the last report.
    """

    step: int
    steps: int
    temperature: float
    ns_per_day: float


@contextmanager
def md_progress_bar() -> Iterator[Callable[[MDProgress], None]]:
    """Show a progress bar on stderr while the block runs; pass what it yields to `run_md`."""
    columns = (
        TextColumn("molecular dynamics"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[temperature]:.0f} K  {task.fields[speed]:.3g} ns/day"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=Console(stderr=True))
    task = bar.add_task("md", total=None, temperature=0.0, speed=0.0)

    def report(now: MDProgress) -> None:
        bar.start()  # not before: an error of the input shows no bar
        bar.update(
            task,
            completed=now.step,
            total=now.steps,
            temperature=now.temperature,
            speed=now.ns_per_day,
        )

    try:
        yield report
    finally:
        bar.stop()


class Clock:
    """Measures the speed and sets the pace: about half a second between reports.

    Parameters
    ----------
    timestep : float
        fs.
    """

    def __init__(self, timestep: float) -> None:
        self._ns_per_step = timestep * 1e-6
        self._last = time.perf_counter()
        self._steps, self._seconds = 0, 0.0
        self._width = -1
        self.speed = float("nan")
        """ns/day of the last chunk."""

    def tick(self, steps: int, width: int) -> int:
        """Note that a chunk is done; return how many steps to do next.

        A chunk with another table width than the one before is not counted: it was compiled.
        """
        now = time.perf_counter()
        seconds, self._last = max(now - self._last, 1e-9), now
        if width != self._width:
            self._width = width
            return 10
        self._steps += steps
        self._seconds += seconds
        self.speed = steps / seconds * 86400 * self._ns_per_step
        return max(1, round(_CHUNK_SECONDS * steps / seconds))

    @property
    def mean_speed(self) -> float:
        """ns/day of all chunks without compilation; not a number if there are none."""
        if not self._steps:
            return float("nan")
        return self._steps / self._seconds * 86400 * self._ns_per_step
