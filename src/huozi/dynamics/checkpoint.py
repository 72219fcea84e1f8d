"""Checkpoints: every bit that the rest of a simulation depends on."""

from __future__ import annotations

import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from huozi.arrays import jnp
from huozi.dynamics.state import State
from huozi.files import atomic_path


def save_checkpoint(path: Path, state: State, width: int) -> None:
    """Write the state, and the width of the neighbour table, which orders sums."""
    arrays: dict[str, Any] = {f.name: np.asarray(getattr(state, f.name)) for f in fields(State)}
    with atomic_path(path) as temporary:
        np.savez(temporary, width=width, **arrays)


def load_checkpoint(path: Path) -> tuple[State, int] | None:
    """Read a checkpoint; None when there is none.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    if not path.exists():
        return None
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            state = State(**{item.name: jnp.asarray(file[item.name]) for item in fields(State)})
            return state, int(file["width"])
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"the checkpoint {path} is damaged ({error}); delete it to start the run again"
        ) from error
