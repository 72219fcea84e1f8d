"""From a configuration to the integrator that samples it."""

from __future__ import annotations

from huozi.arrays import jax
from huozi.dynamics.cell_rescaling import CellRescaling
from huozi.dynamics.config import MDConfig
from huozi.dynamics.csvr import StochasticRescaling
from huozi.dynamics.langevin import Langevin
from huozi.dynamics.nose_hoover import NoseHoover
from huozi.dynamics.nve import NVE
from huozi.dynamics.state import Integrator
from huozi.units import GPA


def make_integrator(config: MDConfig, atoms: int) -> Integrator:
    """Return the integrator for a configuration.

    Degrees of freedom are 3n for Langevin dynamics, which thermalises the centre of mass too,
    and 3n - 3 elsewhere: the total momentum is zero and stays so.

    Raises
    ------
    ValueError
        If a single atom is to move without a Langevin bath: it could not move at all.
    """
    langevin = config.ensemble == "nvt" and config.thermostat == "langevin"
    dof = 3.0 * atoms - (0 if langevin else 3)
    if dof <= 0:
        raise ValueError(
            f"{atoms} atom with zero total momentum cannot move; "
            "use ensemble nvt with thermostat langevin"
        )
    bath = (config.timestep, dof, config.temperature, config.thermostat_time)
    key = jax.random.key(config.seed)
    if config.ensemble == "nve":
        return NVE(config.timestep, dof)
    if config.ensemble == "npt":
        return CellRescaling(
            *bath,
            pressure=config.pressure / GPA,
            cell_time_constant=config.barostat_time,
            compressibility=config.compressibility * GPA,
            key=key,
            isotropic=config.cell == "isotropic",
        )
    if config.thermostat == "nose-hoover":
        return NoseHoover(*bath)
    return (Langevin if langevin else StochasticRescaling)(*bath, key)
