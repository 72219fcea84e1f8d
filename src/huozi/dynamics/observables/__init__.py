"""What a trajectory says about the substance, each number with its error bar."""

from huozi.dynamics.observables.analysis import Analysis, analyse
from huozi.dynamics.observables.analysis_page import write_analysis
from huozi.dynamics.observables.angles import angle_distribution
from huozi.dynamics.observables.blocks import Average, block_average
from huozi.dynamics.observables.curves import CurveDifference, compare_curves
from huozi.dynamics.observables.density import density
from huozi.dynamics.observables.diffusion import (
    Diffusion,
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
from huozi.dynamics.observables.vacf import velocity_autocorrelation
from huozi.dynamics.observables.vdos import vibrational_density_of_states

__all__ = [
    "Analysis",
    "Average",
    "CurveDifference",
    "Diffusion",
    "Drift",
    "HeatCapacity",
    "RunData",
    "analyse",
    "angle_distribution",
    "block_average",
    "compare_curves",
    "coordination_number",
    "density",
    "diffusion_coefficient",
    "energy_drift",
    "first_minimum",
    "heat_capacity",
    "mean_squared_displacement",
    "radial_distribution",
    "read_run",
    "velocity_autocorrelation",
    "vibrational_density_of_states",
    "write_analysis",
    "yeh_hummer_correction",
]
