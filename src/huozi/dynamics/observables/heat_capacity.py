"""Heat capacity from fluctuations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from huozi.dynamics.observables.blocks import as_series, block_average
from huozi.units import GPA, KB

Array = NDArray[Any]


class HeatCapacity(NamedTuple):
    """A classical heat capacity of the whole box, eV/K, and its standard error.

    `converged` is false when the series is too short: the error is then a lower bound.
    """

    value: float
    error: float
    converged: bool


def heat_capacity(
    energy: Sequence[float] | Array,
    temperature: float,
    volume: Sequence[float] | Array | None = None,
    pressure: float = 0.0,
) -> HeatCapacity:
    """Heat capacity from the fluctuations of the total energy or enthalpy.

    C_V = var(E) / (kB T^2) at constant volume; C_p = var(E + p V) / (kB T^2) at constant
    pressure, when volumes are given. Nuclei are classical: every vibration contributes kB, also
    those that quantum mechanics freezes (three per water molecule).

    Parameters
    ----------
    energy : (t,) array
        Kinetic plus potential energy in equilibrium, eV (not the thermostat's conserved one).
    temperature : float
        Of the thermostat, K.
    volume : (t,) array, optional
        Å^3, of a run at constant pressure.
    pressure : float
        Of the barostat, GPa.

    Returns
    -------
    HeatCapacity

    Raises
    ------
    ValueError
        If the series are shorter than 16, differ in length or are not finite.

    Source: Allen & Tildesley, Computer Simulation of Liquids, 2nd ed., section 2.5.
    """
    series = as_series(energy, least=16)
    if not temperature > 0:
        raise ValueError(f"the temperature must be positive; found {temperature} K")
    if volume is not None:
        volumes = as_series(volume, least=16)
        if len(volumes) != len(series):
            raise ValueError(f"{len(series)} energies but {len(volumes)} volumes")
        series = series + pressure / GPA * volumes
    squares = (series - series.mean()) ** 2
    average = block_average(squares)
    independent = len(series) / (2 * block_average(series).correlation_time)
    scale = independent / (independent - 1) / (KB * temperature**2)
    return HeatCapacity(average.mean * scale, average.error * scale, average.converged)
