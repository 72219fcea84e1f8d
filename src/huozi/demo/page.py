"""The report of the demo: one page, from the headline numbers to what to keep in mind."""

from __future__ import annotations

import math
import platform
from typing import Any

import numpy as np
from ase.data import atomic_masses, atomic_numbers

from huozi import __version__, report
from huozi.demo import limits, water
from huozi.demo.data import is_water
from huozi.demo.story import Story, machine
from huozi.dynamics.observables.analysis import REFERENCE, RUN
from huozi.dynamics.observables.analysis_page import figures, summary_rows, viewer_frames
from huozi.report import Page, value_with_error

STORY_CORE_HOURS = "2·10⁸ core hours"


def demo_page(story: Story) -> Page:
    """Return the page."""
    length, heat = story.config.picoseconds, story.config.temperature
    page = Page(
        f"{story.summary['substance']}, {length:g} ps at {heat:g} K",
        f"From quantum mechanics to observables in {sum(story.seconds.values()) / 60:.1f} minutes "
        f"· `huozi demo` · Huozi {__version__}",
    )
    page.add_text(
        f"A deep potential was trained on {story.summary['train_frames']} frames labelled by "
        f"quantum mechanics, tested on {story.metrics.frames} frames it had not seen, and then "
        f"moved the {len(story.system)} atoms for {length:g} ps. Every number on this page was "
        "computed in this run. Errors are one standard error."
    )
    page.add_table(["", "This run", "To compare"], headline(story))
    add_accuracy(page, story)
    drawn = figures(story.analysis)
    add_trajectory(page, story)
    add_conservation(page, story, drawn)
    add_structure(page, story, drawn)
    add_motion(page, story, drawn)
    page.add_section("All numbers of the simulation")
    page.add_table(["Quantity", "Value"], summary_rows(story.analysis))
    for note in story.analysis.notes:
        page.add_text(note)
    add_cost(page, story)
    page.add_commands(story.commands)
    page.add_section("What to keep in mind")
    for text in limits.of(story):
        page.add_text(text)
    return page


def headline(story: Story) -> list[list[str]]:
    """Return the numbers a reader looks for first, each beside what it can be compared with."""
    rows, metrics, numbers = [], story.metrics, story.analysis.numbers
    if metrics.force_rmse_mev_per_A is not None:
        size = 1e3 * float(np.sqrt(np.mean(metrics.parity.forces[0] ** 2)))
        text = f"{metrics.force_rmse_mev_per_A / size:.1%} of the root mean square force"
        rows.append(
            ["Force error, unseen frames", f"{metrics.force_rmse_mev_per_A:.1f} meV/Å", text]
        )
    if metrics.energy_rmse_mev_per_atom is not None:
        spread = 1e3 * float(metrics.parity.energy[0].std())
        text = f"the frames' energies scatter by {spread:.2g} meV/atom"
        value = f"{metrics.energy_rmse_mev_per_atom:.2f} meV/atom"
        rows.append(["Energy error, unseen frames", value, text])
    if story.drift is not None:
        value = f"{value_with_error(story.drift.value, story.drift.error)} meV/atom/ps"
        rows.append(["Drift at constant energy", value, "0 for exact integration"])
    if "temperature_K" in numbers:
        entry = numbers["temperature_K"]
        value = f"{value_with_error(entry['value'], entry['error'])} K"
        rows.append(["Temperature", value, f"{story.config.temperature:g} K asked for"])
    rows += diffusion_rows(story) + peak_rows(story)
    if story.speed is not None:
        value = f"{story.speed:.2g} ns/day"
        rows.append(["Speed of the simulation", value, f"{machine()['cores']} cores"])
    if is_water(story.system):
        text = f"{STORY_CORE_HOURS} in the founding story of the field, see below"
        rows.append(["Cost, labelling not counted", f"{core_hours(story):.2g} core hours", text])
    return rows


def core_hours(story: Story) -> float:
    """Wall time of all stages times the cores of this machine."""
    return sum(story.seconds.values()) * (machine()["cores"] or 1) / 3600


