"""Figures as text that an HTML page can hold."""

from __future__ import annotations

import base64
import io
import re
from html import escape
from typing import TYPE_CHECKING

from huozi.report.style import INK, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGEST_SVG = 600_000
"""Characters above which a figure is embedded as PNG."""


def figure_html(figure: Figure, alt: str, prefix: str = "") -> str:
    """Return a figure as inline SVG, or as PNG when the SVG would be large.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    alt : str
        What the figure shows, for readers who do not see it.
    prefix : str
        Put before every id of the SVG, so that several fit into one page.
    """
    svg = figure_svg(figure)
    if len(svg) > LARGEST_SVG:
        data = base64.b64encode(figure_png(figure)).decode()
        return f'<img class="plot" alt="{escape(alt)}" src="data:image/png;base64,{data}">'
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r'\bid="', f'id="{prefix}', svg)
    svg = re.sub(r'href="#', f'href="#{prefix}', svg)
    svg = svg.replace("url(#", f"url(#{prefix}").replace(INK, "currentColor")
    label = f'<svg class="plot" role="img" aria-label="{escape(alt)}"'
    return svg.replace("<svg", label, 1)


def figure_svg(figure: Figure) -> str:
    """Return a figure as an SVG document; the same figure made again gives the same text."""
    stream = io.StringIO()
    with style():
        figure.savefig(stream, format="svg", dpi=200, metadata={"Date": None})
    return stream.getvalue()


def figure_png(figure: Figure, dpi: int = 160) -> bytes:
    """Return a figure as a PNG image on white."""
    stream = io.BytesIO()
    with style():
        figure.savefig(stream, format="png", dpi=dpi, facecolor="white")
    return stream.getvalue()
