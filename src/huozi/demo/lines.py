"""What each stage says when it is done: one line."""

from __future__ import annotations

from typing import Any

import numpy as np

from huozi.dynamics import MDConfig, MDResult
from huozi.dynamics.observables import Analysis, energy_drift
from huozi.potential import Metrics, TrainResult
from huozi.report import value_with_error


def data(summary: dict[str, Any]) -> str:
    """Frames and substance."""
    train, test = summary["train_frames"], summary["test_frames"]
    reference = summary["reference"]["frames"]
    return (
        f"data       {summary['substance']}: {train} frames to learn from, {test} to test on, "
        f"{reference} as reference for the structure"
    )


def training(result: TrainResult) -> str:
    """Length of the training and errors on the frames held out of it."""
    return f"training   {result.steps:,} steps in {result.seconds:.0f} s"


def test(metrics: Metrics) -> str:
    """Errors on the test frames."""
    return f"test       {metrics.frames} unseen frames: {errors(metrics)}"


def dynamics(name: str, result: MDResult, config: MDConfig) -> str:
    """Length, temperature, conservation of energy and speed of a run."""
    thermo, atoms = result.thermo, len(result.system)
    text = f"{name}        {config.steps * config.timestep / 1e3:g} ps at "
    text += f"{np.mean(thermo['temperature_K']):.0f} K"
    if len(thermo["step"]) >= 16:
        drift = energy_drift(thermo["time_fs"], thermo["conserved_eV"], atoms)
        text += f", energy drift {value_with_error(drift.value, drift.error)} meV/atom/ps"
    if np.isfinite(result.ns_per_day):
        text += f", {result.ns_per_day:.2g} ns/day"
    return text


def analysis(found: Analysis) -> str:
    """Diffusion of the element that diffuses least bound, and the worst pair."""
    numbers, parts = found.numbers, []
    for element, entry in numbers.get("diffusion_1e-5_cm2_s", {}).items():
        value = value_with_error(entry["value"], entry["error"])
        parts.append(f"D({element}) {value} 10⁻⁵ cm²/s")
    for pair, entry in numbers.get("radial_distribution", {}).items():
        if "deviation" in entry:
            gap = entry["deviation"]
            value = value_with_error(gap["largest"], gap["error"])
            parts.append(f"g({pair}) off by at most {value}")
    return "analysis   " + ("; ".join(parts) or "done")


def errors(metrics: Metrics) -> str:
    """Errors of forces and energies, those that there are."""
    parts = []
    if metrics.force_rmse_mev_per_A is not None:
        parts.append(f"forces {metrics.force_rmse_mev_per_A:.1f} meV/Å")
    if metrics.energy_rmse_mev_per_atom is not None:
        parts.append(f"energy {metrics.energy_rmse_mev_per_atom:.2f} meV/atom")
    return ", ".join(parts) + " (RMSE)"