def diffusion_rows(story: Story) -> list[list[str]]:
    """Diffusion of the heaviest element, which moves as its molecule does."""
    found = story.analysis.numbers.get("diffusion_1e-5_cm2_s", {})
    if not found:
        return []
    element = max(found, key=lambda symbol: atomic_masses[atomic_numbers[symbol]])
    value = value_with_error(found[element]["value"], found[element]["error"])
    experiment = water.diffusion(story.config.temperature) if limits.ambient(story) else None
    text = "" if experiment is None else f"{experiment:.2f}, experiment"
    if text and limits.box_is_told(story):
        text += "; the box takes some off, see below"
    return [[f"Diffusion coefficient of {element}", f"({value})·10⁻⁵ cm²/s", text]]


def peak_rows(story: Story) -> list[list[str]]:
    """Highest peak of g(r) of like atoms, beside the reference's and the experiment's."""
    rows = []
    for pair, curves in story.analysis.radial.items():
        if pair.split("-")[0] != pair.split("-")[1] or pair == "H-H":
            continue
        texts = [f"{peak(curves[REFERENCE])}, reference"] if REFERENCE in curves else []
        if pair == "O-O" and limits.ambient(story) and 285 <= story.config.temperature <= 305:
            texts.append(f"{water.OXYGEN_PEAK}, experiment")
        rows.append([f"Peak of g(r), {pair}", peak(curves[RUN]), "; ".join(texts)])
    return rows


def peak(curve: tuple[Any, ...]) -> str:
    """Height and place of the highest peak."""
    r, g, error = curve
    top = int(np.argmax(g))
    return f"{value_with_error(float(g[top]), float(error[top]))} at {r[top]:.2f} Å"


def add_accuracy(page: Page, story: Story) -> None:
    """Errors on the test frames, parity plots, learning curve."""
    metrics, parity = story.metrics, story.metrics.parity
    page.add_section(
        "Accuracy of the potential",
        f"The {metrics.frames} test frames took no part in any decision of the training.",
    )
    rows = [
        [name, *("–" if value is None else f"{value:#.3g} {unit}" for value in values)]
        for name, unit, values in (
            (
                "Energy",
                "meV/atom",
                (metrics.energy_rmse_mev_per_atom, metrics.energy_mae_mev_per_atom),
            ),
            ("Forces", "meV/Å", (metrics.force_rmse_mev_per_A, metrics.force_mae_mev_per_A)),
            ("Virial", "meV/atom", (metrics.virial_rmse_mev_per_atom, None)),
        )
        if values[0] is not None
    ]
    rows += [
        [f"Forces on {symbol}", f"{value:#.3g} meV/Å", "–"]
        for symbol, value in metrics.force_rmse_by_element_mev_per_A.items()
    ]
    page.add_table(["Test frames", "RMSE", "MAE"], rows)
    if parity.forces.size:
        page.add_figure(
            report.parity_forces(*parity.forces),
            "Force components on the test frames; colour: how many lie on one spot.",
        )
    if parity.energy.size:
        page.add_figure(report.parity_energies(*parity.energy), "Energies of the test frames.")
    panels = {
        label: {"validation": curve}
        for label, key in (
            ("Force RMSE (meV/Å)", "force_rmse_mev_per_A"),
            ("Energy RMSE (meV/atom)", "energy_rmse_mev_per_atom"),
        )
        if len((curve := course(story, key))[0])
    }
    if panels:
        page.add_figure(
            report.learning_curve(panels),
            "Errors on frames held out of the training data while it ran, all of them each time.",
        )


def course(story: Story, key: str) -> tuple[Any, Any]:
    """Return one error over the seconds of the training."""
    found = [e for e in story.validations if e.get(key) is not None]
    return np.array([e["seconds"] for e in found]), np.array([e[key] for e in found])


def add_trajectory(page: Page, story: Story) -> None:
    """3D view."""
    shown, stride = viewer_frames(story.analysis.run.trajectory)
    step = story.analysis.run.time_step
    page.add_section("The simulation")
    page.add_viewer(shown, "", step and step * stride / 1e3)


def add_conservation(page: Page, story: Story, drawn: dict[str, Any]) -> None:
    """Energy at constant energy, and the state at constant temperature."""
    thermo = story.energies.thermo
    page.add_section(
        "Energy conservation",
        "Without a thermostat the total energy must not drift: it would if forces were not the "
        "exact slope of the energy, or the time step too long.",
    )
    if thermo is not None and len(thermo["step"]) > 1:
        drift = None if story.drift is None else (story.drift.value, story.drift.error)
        page.add_figure(
            report.energy_conservation(
                thermo["time_fs"] / 1e3, thermo["conserved_eV"], len(story.system), drift
            ),
            f"Constant energy, {thermo['time_fs'][-1] / 1e3:g} ps, time step "
            f"{story.runs[1].timestep:g} fs.",
        )
    for name in ("energy", "thermo"):
        if name in drawn:
            figure, caption = drawn[name]
            page.add_figure(figure, f"Constant temperature. {caption}")


