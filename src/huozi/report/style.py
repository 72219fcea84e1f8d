"""One look for all figures: light or dark page, colour-blind safe, units on the axes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#1b1e23"
"""Text and axes; becomes the page's own text colour where a figure is embedded as SVG."""

BLUE, ORANGE, GREEN, PURPLE, GOLD, GREY = (
    "#2f7fc1",
    "#d8602a",
    "#1f9a74",
    "#a560a8",
    "#c08a10",
    "#8a8f98",
)
"""After Okabe and Ito, at a lightness that reads on white and on black."""

CYCLE = (BLUE, ORANGE, GREEN, PURPLE, GOLD, GREY)

_SETTINGS: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.8,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GREY,
    "grid.alpha": 0.22,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "huozi",
    "figure.dpi": 110,
}


@contextmanager
def style() -> Iterator[None]:
    """Apply the look to figures made, or saved, inside the block."""
    import matplotlib as mpl

    with mpl.rc_context(_SETTINGS):
        yield


def new_figure(columns: int = 1, rows: int = 1, width: float = 6.4, height: float = 3.9) -> Figure:
    """Return a figure of `rows` by `columns` empty axes, without pyplot's global state."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.subplots(rows, columns, squeeze=False)
    return figure
