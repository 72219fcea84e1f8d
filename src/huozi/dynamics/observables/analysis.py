"""All observables of a run, beside those of reference data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray

from huozi.dynamics.observables.angles import angle_distribution
from huozi.dynamics.observables.blocks import Average, block_average
from huozi.dynamics.observables.curves import compare_curves
from huozi.dynamics.observables.density import density
from huozi.dynamics.observables.diffusion import (
    CM2_S,
    diffusion_coefficient,
    yeh_hummer_correction,
)
from huozi.dynamics.observables.energy_drift import Drift, energy_drift
from huozi.dynamics.observables.heat_capacity import HeatCapacity, heat_capacity
from huozi.dynamics.observables.msd import mean_squared_displacement
from huozi.dynamics.observables.rdf import (
    coordination_number,
    first_minimum,
    radial_distribution,
)
from huozi.dynamics.observables.reading import RunData, read_run
from huozi.dynamics.observables.vdos import CM_PER_FS, vibrational_density_of_states
from huozi.systems import System, read
from huozi.units import KB

Array = NDArray[Any]
Panels = dict[str, dict[str, tuple[Array, Array, Array]]]

MOST_FRAMES = 1000
"""Structure is averaged over at most this many frames, evenly chosen: neighbours say the same."""

RUN, REFERENCE = "this run", "reference"


@dataclass
class Analysis:
    """What a run says.

    Parameters
    ----------
    run : RunData
    numbers : dict
        Ready for JSON; every entry says its unit in its name.
    radial, angles : dict
        Pair or triplet to curves by name ("this run", "reference"): (x, y, error).
    displacements, spectrum : dict
        Element to curve: MSD over fs; density of states over cm^-1.
    notes : list of str
        What was left out, and why.
    """

    run: RunData
    numbers: dict[str, Any] = field(default_factory=dict)
    radial: Panels = field(default_factory=dict)
    angles: Panels = field(default_factory=dict)
    displacements: dict[str, tuple[Array, Array, Array]] = field(default_factory=dict)
    spectrum: dict[str, tuple[Array, Array, Array]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def analyse(
    path: str | Path,
    reference: str | Path | Sequence[str | Path] | None = None,
    pairs: Sequence[tuple[str, str]] | None = None,
    *,
    time_step: float | None = None,
    skip: float = 0.0,
    r_max: float | None = None,
    viscosity: float | None = None,
) -> Analysis:
    """Compute every observable that a run has the data for.

    Parameters
    ----------
    path : path
        Folder written by ``huozi md``, or a trajectory that ASE reads.
    reference : path or paths, optional
        Data set (see `huozi.systems.read`) whose structure is compared.
    pairs : sequence of (str, str), optional
        Pairs of elements for g(r); all pairs of up to three elements by default.
    time_step : float, optional
        Time between the frames of a file that does not know it, fs.
    skip : float
        Equilibration to leave out, ps.
    r_max : float, optional
        Largest distance of g(r), Å; half the cell, at least 6 and at most 10, by default.
    viscosity : float, optional
        Of the model, mPa s, for the finite-size correction of diffusion in a cubic box.

    Returns
    -------
    Analysis

    Raises
    ------
    FileNotFoundError
        If there is no run or no reference.
    ValueError
        If the run has too few frames or lacks atoms of a pair.
    """
    run = read_run(path, time_step, skip)
    trajectory = run.trajectory
    result = Analysis(run)
    first = trajectory[0]
    result.numbers = {
        "run": str(path),
        "formula": first.get_chemical_formula(),
        "atoms": len(first),
        "frames": len(trajectory),
        "time_ps": None if run.time_step is None else run.time_step * (len(trajectory) - 1) / 1e3,
        "skipped_ps": skip,
    }
    _thermodynamics(result)
    if first.pbc.all():
        frames = _thinned(trajectory)
        others = None
        if reference is not None:
            others = _thinned(_comparable(reference, first, result.notes))
            result.numbers["reference_frames"] = len(others)
        _structure(result, frames, others, pairs or _all_pairs(first), r_max or _range(first))
    else:
        result.notes.append("No g(r), angles and density: the system is not periodic.")
    _dynamics(result, viscosity)
    result.numbers["notes"] = result.notes
    return result


def _comparable(
    reference: str | Path | Sequence[str | Path], run: Atoms, notes: list[str]
) -> list[Atoms]:
    """Read the reference frames that are periodic and of the substance of the run.

    Raises
    ------
    ValueError
        If there are none.
    """
    frames = read(reference)
    wanted = System.from_atoms(run).proportions
    same = [f for f in frames if f.system.pbc.all() and f.system.proportions == wanted]
    kept = [frame.to_atoms() for frame in same]
    out = len(frames) - len(kept)
    if not kept:
        raise ValueError(
            f"the reference {reference} has no frames to compare with: none of its {out} is "
            f"periodic and of the elements of {run.get_chemical_formula()} in these proportions"
        )
    if out:
        notes.append(
            f"Of the reference, {out} of {len(frames)} frames are left out: not periodic, or of "
            "another substance."
        )
    return kept


def number(average: Average, time_step: float | None = None) -> dict[str, Any]:
    """Average as a dictionary for JSON; the correlation time in ps when samples have a step."""
    entry: dict[str, Any] = {"value": average.mean, "error": average.error}
    if time_step is not None:
        entry["correlation_time_ps"] = average.correlation_time * time_step / 1e3
    if not average.converged:
        entry["converged"] = False
    return entry


def _thermodynamics(result: Analysis) -> None:
    """Averages of the log, energy conservation and heat capacity; density at least."""
    run, numbers = result.run, result.numbers
    thermo, atoms = run.thermo, len(run.trajectory.species)
    if thermo is None:
        if run.trajectory.pbc.all():
            numbers["density_g_cm3"] = number(density(run.trajectory))
        return
    if len(thermo["step"]) < 16:
        result.notes.append("No averages: thermo.csv has fewer than 16 rows.")
        return
    step = float(np.median(np.diff(thermo["time_fs"])))
    for column in ("temperature_K", "pressure_GPa", "density_g_cm3", "potential_eV"):
        if np.isfinite(thermo[column]).all():
            numbers[column] = number(block_average(thermo[column]), step)
    drift = energy_drift(thermo["time_fs"], thermo["conserved_eV"], atoms)
    numbers["energy_drift_meV_per_atom_per_ps"] = _entry(drift, 1.0)
    ensemble = run.config.get("ensemble")
    if ensemble in ("nvt", "npt"):
        volume = thermo["volume_A3"] if ensemble == "npt" else None
        capacity = heat_capacity(
            thermo["total_eV"], run.config["temperature"], volume, run.config.get("pressure", 0.0)
        )
        name = "heat_capacity_v" if ensemble == "nvt" else "heat_capacity_p"
        numbers[f"{name}_kB_per_atom"] = _entry(capacity, 1 / KB / atoms)


def _entry(found: Drift | HeatCapacity, scale: float) -> dict[str, Any]:
    entry: dict[str, Any] = {"value": found.value * scale, "error": found.error * scale}
    return entry if found.converged else entry | {"converged": False}


def _structure(
    result: Analysis,
    frames: Sequence[Atoms],
    others: Sequence[Atoms] | None,
    pairs: Sequence[tuple[str, str]],
    r_max: float,
) -> None:
    """g(r), coordination numbers and angles of the run, and deviations from the reference."""
    radial, angles = {}, {}
    for pair in pairs:
        name = "-".join(pair)
        bins = round(r_max / 0.03)
        mine = radial_distribution(frames, pair, r_max, bins)
        result.radial[name] = {RUN: mine}
        peak = int(np.argmax(mine[1]))
        entry: dict[str, Any] = {
            "highest_peak": {
                "r_A": float(mine[0][peak]),
                "g": float(mine[1][peak]),
                "error": float(mine[2][peak]),
            }
        }
        edge = first_minimum(mine[0], mine[1])
        if edge is not None:
            shell = coordination_number(frames, pair, edge)
            entry["first_shell"] = {"cutoff_A": edge, "neighbours": shell[0], "error": shell[1]}
            angles.update(_angles(result, frames, others, pair, edge))
        if others is not None:
            theirs = radial_distribution(others, pair, r_max, bins)
            result.radial[name][REFERENCE] = theirs
            entry["deviation"] = _deviation(mine, theirs, "r_A")
        radial[name] = entry
    result.numbers["radial_distribution"] = radial
    result.numbers["angles"] = angles


def _angles(
    result: Analysis,
    frames: Sequence[Atoms],
    others: Sequence[Atoms] | None,
    pair: tuple[str, str],
    cutoff: float,
) -> dict[str, Any]:
    """Angles at the atoms of a pair between two of the other kind, but not at hydrogen."""
    found: dict[str, Any] = {}
    for centre, end in dict.fromkeys((pair, pair[::-1])):
        if centre == "H":
            continue
        name = f"{end}-{centre}-{end}"
        triplet = (end, centre, end)
        try:
            mine = angle_distribution(frames, triplet, cutoff)
            curves = {RUN: mine}
            if others is not None:
                curves[REFERENCE] = angle_distribution(others, triplet, cutoff)
        except ValueError as error:
            result.notes.append(f"No angle {name}: {error}.")
            continue
        result.angles[name] = curves
        mean = float(np.sum(mine[0] * mine[1]) / np.sum(mine[1]))
        found[name] = {"cutoff_A": cutoff, "mean_deg": mean}
        if others is not None:
            found[name]["deviation"] = _deviation(mine, curves[REFERENCE], "angle_deg")
    return found


def _dynamics(result: Analysis, viscosity: float | None) -> None:
    """Mean squared displacement, diffusion and vibrations."""
    run = result.run
    trajectory, step = run.trajectory, run.time_step
    if step is None:
        result.notes.append(
            "No diffusion and vibrations: the time between frames is not known (--time-step)."
        )
        return
    masses, symbols = trajectory.masses, np.array(trajectory[0].get_chemical_symbols())
    diffusion = {}
    for element in sorted(set(symbols)):
        chosen = symbols == element
        curve = mean_squared_displacement(trajectory.positions, step, chosen, masses)
        result.displacements[element] = curve
        try:
            fit = diffusion_coefficient(trajectory.positions, step, chosen, masses)
        except ValueError as error:
            result.notes.append(f"No diffusion coefficient of {element}: {error}.")
            continue
        diffusion[element] = {
            "value": fit.value * CM2_S * 1e5,
            "error": fit.error * CM2_S * 1e5,
            "fit_ps": [fit.start / 1e3, fit.stop / 1e3],
            "intercept_A2": fit.intercept,
        }
        if viscosity is not None:
            diffusion[element]["finite_size_correction"] = _correction(result, viscosity)
    result.numbers["diffusion_1e-5_cm2_s"] = diffusion
    if (run.config.get("ensemble"), run.config.get("thermostat")) == ("nvt", "langevin"):
        result.notes.append(
            f"Langevin dynamics (1/friction {run.config.get('thermostat_time', 100):g} fs) slows "
            "diffusion down and broadens vibrations; for both take the csvr thermostat, or nve."
        )
    _vibrations(result, step, masses, symbols)


def _vibrations(result: Analysis, step: float, masses: Array, symbols: Array) -> None:
    """Density of states, unless the frames are too far apart or the run too short for it."""
    velocities = result.run.trajectory.velocities
    limit = longest_interval(int(result.run.trajectory.species.min()))
    if velocities is None:
        result.notes.append("No vibrations: the trajectory has no velocities.")
        return
    if step > limit:
        result.notes.append(
            f"No vibrations: frames {step:g} fs apart fold everything above "
            f"{CM_PER_FS / 2 / step:.0f} cm^-1; save one every {limit:g} fs or less."
        )
        return
    resolution = max(20.0 if "H" in symbols else 5.0, 2 * CM_PER_FS / step / len(velocities))
    if resolution > 100:
        result.notes.append(f"No vibrations: {len(velocities)} frames of {step:g} fs are too few.")
        return
    elements = sorted(set(symbols))
    for element in ["all", *elements] if len(elements) > 1 else ["all"]:
        chosen = None if element == "all" else symbols == element
        result.spectrum[element] = vibrational_density_of_states(
            velocities, step, masses, chosen, resolution
        )


def longest_interval(lightest: int) -> float:
    """Time between frames, fs, that resolves the vibrations of a substance by its lightest element.

    Frames 4, 6, 8 fs apart show up to 4170, 2780, 2085 cm^-1: bonds of hydrogen, those between
    light elements (N2 2330 cm^-1, CO2 2350), all others.
    """
    return 4.0 if lightest == 1 else 6.0 if lightest < 11 else 8.0


def _correction(result: Analysis, viscosity: float) -> float:
    """Yeh-Hummer correction of a cubic box, 1e-5 cm^2/s."""
    atoms = result.run.trajectory[0]
    lengths, angles = atoms.cell.lengths(), atoms.cell.angles()
    if np.ptp(lengths) > 0.01 * lengths.mean() or np.abs(angles - 90).max() > 0.5:
        raise ValueError(
            "the finite-size correction needs a cubic box; found lengths "
            f"{lengths.round(2).tolist()} Å and angles {angles.round(1).tolist()}°"
        )
    heat = result.numbers.get("temperature_K", {}).get("value")
    heat = heat or result.run.config.get("temperature")
    if heat is None:
        raise ValueError("the finite-size correction needs the temperature: analyse a run's folder")
    return yeh_hummer_correction(heat, viscosity, float(lengths.mean())) * CM2_S * 1e5


def _deviation(
    mine: tuple[Array, Array, Array], theirs: tuple[Array, Array, Array], where: str
) -> dict[str, float]:
    difference = compare_curves(mine[0], *mine[1:], *theirs[1:])
    return {
        "largest": difference.largest,
        "error": difference.error,
        where: difference.position,
        "integrated": difference.integrated,
        "integrated_noise": difference.noise,
    }


def _thinned(frames: Sequence[Atoms]) -> list[Atoms]:
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), MOST_FRAMES)).round())
    return [frames[int(index)] for index in chosen]


def _all_pairs(atoms: Atoms) -> list[tuple[str, str]]:
    """Every pair of up to three elements, heavier first; like pairs alone of more elements."""
    elements = sorted(set(atoms.get_chemical_symbols()), key=lambda s: -atomic_numbers[s])
    if len(elements) > 3:
        return [(e, e) for e in elements]
    return list(combinations_with_replacement(elements, 2))


def _range(atoms: Atoms) -> float:
    heights = atoms.cell.volume / np.linalg.norm(
        np.cross(atoms.cell.array[[1, 2, 0]], atoms.cell.array[[2, 0, 1]]), axis=1
    )
    return float(np.clip(heights.min() / 2, 6.0, 10.0))
