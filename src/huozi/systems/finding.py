"""What is wrong with a frame, and the faults that no reader lets pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from ase.data import chemical_symbols

from huozi.systems.frame import Array, Frame


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or looks wrong.

    Parameters
    ----------
    severity : {'error', 'warning'}
        An error makes the data unfit for training; a warning deserves a look.
    code : str
        Kind of finding, e.g. ``close-atoms``; stable, for scripts.
    message : str
        What was found, what was expected.
    remedy : str
        What to do.
    source : str
        ``file#index`` of the frame, or empty when it concerns the whole set.
    frame : int, optional
        Index of the frame in the data set.
    atom : int, optional
        Index of the atom in the frame.
    """

    severity: Literal["error", "warning"]
    code: str
    message: str
    remedy: str
    source: str = ""
    frame: int | None = None
    atom: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.source}: {self.message}; {self.remedy}"
            if self.source
            else (f"{self.message}; {self.remedy}")
        )


def faults(frame: Frame, index: int) -> Iterator[Finding]:
    """Yield what makes a frame unusable: no atoms, wrong shapes, numbers that are not finite.

    Parameters
    ----------
    frame : Frame
    index : int
        Its place in the data set.
    """
    system, labels = frame.system, frame.labels
    n = len(system)

    def fault(code: str, message: str, remedy: str, atom: int | None = None) -> Finding:
        return Finding("error", code, message, remedy, frame.source, index, atom)

    if n == 0:
        yield fault("no-atoms", "the frame has no atoms", "remove the frame")
        return
    bad = np.flatnonzero((system.species < 1) | (system.species > 118))
    if bad.size:
        yield fault(
            "unknown-element",
            f"atom {bad[0]} has the atomic number {system.species[bad[0]]}",
            "give every atom a chemical element",
            int(bad[0]),
        )
    per_atom = {"position of": (system.positions, "Å"), "force on": (labels.forces, "eV/Å")}
    for name, (values, unit) in per_atom.items():
        if values is None:
            continue
        if np.shape(values) != (n, 3):
            yield fault(
                "wrong-shape",
                f"the {name.split()[0]}s have shape {np.shape(values)}, expected ({n}, 3)",
                "restore the file or remove the frame",
            )
            continue
        atom = _first_bad_row(values)
        if atom is not None:
            symbol = chemical_symbols[system.species[atom]] if not bad.size else "?"
            yield fault(
                "not-finite",
                f"the {name} atom {atom} ({symbol}) is {_show(values[atom])} {unit}",
                "remove the frame or compute it again",
                atom,
            )
    for name, value, unit in (
        ("energy", labels.energy, "eV"),
        ("virial", labels.virial, "eV"),
        ("cell", system.cell, "Å"),
    ):
        if value is not None and not np.isfinite(value).all():
            yield fault(
                "not-finite",
                f"the {name} is {_show(np.asarray(value))} {unit}",
                "remove the frame or compute it again",
            )
    if system.pbc.any() and np.isfinite(system.cell).all() and not _spans(system.cell, system.pbc):
        yield fault(
            "no-cell",
            f"the frame is periodic (pbc {system.pbc.tolist()}) but its cell has no volume: "
            f"{_show(system.cell)} Å",
            "give the cell, or say that the system is open (pbc F, or a file 'nopbc')",
        )


def _first_bad_row(values: Array) -> int | None:
    if np.isfinite(values).all():
        return None
    return int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])


def _spans(cell: Array, pbc: Array) -> bool:
    """Tell whether the periodic lattice vectors are linearly independent."""
    vectors = cell[pbc]
    lengths = np.linalg.norm(vectors, axis=1)
    if (lengths < 1e-6).any():
        return False
    return bool(np.linalg.svd(vectors / lengths[:, None], compute_uv=False)[-1] > 1e-6)


def _show(values: Array) -> str:
    return str(np.asarray(values).tolist())
