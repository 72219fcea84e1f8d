"""Figures and self-contained HTML pages."""

from huozi.report.embed import figure_html, figure_png, figure_svg
from huozi.report.numbers import value_with_error
from huozi.report.page import Page
from huozi.report.plots import (
    angle_distributions,
    calibration_curve,
    energy_conservation,
    learning_curve,
    mean_squared_displacements,
    parity,
    parity_energies,
    parity_forces,
    radial_distributions,
    time_series,
    vibrational_spectrum,
)

__all__ = [
    "Page",
    "angle_distributions",
    "calibration_curve",
    "energy_conservation",
    "figure_html",
    "figure_png",
    "figure_svg",
    "learning_curve",
    "mean_squared_displacements",
    "parity",
    "parity_energies",
    "parity_forces",
    "radial_distributions",
    "time_series",
    "value_with_error",
    "vibrational_spectrum",
]
