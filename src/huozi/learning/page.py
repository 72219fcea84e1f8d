"""The report of a run: whether to trust the model, and what it cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from huozi import __version__
from huozi.learning.settings import LearnSettings
from huozi.learning.status import decisions
from huozi.report import Page
from huozi.report.style import BLUE, GREEN, GREY, ORANGE, new_figure, style
from huozi.systems import read
from huozi.workflow import RunFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 60


def learning_page(folder: RunFolder, settings: LearnSettings, results: dict[str, Any]) -> Page:
    """Return the page of a run that has finished, or of one that has no final model yet."""
    records = results["iterations"]
    state = f"Converged: {results['verdict']}" if results["converged"] else "Not converged"
    if results["final"] is None:
        state = f"Still running, after iteration {len(records)} of at most {settings.iterations}"
    data = list(read(folder.path / "data.extxyz"))
    frames = [frame.to_atoms() for frame in data]
    largest = max(frames, key=len).get_chemical_formula()
    level = f"{data[0].info['level']} by {data[0].info['code']}"
    page = Page(
        f"Concurrent learning: {largest} from {data[0].info['level']}",
        f"{results['training_frames']} labelled frames, {len(records)} iterations · `huozi learn` "
        f"· Huozi {__version__}",
    )
    page.add_text(
        f"{state}. All errors are on control frames: drawn at random from "
        "the dynamics of that iteration, the states in turn, labelled afterwards, and not trained "
        "on before they were used as a test."
    )
    page.add_table(["", "Value"], card(level, results))
    page.add_section("How the run went")
    page.add_table(*iteration_table(records))
    page.add_figure(error_figure(records), "Force error on fresh control frames.")
    page.add_figure(
        fraction_figure(records),
        "Frames that the ensemble agrees on (accurate), disagrees on (candidate), or that left "
        "physics (failed).",
    )
    page.add_section("What the ensemble did not know")
    page.add_text(
        "Deviation of a frame: the largest standard deviation of the members' forces on one of "
        "its atoms. Between the bounds a frame may be labelled; of these, the ones most "
        "different from each other and from everything labelled are."
    )
    page.add_figure(deviation_figure(folder.path, records), "Deviations in each iteration.")
    for record in records:
        page.add_text(f"Iteration {record['iteration']}: {record['bounds']}.")
    chosen = next(atoms for atoms in frames if atoms.get_chemical_formula() == largest)
    same = [atoms for atoms in frames if np.array_equal(atoms.numbers, chosen.numbers)]
    page.add_viewer(
        same[:: max(1, len(same) // SHOWN)], f"Labelled frames of {largest}, in their order."
    )
    page.add_section("What it cost")
    rows = [[kind, c["tasks"], f"{c['cpu_hours']:.3f}"] for kind, c in results["cost"].items()]
    page.add_table(["Tasks", "Number", "Processor hours"], rows)
    if results["failed_labels"]:
        page.add_section("Frames without a label")
        page.add_table(
            ["Frame", "Reason", "Folder"],
            [[f["frame"], f["reason"], f["folder"]] for f in results["failed_labels"]],
        )
    page.add_commands([f"huozi learn {folder.path}/config.yaml --out {folder.path}"])
    return page


def card(level: str, results: dict[str, Any]) -> list[list[str]]:
    """Return the numbers a reader looks for first."""
    final = results["final"]
    hours = sum(c["cpu_hours"] for c in results["cost"].values())
    rows = [
        ["Level of theory", level],
        ["Labelled frames in the training data", str(results["training_frames"])],
        ["Labels in all, control frames of the last iteration included", str(results["labels"])],
        ["Processor time", f"{hours:.2f} h"],
    ]
    if final is None:
        return rows
    rows.append(
        ["Force error of the final model", f"{final['force_rmse_mev_per_A']:.1f} meV/Å (RMSE)"]
    )
    if final["energy_rmse_mev_per_atom"] is not None:
        rows.append(
            ["Energy error of the final model", f"{final['energy_rmse_mev_per_atom']:.2f} meV/atom"]
        )
    rows.append(["Control frames behind these errors", str(final["frames"])])
    found = final["calibration"]
    scale = number(found["scale"], 2)
    if found["scale_error"] is not None:
        scale += f" ± {found['scale_error']:.2f}"
    rows.append([f"Error over deviation of `ensemble.safetensors` ({found['members']})", scale])
    return rows


def iteration_table(records: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows, one an iteration."""
    columns = ["Iteration", "Trained on", "Seen", "Accurate", "Candidate", "Failed", "Selected"]
    columns += ["Force error, meV/Å"]
    rival = any("random_force_rmse_mev_per_A" in r for r in records)
    columns += ["Random selection, meV/Å"] if rival else []
    rows = []
    for r in records:
        parts = [f"{r['fractions'][k]:.1%}" for k in ("accurate", "candidate", "failed")]
        row = [str(r["iteration"]), str(r["training_frames"]), str(r["frames_seen"]), *parts]
        row += [str(r["selected"]), number(r["control_force_rmse_mev_per_A"])]
        row += [number(r.get("random_force_rmse_mev_per_A"))] if rival else []
        rows.append(row)
    return columns, rows


