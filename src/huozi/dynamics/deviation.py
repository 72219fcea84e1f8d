"""Deviation of several force fields along a run: ``model_devi.out``, and frames that are too far.

The file has the columns of deepmd-kit and of ``pair_style huozi``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read as ase_read
from ase.io import write as ase_write
from numpy.typing import NDArray

from huozi.arrays import jax
from huozi.dynamics.log import append_lines
from huozi.dynamics.state import State
from huozi.dynamics.table import Table
from huozi.files import atomic_path
from huozi.neighbors import DEVIATIONS, Evaluate, Evaluation, deviations, force_deviation

Array = NDArray[Any]

FILE = "model_devi.out"


class DeviationError(ValueError):
    """The force fields of a run differ by more than its configuration allows."""


@dataclass(frozen=True)
class Measured:
    """Deviation of the force fields at one step.

    Parameters
    ----------
    numbers : (6,) array
        See `huozi.neighbors.deviations`; eV and eV/Å.
    atoms : (n,) array
        Deviation of the force on each atom, eV/Å.
    """

    numbers: Array
    atoms: Array


def measure(others: list[Evaluate], state: State, table: Table) -> Measured:
    """Compare a state's forces and virial with those of the other force fields."""
    found = [_evaluate(e, state.positions, state.cell, table) for e in others]
    forces = np.array([state.forces, *(e.forces for e in found)])
    virials = np.array([state.virial, *(e.virial for e in found)])
    return Measured(deviations(forces, virials), force_deviation(forces))


@jax.jit
def _evaluate(evaluate: Evaluate, positions: Any, cell: Any, table: Table) -> Evaluation:
    return evaluate(positions, cell, table.neighbors)


def append_deviation(path: Path, step: int, numbers: Array) -> None:
    """Add one line at the end of the file, with a header when it is new."""
    header = f"#{'step':>11}" + "".join(f" {name:>18}" for name in DEVIATIONS)
    append_lines(path, header, [f"{step:12d}" + "".join(f" {x:18.6e}" for x in numbers)])


def keep_deviating(path: Path, atoms: Atoms, deviation: Array, limit: float) -> int:
    """Add a frame to a file of frames, with its deviation, (n,) eV/Å, in ``force_deviation``.

    Frames of its step and later ones, left by a session that was killed, are replaced.

    Returns
    -------
    int
        Number of frames in the file in which an atom passes the limit.
    """
    earlier = ase_read(path, ":") if path.exists() else []
    atoms.arrays["force_deviation"] = deviation
    frames = [*(a for a in earlier if a.info["step"] < atoms.info["step"]), atoms]
    with atomic_path(path) as temporary:
        ase_write(temporary, frames, format="extxyz")
    return sum(bool(a.arrays["force_deviation"].max() > limit) for a in frames)
