"""A self-contained HTML page: numbers, figures, a 3D view, and how to make them again."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from ase import Atoms

from huozi.files import written_aside
from huozi.report.embed import figure_html
from huozi.report.viewer import viewer_data

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


class Page:
    """A page that is built top to bottom and asks nothing of the network.

    Every method appends to the page and returns it. Text is plain; `code` between backticks
    and blank lines between paragraphs are kept.

    Parameters
    ----------
    title : str
    subtitle : str
        One line under the title, e.g. what was run, when and with which version.
    """

    def __init__(self, title: str, subtitle: str = "") -> None:
        self.title = title
        self._parts = [f"<h1>{_inline(title)}</h1>"]
        if subtitle:
            self._parts.append(f'<p class="subtitle">{_inline(subtitle)}</p>')
        self._figures = 0
        self._viewers = 0

    def add_section(self, heading: str, text: str = "") -> Page:
        """Begin a section."""
        self._parts.append(f"<h2>{_inline(heading)}</h2>")
        return self.add_text(text)

    def add_text(self, text: str) -> Page:
        """Add paragraphs."""
        paragraphs = [p for p in re.split(r"\n\s*\n", text) if p.strip()]
        self._parts += [f"<p>{_inline(p.strip())}</p>" for p in paragraphs]
        return self

    def add_table(
        self, columns: Sequence[str], rows: Sequence[Sequence[object]], caption: str = ""
    ) -> Page:
        """Add a table; the first cell of each row is its heading.

        Raises
        ------
        ValueError
            If a row has another number of cells than there are columns.
        """
        for row in rows:
            if len(row) != len(columns):
                raise ValueError(f"a row of {len(columns)} cells is expected; found {list(row)}")
        head = "".join(f'<th scope="col">{_inline(c)}</th>' for c in columns)
        body = "".join(
            f'<tr><th scope="row">{_inline(str(row[0]))}</th>'
            + "".join(f"<td>{_inline(str(cell))}</td>" for cell in row[1:])
            + "</tr>\n"
            for row in rows
        )
        title = f"<caption>{_inline(caption)}</caption>" if caption else ""
        self._parts.append(
            f'<div class="scroll" tabindex="0" role="region" aria-label="table">'
            f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        )
        return self

    def add_figure(self, figure: Figure, caption: str, alt: str = "") -> Page:
        """Add a figure with its caption; `alt` says what it shows (the caption by default)."""
        self._figures += 1
        image = figure_html(figure, alt or caption, prefix=f"f{self._figures}-")
        text = f"<figcaption>{_inline(caption)}</figcaption>"
        self._parts.append(f'<figure><div class="scroll">{image}</div>{text}</figure>')
        return self

    def add_viewer(
        self, frames: Sequence[Atoms], caption: str = "", time_step: float | None = None
    ) -> Page:
        """Add a 3D view of a trajectory.

        Parameters
        ----------
        frames : sequence of ase.Atoms
            Some 200 frames of 200 atoms take 0.3 MB; thin out longer trajectories.
        caption : str
        time_step : float, optional
            Time between these frames, ps.
        """
        self._viewers += 1
        data = viewer_data(frames, time_step)
        legend = "".join(
            f'<span><i style="background:{e["color"]}"></i>{e["symbol"]}</span>'
            for e in data["elements"]
        )
        label = f"3D view of {len(frames)} frames of {frames[0].get_chemical_formula()}. " + (
            "Arrow keys rotate, plus and minus zoom, space plays, comma and full stop step, "
            "Home resets the view."
        )
        hint = "Drag to rotate; click, then turn the wheel to zoom; space plays and pauses."
        self._parts.append(
            f'<figure class="viewer"><canvas tabindex="0" role="img" aria-label="{escape(label)}">'
            f'</canvas><div class="controls"><button type="button">Play</button>'
            f'<input type="range" min="0" max="{len(frames) - 1}" value="0" aria-label="Frame">'
            f'<output></output><span class="legend">{legend}</span></div>'
            f"<figcaption>{_inline(caption)} {hint}</figcaption>"
            f'<script type="application/json">{json.dumps(data)}</script></figure>'
        )
        return self

    def add_commands(self, commands: Sequence[str], heading: str = "How to reproduce") -> Page:
        """Add the commands that make these numbers again."""
        self.add_section(heading)
        self._parts.append(f"<pre><code>{escape(chr(10).join(commands))}</code></pre>")
        return self

    def add_details(self, summary: str, text: str) -> Page:
        """Add preformatted text behind a line that opens it."""
        self._parts.append(
            f"<details><summary>{_inline(summary)}</summary><pre>{escape(text)}</pre></details>"
        )
        return self

    def html(self) -> str:
        """Return the page."""
        folder = files("huozi.report")
        css = folder.joinpath("page.css").read_text(encoding="utf-8")
        body = "\n".join(self._parts)
        if self._viewers:
            js = folder.joinpath("viewer.js").read_text(encoding="utf-8")
            body += f"\n<script>\n{js}</script>"
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(self.title)}</title>\n<style>\n{css}</style>\n</head>\n"
            f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
        )

    def write(self, path: str | Path) -> Path:
        """Write the page, whole or not at all, and return its path."""
        with written_aside(path, overwrite=True) as fresh:
            fresh.write_text(self.html(), encoding="utf-8")
        return Path(path)


def _inline(text: str) -> str:
    """Escape text, turn backticks into code, and keep a number and its error together."""
    text = text.replace(" ± ", "\u00a0±\u00a0")
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