def add_structure(page: Page, story: Story, drawn: dict[str, Any]) -> None:
    """Radial distributions and angles beside the reference."""
    if "rdf" not in drawn:
        return
    page.add_section("Structure", limits.reference(story))
    page.add_figure(drawn["rdf"][0], "Radial distribution functions; bands: two standard errors.")
    rows = structure_rows(story)
    if any(REFERENCE in curves for curves in story.analysis.radial.values()):
        columns = ["g(r)", "Highest peak", "Reference", "Largest deviation", "∫|Δg| dr (noise)"]
        text = (
            "The largest deviation of many bins is expected at two to three of its error bars "
            "when the curves agree; the integral is to be compared with its noise, in Å."
        )
        page.add_table(columns, rows, text)
    else:
        page.add_table(["g(r)", "Highest peak"], [row[:2] for row in rows])
    if "angles" in drawn:
        page.add_figure(drawn["angles"][0], "Angles between two neighbours of the first shell.")
        page.add_table(["Angle", "This run", "Reference"], angle_rows(story))


def structure_rows(story: Story) -> list[list[str]]:
    """Peaks and deviations of every g(r)."""
    rows = []
    for pair, curves in story.analysis.radial.items():
        row = [pair, peak(curves[RUN])]
        entry = story.analysis.numbers["radial_distribution"][pair]
        if REFERENCE in curves:
            gap = entry["deviation"]
            largest = value_with_error(gap["largest"], gap["error"])
            row += [peak(curves[REFERENCE]), f"{largest} at {gap['r_A']:.2f} Å"]
            row.append(f"{gap['integrated']:.3f} ({gap['integrated_noise']:.3f})")
        rows.append(row)
    return rows


def angle_rows(story: Story) -> list[list[str]]:
    """Mean and width of every angle."""
    return [
        [name, *(spread(curves[key]) if key in curves else "–" for key in (RUN, REFERENCE))]
        for name, curves in story.analysis.angles.items()
    ]


def spread(curve: tuple[Any, ...]) -> str:
    """Mean and standard deviation of a distribution of angles."""
    angle, p, _ = curve
    mean = float(np.sum(angle * p) / np.sum(p))
    width = math.sqrt(float(np.sum((angle - mean) ** 2 * p) / np.sum(p)))
    return f"{mean:.1f}°, width {width:.1f}°"


def add_motion(page: Page, story: Story, drawn: dict[str, Any]) -> None:
    """Diffusion and vibrations."""
    if not {"msd", "vdos"} & drawn.keys():
        return
    page.add_section("Motion")
    if "msd" in drawn:
        page.add_figure(drawn["msd"][0], "Mean squared displacement; bands: two standard errors.")
    if "vdos" in drawn:
        text = "Vibrational density of states, from the velocities at constant temperature."
        if is_water(story.system):
            text += (
                " From left to right: hindered translation and rotation of the molecules, their "
                "bending, and the stretching of O–H bonds. Nuclei are classical here; quantum "
                "nuclei stretch at lower wavenumbers."
            )
        page.add_figure(drawn["vdos"][0], text)


def add_cost(page: Page, story: Story) -> None:
    """Seconds of each stage on this machine, beside the figure of the story."""
    here, seconds = machine(), story.seconds
    total = sum(seconds.values())
    rows = [[name.capitalize(), f"{value:.1f} s"] for name, value in seconds.items()]
    rows.append(["All", f"{total:.0f} s, {core_hours(story):.2g} core hours"])
    page.add_section("What it cost")
    page.add_table(
        ["Stage", "Wall time"],
        rows,
        f"{here['processor']}, {here['cores']} cores, {platform.system()}, Python "
        f"{here['python']}, JAX {here['jax']}.",
    )
    page.add_text(
        "Labelling the data is not in these times; of a stage that was interrupted, the longest "
        "session counts, of the training all. The founding story of the "
        f"field puts 10 ps of 64 water molecules by quantum mechanics alone at {STORY_CORE_HOURS}; "
        "that is the story's figure, told here for scale and not measured by us."
    )
