"""What there is to analyse: a run's folder, or any trajectory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase import Atoms
from numpy.typing import NDArray

from huozi.dynamics.thermo import read_thermo
from huozi.dynamics.trajectory import Trajectory, read_trajectory
from huozi.units import ASE_TIME

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class RunData:
    """A trajectory with what is known of how it was made.

    Parameters
    ----------
    trajectory : Trajectory
        A sequence of ASE ``Atoms``, and arrays of unwrapped positions and velocities.
    time_step : float or None
        Time between frames, fs; None when it is not known: no dynamics then.
    thermo : dict or None
        Columns of the thermodynamic log (see `read_thermo`).
    config : dict
        Settings of the run; empty for a bare trajectory.
    """

    trajectory: Trajectory
    time_step: float | None
    thermo: dict[str, Array] | None
    config: dict[str, Any]


def read_run(path: str | Path, time_step: float | None = None, skip: float = 0.0) -> RunData:
    """Read a run's folder, or a trajectory in any format that ASE reads.

    Parameters
    ----------
    path : path
        Folder written by ``huozi md``, or a file.
    time_step : float, optional
        Time between the frames of a file that does not know it, fs.
    skip : float
        Leave out the first part of the run as equilibration, ps.

    Returns
    -------
    RunData

    Raises
    ------
    FileNotFoundError
        If there is nothing at the path.
    ValueError
        If the frames differ in their atoms, fewer than four remain, or the time is not positive.
    """
    if time_step is not None and not time_step > 0:
        raise ValueError(f"the time between frames must be positive; found {time_step:g} fs")
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no run and no trajectory at {path}")
    if path.is_dir() or path.suffix == ".h5":
        trajectory = read_trajectory(path)
        step: float | None = trajectory.time_step if len(trajectory) > 1 else None
    else:
        trajectory, step = _read_with_ase(path, time_step)
    thermo = read_thermo(path) if (path / "thermo.csv").is_file() else None
    config_file = path / "config.yaml"
    config = {}
    if config_file.is_file():
        config = yaml.safe_load(config_file.read_text(encoding="utf-8")).get("config", {})
    begin = trajectory.times[0] + skip * 1e3 if len(trajectory) else 0.0
    if skip and step is None:
        raise ValueError(f"{path} does not know its times: give the time between frames to skip")
    trajectory = trajectory[np.flatnonzero(trajectory.times >= begin)]
    if len(trajectory) < 4:
        raise ValueError(f"{path}: {len(trajectory)} frames after {skip:g} ps; four are needed")
    if thermo is not None:
        keep = thermo["time_fs"] >= begin
        thermo = {name: column[keep] for name, column in thermo.items()}
    return RunData(trajectory, step, thermo, config)


def _read_with_ase(path: Path, time_step: float | None) -> tuple[Trajectory, float | None]:
    """Read frames, and undo the wrapping of positions into the cell."""
    from ase.io import read

    try:
        frames: list[Any] = list(read(path, index=":", do_not_split_by_at_sign=True))
    except Exception as error:
        raise ValueError(f"{path} is not a trajectory that ASE reads: {error}") from error
    numbers = frames[0].numbers
    for index, atoms in enumerate(frames):
        if not np.array_equal(atoms.numbers, numbers):
            raise ValueError(f"{path}#{index}: other atoms, or in another order, than in frame 0")
    times = [atoms.info.get("time") for atoms in frames]
    if time_step is None and len(frames) > 1 and None not in times:
        gaps = np.diff(np.array(times, float))
        even = gaps[0] > 0 and np.allclose(gaps, gaps[0], rtol=1e-4)
        time_step = float(gaps[0]) if even else None
    moving = all(atoms.has("momenta") for atoms in frames)
    cells = np.stack([atoms.cell.array for atoms in frames])
    trajectory = Trajectory(
        species=numbers,
        masses=frames[0].get_masses(),
        pbc=frames[0].pbc,
        steps=np.arange(len(frames)),
        times=np.arange(len(frames)) * (time_step or 0.0),
        positions=_unwrapped(frames, cells),
        velocities=np.stack([a.get_velocities() for a in frames]) / ASE_TIME if moving else None,
        cells=cells,
        energies=np.array([_energy(atoms) for atoms in frames]),
    )
    return trajectory, time_step


def _unwrapped(frames: list[Atoms], cells: Array) -> Array:
    """Positions that move less than half a cell between frames."""
    positions = np.stack([atoms.positions for atoms in frames])
    pbc = frames[0].pbc
    if not pbc.all() or frames[0].cell.rank < 3:
        return positions
    scaled = positions @ np.linalg.inv(cells)
    jumps = np.cumsum(np.round(np.diff(scaled, axis=0)), axis=0)
    scaled[1:] -= jumps
    return np.asarray(scaled @ cells)


def _energy(atoms: Atoms) -> float:
    if atoms.calc is None or "energy" not in atoms.calc.results:
        return float("nan")
    return float(atoms.calc.results["energy"])
