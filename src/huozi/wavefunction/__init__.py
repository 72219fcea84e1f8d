"""The Schrödinger equation of molecules, by neural wave functions and Monte Carlo."""

from huozi.wavefunction.diffusion import Projection, diffuse
from huozi.wavefunction.evaluate import Estimate, StatesEstimate, evaluate, evaluate_states
from huozi.wavefunction.excited import States
from huozi.wavefunction.ferminet import FermiNet
from huozi.wavefunction.lapnet import LapNet
from huozi.wavefunction.molecule import Molecule
from huozi.wavefunction.optimize import Problem, State
from huozi.wavefunction.orbitals import hartree_fock
from huozi.wavefunction.pair_product import PairProduct
from huozi.wavefunction.plots import energy_against_time
from huozi.wavefunction.psiformer import Psiformer
from huozi.wavefunction.settings import AnsatzConfig, TrainConfig
from huozi.wavefunction.statistics import chain_average
from huozi.wavefunction.verdict import judge, judge_projection, reference_energies
from huozi.wavefunction.vmc import VMC, Trained, build, load_run

__all__ = [
    "VMC",
    "AnsatzConfig",
    "Estimate",
    "FermiNet",
    "LapNet",
    "Molecule",
    "PairProduct",
    "Problem",
    "Projection",
    "Psiformer",
    "State",
    "States",
    "StatesEstimate",
    "TrainConfig",
    "Trained",
    "build",
    "chain_average",
    "diffuse",
    "energy_against_time",
    "evaluate",
    "evaluate_states",
    "hartree_fock",
    "judge",
    "judge_projection",
    "load_run",
    "reference_energies",
]
