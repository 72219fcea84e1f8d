"""The thermodynamic log: ``thermo.csv``, one row every so many steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from huozi.dynamics.log import append_lines
from huozi.units import AMU_A3_GCM3, GPA

Array = NDArray[Any]

COLUMNS = (
    "step",
    "time_fs",
    "potential_eV",
    "kinetic_eV",
    "total_eV",
    "conserved_eV",
    "temperature_K",
    "pressure_GPa",
    "density_g_cm3",
    "volume_A3",
)


def thermo_columns(rows: Array, timestep: float, mass: float, periodic: bool) -> Array:
    """Turn the loop's records (t, 7) into the columns of the log.

    Pressure, density and volume of a system that is not periodic are not a number.
    """
    step, potential, kinetic, conserved, temperature, pressure, volume = rows.T
    if not periodic:
        pressure = volume = np.full(len(rows), np.nan)
    density = mass * AMU_A3_GCM3 / volume
    total = potential + kinetic
    columns = (step, step * timestep, potential, kinetic, total, conserved, temperature)
    return np.stack([*columns, pressure * GPA, density, volume], axis=1)


def append_thermo(path: Path, values: Array) -> None:
    """Add rows at the end of the log, with a header when it is new."""
    lines = [",".join([str(int(row[0])), *(f"{x:.12g}" for x in row[1:])]) for row in values]
    append_lines(path, ",".join(COLUMNS), lines)


def read_thermo(path: str | Path) -> dict[str, Array]:
    """Read the thermodynamic log of a run, finished or not.

    Parameters
    ----------
    path : path
        The run's folder, or its ``thermo.csv``.

    Returns
    -------
    dict
        Column name (``step``, ``time_fs``, ``potential_eV``, ...) to array.

    Raises
    ------
    FileNotFoundError
        If there is no log.
    ValueError
        If the file has other columns.
    """
    path = Path(path)
    path = path / "thermo.csv" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"no thermodynamic log at {path}")
    header, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    if tuple(header.strip().split(",")) != COLUMNS:
        raise ValueError(f"{path} is not a log of huozi md; its first line is {header.strip()!r}")
    whole = [line for line in lines if line.endswith("\n")]
    values = np.array([line.split(",") for line in whole], float).reshape(-1, len(COLUMNS))
    return {name: values[:, column] for column, name in enumerate(COLUMNS)}
