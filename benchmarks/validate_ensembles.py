"""Do the ensembles come out right? Statistical tests on a Lennard-Jones fluid.

Kinetic energies against their exact distribution, ratios of the distributions of energy and
volume at two states against Boltzmann's factor, the energy error against the time step (all
three by physical_validation: Merz & Shirts, PLoS ONE 13, e0202764 (2018)), and the density
against the equation of state of Kolafa & Nezbeda, Fluid Phase Equilibria 100, 1 (1994).

    python benchmarks/validate_ensembles.py [--steps 60000] [--out FILE]

prints one JSON object and writes benchmarks/results/ensembles.json. Deviations are in standard
errors: 0 to 2 is right, 4 is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import platform
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from ase.build import bulk

from huozi.dynamics import MDConfig, MDResult, run_md
from huozi.dynamics.observables import block_average
from huozi.dynamics.state import standard_masses
from huozi.potential.lennard_jones import LennardJones
from huozi.systems import System
from huozi.units import GPA, KB

EPSILON, SIGMA = 120 * KB, 3.4
"""Argon: eV and Å."""

ENSEMBLES = {
    "nvt csvr": {"ensemble": "nvt", "thermostat": "csvr"},
    "nvt langevin": {"ensemble": "nvt", "thermostat": "langevin"},
    "nvt nose-hoover": {"ensemble": "nvt", "thermostat": "nose-hoover"},
    "npt isotropic": {"ensemble": "npt", "cell": "isotropic"},
    "npt full": {"ensemble": "npt", "cell": "full", "compressibility": 0.7},
}


def fluid(repeat: int | tuple[int, int, int], density: float) -> System:
    """Argon atoms on an fcc lattice at a reduced density."""
    edge = (4 / density) ** (1 / 3) * SIGMA
    atoms = bulk("Ar", a=edge, cubic=True) * repeat
    return System.from_atoms(atoms)


def sample(system: System, cutoff: float = 2.5, **settings: object) -> MDResult:
    """Run with a smoothly truncated Lennard-Jones potential; rows are 100 fs apart."""
    field = LennardJones(EPSILON, SIGMA, cutoff * SIGMA, onset=(cutoff - 0.5) * SIGMA)
    defaults = {"timestep": 5.0, "thermo_every": 20, "trajectory_every": 1000}
    quick = {"thermostat_time": 50.0}  # kinetic energies 100 fs apart are then independent
    slow = {"checkpoint_every": 100_000, "compressibility": 3.0, "barostat_time": 200.0}
    return run_md(field, system, MDConfig.read(None, {**defaults, **quick, **slow, **settings}))


def simulation_data(result: MDResult, settings: dict, temperature: float, pressure: float):
    """Hand a run to physical_validation, without its first fifth."""
    from physical_validation import data

    units = data.UnitData(
        kb=KB,
        energy_conversion=96.48533,
        length_conversion=0.1,
        volume_conversion=1e-3,
        temperature_conversion=1.0,
        pressure_conversion=1e4 * GPA,
        time_conversion=1e-3,
    )
    atoms = len(result.system)
    system = data.SystemData(
        natoms=atoms,
        nconstraints=0,
        ndof_reduction_tra=0 if settings.get("thermostat") == "langevin" else 3,
        ndof_reduction_rot=0,
        mass=standard_masses(result.system.species),
    )
    npt = settings["ensemble"] == "npt"
    held = {"pressure": pressure / GPA} if npt else {"volume": result.system.volume}
    name = settings["ensemble"].upper()
    state = data.EnsembleData(name, natoms=atoms, temperature=temperature, **held)
    rows = slice(len(result.thermo["step"]) // 5, None)
    observables = data.ObservableData(
        kinetic_energy=result.thermo["kinetic_eV"][rows],
        potential_energy=result.thermo["potential_eV"][rows],
        total_energy=result.thermo["total_eV"][rows],
        volume=result.thermo["volume_A3"][rows],
    )
    return data.SimulationData(
        units=units, dt=5.0, system=system, ensemble=state, observables=observables
    )


def check_ensemble(settings: dict, states: list[tuple], system: System, steps: int) -> dict:
    """Compare a run at the first state (K, GPa) with one at each other, and each with the exact K.

    In a crystal, energy and volume go together so closely that a state should differ from the first
    in temperature or in pressure alone.
    """
    import physical_validation as pv

    runs = []
    for seed, (temperature, pressure) in enumerate(states):
        extra = {"pressure": pressure} if settings["ensemble"] == "npt" else {}
        chosen = {**settings, **extra, "temperature": temperature, "seed": seed, "steps": steps}
        result = sample(system, **chosen)
        runs.append(simulation_data(result, settings, temperature, pressure))
    with quiet():
        kinetic = [
            np.abs(
                pv.kinetic_energy.distribution(
                    run, verbosity=0, bootstrap_seed=1, data_is_uncorrelated=True
                )
            ).max()
            for run in runs
        ]
        ratios = [pv.ensemble.check(runs[0], other, verbosity=0) for other in runs[1:]]
    return {
        "kinetic_energy_deviations": [float(value) for value in kinetic],
        "ensemble_deviations": [float(v) for ratio in ratios for v in np.atleast_1d(ratio)],
    }


def check_convergence(system: System, time: float) -> float:
    """How far the error of the conserved energy is from second order in the time step (log2)."""
    from physical_validation import data, integrator

    runs = []
    for timestep in (16.0, 8.0, 4.0, 2.0):
        result = sample(
            system,
            ensemble="nve",
            temperature=90.0,
            timestep=timestep,
            thermo_every=1,
            steps=int(time / timestep),
        )
        energy = data.ObservableData(constant_of_motion=result.thermo["conserved_eV"])
        runs.append(data.SimulationData(dt=timestep, observables=energy))
    with quiet():
        return float(integrator.convergence(runs, verbose=False))


def check_density(
    repeat: int, cutoff: float, steps: int, density: float = 0.7, timestep: float = 5.0
) -> dict:
    """Density of the fluid at T* = 1.5 and the pressure that the equation of state asks for."""
    heat = 1.5
    target = kolafa_nezbeda_pressure(heat, density) - tail_pressure(density, cutoff)
    pressure = target * EPSILON / SIGMA**3 * GPA
    field = LennardJones(EPSILON, SIGMA, cutoff * SIGMA)
    config = MDConfig(
        ensemble="npt",
        temperature=heat * EPSILON / KB,
        pressure=pressure,
        timestep=timestep,
        steps=steps,
        compressibility=2.0,
        barostat_time=500.0,
        checkpoint_every=100_000,
        trajectory_every=1000,
    )
    result = run_md(field, fluid(repeat, 0.9 * density), config)
    volumes = result.thermo["volume_A3"][len(result.thermo["step"]) // 5 :]
    found = block_average(len(result.system) * SIGMA**3 / volumes)
    return {
        "temperature": heat,
        "pressure": target + tail_pressure(density, cutoff),
        "cutoff": cutoff,
        "atoms": len(result.system),
        "density_eos": density,
        "density": found.mean,
        "error": found.error,
    }


def tail_pressure(density: float, cutoff: float) -> float:
    """Pressure (reduced) of the pairs beyond the cutoff, of a fluid without structure there."""
    return 16 / 3 * np.pi * density**2 * (2 / 3 * cutoff**-9 - cutoff**-3)


def kolafa_nezbeda_pressure(temperature: float, density: float) -> float:
    """Pressure of the Lennard-Jones fluid, reduced units.

    The derivative of the free energy, eqs. 30 and 31 and table 3: hard spheres of a
    temperature-dependent size, a second virial coefficient, and a double power series.
    """
    t, gamma = np.sqrt(temperature), 1.92907278
    diameter = 0.011117524 / t**2 - 0.076383859 / t + 1.080142248 + 0.000693129 * t
    diameter -= 0.063920968 * np.log(temperature)
    virial = sum(
        c * t**-power
        for power, c in {
            0: 0.02459877,
            2: -7.02181962,
            3: 2.90616279,
            4: -4.13749995,
            5: 0.87361369,
            6: 0.43102052,
            7: -0.58544978,
        }.items()
    )
    series = {
        0: (2.01546797, -28.17881636, 28.28313847, -10.42402873),
        -1: (-19.58371655, 75.62340289, -120.70586598, 93.92740328, -27.37737354),
        -2: (29.34470520, -112.35356937, 170.64908980, -123.06669187, 34.42288969),
        -4: (-13.37031968, 65.38059570, -115.09233113, 88.91973082, -25.62099890),
    }
    packing = np.pi / 6 * density * diameter**3
    hard = 1 + packing + packing**2 - 2 / 3 * packing**3 * (1 + packing)
    hard /= (1 - packing) ** 3
    square = gamma * density**2
    second = density * (1 - 2 * square) * np.exp(-square) * virial
    rest = sum(
        c * (order + 2) * t**power * density ** (order + 2)
        for power, row in series.items()
        for order, c in enumerate(row)
    )
    return density * (temperature * (hard + second) + rest)


@contextlib.contextmanager
def quiet():
    """Silence the chatter of physical_validation and pymbar."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=60_000)
    parser.add_argument("--out", default=Path(__file__).parent / "results/ensembles.json")
    arguments = parser.parse_args()
    system, begin, report = fluid(2, 0.75), time.time(), {}
    for name, settings in ENSEMBLES.items():
        npt = settings["ensemble"] == "npt"
        states = [(150.0, 0.1), (160.0, 0.1), (150.0, 0.13)] if npt else [(150.0, 0), (165.0, 0)]
        chosen = system
        if name == "npt full":  # a crystal: nothing holds the shape of a fluid's cell
            states, chosen = [(45.0, 0.0), (49.0, 0.0), (45.0, 0.03)], fluid(2, 1.0)
        report[name] = check_ensemble(settings, states, chosen, arguments.steps)
        print(name, report[name], file=sys.stderr)
    report["nve convergence"] = check_convergence(system, time=4000.0)
    report["density"] = check_density(4, 3.5, arguments.steps // 2)
    report["setup"] = {
        "steps": arguments.steps,
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "minutes": round((time.time() - begin) / 60, 1),
        "command": f"python benchmarks/validate_ensembles.py --steps {arguments.steps}",
    }
    text = json.dumps(report, indent=1)
    Path(arguments.out).parent.mkdir(parents=True, exist_ok=True)
    Path(arguments.out).write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
