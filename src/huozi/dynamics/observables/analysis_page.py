"""The analysis of a run as files: numbers, figures and a page."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from huozi import __version__, report
from huozi.dynamics.observables.analysis import Analysis
from huozi.files import atomic_path, without_nan, write_json

if TYPE_CHECKING:
    from ase import Atoms
    from matplotlib.figure import Figure

    from huozi.dynamics.trajectory import Trajectory

VIEWER_FRAMES, VIEWER_ATOMS = 200, 400_000
"""Most frames shown in 3D, and most atoms of all of them: some 3 MB of a page."""

_ROWS = {
    "temperature_K": "Temperature (K)",
    "pressure_GPa": "Pressure (GPa)",
    "density_g_cm3": "Density (g/cm³)",
    "energy_drift_meV_per_atom_per_ps": "Energy drift (meV/atom/ps)",
    "heat_capacity_v_kB_per_atom": "Heat capacity at constant volume (kB per atom)",
    "heat_capacity_p_kB_per_atom": "Heat capacity at constant pressure (kB per atom)",
}


def write_analysis(
    analysis: Analysis, out: str | Path, commands: list[str] | None = None
) -> list[Path]:
    """Write ``analysis.json``, ``report.html`` and every figure as SVG and PNG.

    Parameters
    ----------
    analysis : Analysis
    out : path
        Folder, created on demand.
    commands : list of str, optional
        What made this, for the page.

    Returns
    -------
    list of Path
        The files.
    """
    out = Path(out)
    written = [out / "analysis.json"]
    write_json(written[0], without_nan({**analysis.numbers, "curves": _curves(analysis)}))
    drawn = figures(analysis)
    for name, (figure, _) in drawn.items():
        for suffix, content in (
            ("svg", report.figure_svg(figure).encode()),
            ("png", report.figure_png(figure)),
        ):
            written.append(out / f"{name}.{suffix}")
            with atomic_path(written[-1]) as temporary:
                temporary.write_bytes(content)
    run = str(analysis.numbers["run"])
    page = analysis_page(analysis, commands or [f"huozi analyse {shlex.quote(run)}"])
    written.append(page.write(out / "report.html"))
    return written


def analysis_page(analysis: Analysis, commands: list[str]) -> report.Page:
    """Return the page: numbers, 3D view, figures, commands."""
    numbers = analysis.numbers
    length = "" if numbers["time_ps"] is None else f" over {numbers['time_ps']:.4g} ps"
    page = report.Page(
        f"Molecular dynamics of {numbers['formula']}",
        f"`{numbers['run']}` · {numbers['frames']} frames{length} · Huozi {__version__}",
    )
    rows = summary_rows(analysis)
    if rows:
        page.add_table(["Quantity", "Value"], rows, "Values with one standard error.")
    for note in analysis.notes:
        page.add_text(note)
    if any("deviation" in entry for entry in numbers.get("radial_distribution", {}).values()):
        page.add_table(
            ["g(r)", "Largest deviation", "at (Å)", "∫|Δg| dr (Å)", "of which noise (Å)"],
            _deviation_rows(numbers["radial_distribution"]),
            "Deviation from the reference. The largest of many bins is expected at two to three "
            "of its error bars when the curves agree.",
        )
    shown, stride = viewer_frames(analysis.run.trajectory)
    step = analysis.run.time_step
    page.add_section("Trajectory")
    page.add_viewer(
        shown, f"One frame in {stride}." if stride > 1 else "", step and step * stride / 1e3
    )
    page.add_section("Figures", "Bands: two standard errors either side.")
    for figure, caption in figures(analysis).values():
        page.add_figure(figure, caption)
    page.add_commands(commands)
    if analysis.run.config:
        text = "\n".join(f"{key}: {value}" for key, value in analysis.run.config.items())
        page.add_details("Settings of the run", text)
    return page


def viewer_frames(trajectory: Trajectory) -> tuple[list[Atoms], int]:
    """Return the frames that a page shows, one in every so many; fewer of larger systems."""
    most = min(max(VIEWER_ATOMS // len(trajectory.species), 1), VIEWER_FRAMES)
    stride = max(1, math.ceil(len(trajectory) / most))
    return [trajectory[i] for i in range(0, len(trajectory), stride)], stride


def summary_rows(analysis: Analysis) -> list[tuple[str, str]]:
    """Name and value with error of every number of the analysis."""
    numbers = analysis.numbers
    rows = []
    for key, label in _ROWS.items():
        if key in numbers:
            text = report.value_with_error(numbers[key]["value"], numbers[key]["error"])
            if numbers[key].get("converged") is False:
                text += " (run too short for the error)"
            rows.append((label, text))
    for element, entry in numbers.get("diffusion_1e-5_cm2_s", {}).items():
        text = report.value_with_error(entry["value"], entry["error"])
        rows.append((f"Diffusion coefficient of {element}, this box (10⁻⁵ cm²/s)", text))
        if "finite_size_correction" in entry:
            total = entry["value"] + entry["finite_size_correction"]
            text = report.value_with_error(total, entry["error"])
            rows.append((f"Diffusion coefficient of {element}, infinite box (10⁻⁵ cm²/s)", text))
    for pair, entry in numbers.get("radial_distribution", {}).items():
        if "first_shell" in entry:
            shell = entry["first_shell"]
            label = f"{pair} neighbours within {shell['cutoff_A']:.2f} Å"
            rows.append((label, report.value_with_error(shell["neighbours"], shell["error"])))
    return rows


def figures(analysis: Analysis) -> dict[str, tuple[Figure, str]]:
    """Every figure that the analysis has data for: file name to figure and caption."""
    result: dict[str, tuple[Figure, str]] = {}
    if analysis.radial:
        result["rdf"] = (
            report.radial_distributions(analysis.radial),
            "Radial distribution functions.",
        )
    if analysis.angles:
        result["angles"] = (
            report.angle_distributions(analysis.angles),
            "Angles between two neighbours of the first shell.",
        )
    if analysis.displacements:
        curves = {e: (t / 1e3, *rest) for e, (t, *rest) in analysis.displacements.items()}
        found = analysis.numbers.get("diffusion_1e-5_cm2_s", {})
        # 1e-5 cm^2/s are 0.1 Å^2/ps, and the slope is 6 D.
        fits = {e: (*d["fit_ps"], d["intercept_A2"], 0.6 * d["value"]) for e, d in found.items()}
        result["msd"] = (
            report.mean_squared_displacements(curves, fits),
            "Mean squared displacement by element; dashed, the lines whose slope is 6 D.",
        )
    if analysis.spectrum:
        result["vdos"] = (
            report.vibrational_spectrum(analysis.spectrum),
            "Vibrational density of states of classical motion.",
        )
    thermo = analysis.run.thermo
    if thermo is not None and len(thermo["step"]) > 1:
        result.update(_thermo_figures(analysis, thermo))
    return result


def _thermo_figures(analysis: Analysis, thermo: dict[str, Any]) -> dict[str, Any]:
    time = thermo["time_fs"] / 1e3
    drift = analysis.numbers.get("energy_drift_meV_per_atom_per_ps")
    fit = None if drift is None else (drift["value"], drift["error"])
    atoms = analysis.numbers["atoms"]
    columns = {key: label for key, label in list(_ROWS.items())[:3]}
    series = {
        label: thermo[key]
        for key, label in columns.items()
        if np.isfinite(thermo[key]).all() and np.ptp(thermo[key]) > 0
    }
    return {
        "energy": (
            report.energy_conservation(time, thermo["conserved_eV"], atoms, fit),
            "Conserved energy: the total energy, less what thermostat and barostat put in.",
        ),
        "thermo": (report.time_series(time, series), "State of the system; dashed: mean."),
    }


def _curves(analysis: Analysis) -> dict[str, Any]:
    """Every curve as lists of numbers."""

    def lists(curves: dict[str, Any], x: str, y: str) -> dict[str, Any]:
        return {
            name: {x: c[0].tolist(), y: c[1].tolist(), "error": c[2].tolist()}
            for name, c in curves.items()
        }

    return {
        "radial_distribution": {k: lists(v, "r_A", "g") for k, v in analysis.radial.items()},
        "angles": {k: lists(v, "angle_deg", "per_deg") for k, v in analysis.angles.items()},
        "mean_squared_displacement": lists(analysis.displacements, "time_fs", "msd_A2"),
        "density_of_states": lists(analysis.spectrum, "wavenumber_per_cm", "per_wavenumber"),
    }


def _deviation_rows(radial: dict[str, Any]) -> list[list[str]]:
    return [
        [
            pair,
            report.value_with_error(entry["deviation"]["largest"], entry["deviation"]["error"]),
            f"{entry['deviation']['r_A']:.2f}",
            f"{entry['deviation']['integrated']:.3f}",
            f"{entry['deviation']['integrated_noise']:.3f}",
        ]
        for pair, entry in radial.items()
        if "deviation" in entry
    ]
