"""The course of an optimisation as a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from huozi.report.style import BLUE, GREY, new_figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def energy_against_time(
    events: Sequence[dict[str, Any]], references: Mapping[str, float]
) -> Figure:
    """Energy and variance in the course of a run.

    Parameters
    ----------
    events : sequence of dict
        The ``steps`` events of a run folder.
    references : mapping
        Energies to mark, hartree, by name.
    """
    time = np.array([e["seconds"] for e in events])
    energy = np.array([e["energy_Ha"] for e in events])
    error = np.array([e["stderr_Ha"] for e in events])
    with style():
        figure = new_figure(2, width=7.6, height=3.4)
        left, right = figure.axes
        left.plot(time, energy, color=BLUE)
        left.fill_between(time, energy - 2 * error, energy + 2 * error, color=BLUE, alpha=0.25)
        for name, value in references.items():
            left.axhline(value, color=GREY, linestyle="--", linewidth=1)
            left.annotate(name, (1, value), xycoords=("axes fraction", "data"), ha="right")
        settled = energy[len(energy) // 4 :]
        lowest = min([*references.values(), settled.min()])
        left.set_ylim(lowest - 0.002, max([settled.max(), *references.values()]) + 0.002)
        left.set(xlabel="Wall time (s)", ylabel="Energy (hartree)")
        left.ticklabel_format(axis="y", useOffset=False)
        right.plot(time, [e["variance"] for e in events], color=BLUE)
        right.set(xlabel="Wall time (s)", ylabel="Variance (hartree²)", yscale="log")
    return figure