def number(value: float | None, digits: int = 1) -> str:
    """Write an error, or a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def error_figure(records: list[dict[str, Any]]) -> Figure:
    """Control error against the number of labels, beside that of random selection."""
    from matplotlib.ticker import MaxNLocator

    with style():
        figure = new_figure()
        (axes,) = figure.axes
        for label, color, x, y in (
            ("random selection", GREY, "random_training_frames", "random_force_rmse_mev_per_A"),
            ("by deviation", BLUE, "training_frames", "control_force_rmse_mev_per_A"),
        ):
            points = [(r[x], r[y]) for r in records if r.get(y) is not None]
            if points:
                axes.plot(*zip(*points), "o-", color=color, label=label)
        axes.set(xlabel="Labelled frames trained on", ylabel="Force RMSE (meV/Å)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(0, 1.1 * axes.dataLim.ymax)
        if len(axes.lines) > 1:
            axes.legend()
    return figure


def fraction_figure(records: list[dict[str, Any]]) -> Figure:
    """Verdicts in each iteration."""
    with style():
        figure = new_figure(height=3.0)
        (axes,) = figure.axes
        x = [r["iteration"] for r in records]
        below = np.zeros(len(x))
        for verdict, color in (("accurate", GREEN), ("candidate", BLUE), ("failed", ORANGE)):
            part = np.array([100 * r["fractions"][verdict] for r in records])
            axes.bar(x, part, bottom=below, color=color, label=verdict, width=0.7)
            below += part
        axes.set(xlabel="Iteration", ylabel="Frames (%)", xticks=x)
        figure.legend(loc="outside upper center", ncols=3)
    return figure


def deviation_figure(path: Path, records: list[dict[str, Any]]) -> Figure:
    """Histogram of the deviations of each iteration, with its bounds."""
    values: dict[int, list[float]] = {r["iteration"]: [] for r in records}
    for decision in decisions(path):
        if decision["deviation"] and decision["iteration"] in values:
            values[decision["iteration"]].append(decision["deviation"])
    every = np.concatenate([np.array(v) for v in values.values()])
    edges = np.geomspace(max(every.min(), 1e-4), min(every.max(), 1e3) * 1.01, 40)
    with style():
        figure = new_figure(rows=len(records), height=1.2 + 1.5 * len(records))
        for axes, record in zip(figure.axes, records):
            axes.hist(values[record["iteration"]], edges.tolist(), color=BLUE)
            for bound in (record["low_eV_A"], record["high_eV_A"]):
                axes.axvline(bound, color=ORANGE, linewidth=1)
            axes.set(xscale="log", ylabel="Frames", xlim=(edges[0] / 1.2, edges[-1] * 1.2))
            axes.set_title(f"Iteration {record['iteration']}")
        figure.axes[-1].set(xlabel="Deviation of the forces (eV/Å)")
    return figure
