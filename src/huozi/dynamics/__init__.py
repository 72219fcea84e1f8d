"""Moving atoms: integrators on the device, runs that resume, relaxation."""

from huozi.dynamics.blowup import BlowUpError
from huozi.dynamics.calculator import ForceFieldCalculator
from huozi.dynamics.cell_rescaling import CellRescaling
from huozi.dynamics.config import MDConfig
from huozi.dynamics.csvr import StochasticRescaling
from huozi.dynamics.deviation import DeviationError
from huozi.dynamics.ensembles import make_integrator
from huozi.dynamics.ipi import serve_forces
from huozi.dynamics.langevin import Langevin
from huozi.dynamics.nose_hoover import NoseHoover
from huozi.dynamics.nve import NVE
from huozi.dynamics.progress import MDProgress, md_progress_bar
from huozi.dynamics.relax import RelaxResult, relax
from huozi.dynamics.run import MDResult, run_md
from huozi.dynamics.state import Integrator, State
from huozi.dynamics.thermo import read_thermo
from huozi.dynamics.trajectory import Trajectory, read_trajectory, write_extxyz

__all__ = [
    "NVE",
    "BlowUpError",
    "CellRescaling",
    "DeviationError",
    "ForceFieldCalculator",
    "Integrator",
    "Langevin",
    "MDConfig",
    "MDProgress",
    "MDResult",
    "NoseHoover",
    "RelaxResult",
    "State",
    "StochasticRescaling",
    "Trajectory",
    "make_integrator",
    "md_progress_bar",
    "read_thermo",
    "read_trajectory",
    "relax",
    "run_md",
    "serve_forces",
    "write_extxyz",
]
