"""Atoms, their labels, and sets of labelled frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_masses, chemical_symbols
from numpy.typing import NDArray

from huozi.units import AMU_A3_GCM3

Array = NDArray[Any]


def voigt_stress(virial: Array, volume: float) -> Array:
    """ASE's stress (6,), eV/Å^3 in the order xx yy zz yz xz xy, from a virial (3, 3) in eV."""
    stress = -virial / volume
    stress = (stress + stress.T) / 2
    return np.asarray(stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]])


def weights_of_errors(errors: Sequence[Any]) -> list[Any]:
    """Weights of labels by their standard errors: m / (m + error^2), 1 where there is no error.

    Times m^-1 that is the inverse of a variance to which every label adds m, the median of all
    squared errors: what a model cannot fit anyway. Exact labels count most, no label everything.

    Parameters
    ----------
    errors : sequence of floats, arrays or None
    """
    known = [np.ravel(e) for e in errors if e is not None]
    square = float(np.median(np.concatenate(known) ** 2)) if known else 0.0
    if square == 0:
        return [1.0 if e is None else np.ones(np.shape(e)) for e in errors]
    return [1.0 if e is None else square / (square + np.square(e)) for e in errors]


@dataclass(frozen=True, eq=False)
class System:
    """Atoms in a cell.

    Parameters
    ----------
    species : (n,) int array
        Atomic numbers.
    positions : (n, 3) float array
        Å.
    cell : (3, 3) float array
        Lattice vectors as rows, Å; zero rows along open directions are allowed.
    pbc : (3,) bool array
        Periodic directions.
    """

    species: Array
    positions: Array
    cell: Array
    pbc: Array

    def __len__(self) -> int:
        return len(self.species)

    @property
    def volume(self) -> float:
        """Cell volume, Å^3 (0 for an open system without a cell)."""
        return float(abs(np.linalg.det(self.cell)))

    @property
    def density(self) -> float | None:
        """Mass density, g/cm^3; None unless periodic in all directions with a volume."""
        volume = self.volume
        if not self.pbc.all() or volume == 0:
            return None
        return float(atomic_masses[self.species].sum() * AMU_A3_GCM3 / volume)

    @property
    def proportions(self) -> tuple[int, ...]:
        """Smallest whole numbers in the proportion of the atoms, by atomic number."""
        counts = np.bincount(self.species, minlength=119)
        return tuple(int(c) for c in counts // np.gcd.reduce(counts))

    @classmethod
    def from_atoms(cls, atoms: Atoms) -> System:
        """Copy the geometry of an ASE ``Atoms``."""
        return cls(
            np.asarray(atoms.numbers, np.int32).copy(),
            np.asarray(atoms.positions, np.float64).copy(),
            np.asarray(atoms.cell.array, np.float64).copy(),
            np.asarray(atoms.pbc, bool).copy(),
        )

    def to_atoms(self) -> Atoms:
        """Return an ASE ``Atoms`` with this geometry."""
        return Atoms(numbers=self.species, positions=self.positions, cell=self.cell, pbc=self.pbc)


@dataclass(frozen=True, eq=False)
class Labels:
    """What quantum mechanics says of one frame; every label may be absent.

    Parameters
    ----------
    energy : float, optional
        eV.
    forces : (n, 3) float array, optional
        eV/Å.
    virial : (3, 3) float array, optional
        eV; minus the derivative of the energy with respect to strain, that is minus the
        volume times ASE's stress (positive diagonal under compression, as in deepmd).
    energy_error, forces_error : float, (n, 3) float array, optional
        Standard errors of labels that come from sampling, eV and eV/Å.
    """

    energy: float | None = None
    forces: Array | None = None
    virial: Array | None = None
    energy_error: float | None = None
    forces_error: Array | None = None


@dataclass(frozen=True, eq=False)
class Frame:
    """One labelled configuration and where it came from.

    Parameters
    ----------
    system : System
    labels : Labels
    source : str
        ``file#index`` of the frame, for messages.
    info : dict
        Everything else the file says of the frame (``group``, ``config_type``, time, ...).
    arrays : dict of (n, ...) arrays
        Everything else the file says of its atoms (``momenta``, charges, tags, ...).
    """

    system: System
    labels: Labels = field(default_factory=Labels)
    source: str = ""
    info: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.system)

    def to_atoms(self) -> Atoms:
        """Return an ASE ``Atoms`` that carries the labels in a ``SinglePointCalculator``.

        The virial becomes ASE's (symmetric) stress; without a cell there is none.
        """
        atoms = self.system.to_atoms()
        atoms.info.update(self.info)
        for name, values in self.arrays.items():
            atoms.set_array(name, values)
        results: dict[str, Any] = {}
        if self.labels.energy is not None:
            results["energy"] = self.labels.energy
        if self.labels.forces is not None:
            results["forces"] = self.labels.forces
        if self.labels.virial is not None and self.system.volume > 0:
            results["stress"] = voigt_stress(self.labels.virial, self.system.volume)
        if results:
            atoms.calc = SinglePointCalculator(atoms, **results)
        return atoms


@dataclass(frozen=True, eq=False)
class Dataset(Sequence[Frame]):
    """An immutable sequence of frames.

    Parameters
    ----------
    frames : tuple of Frame
    notes : tuple of str
        What the readers decided, e.g. which keys served as energy and forces.
    """

    frames: tuple[Frame, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.frames)

    def __getitem__(self, index: Any) -> Any:
        """Return a frame for an integer, a data set for a slice, integers or a mask."""
        if isinstance(index, slice):
            return replace(self, frames=self.frames[index])
        if isinstance(index, (int, np.integer)):
            return self.frames[int(index)]
        index = np.asarray(list(index))
        if index.dtype == bool:
            if index.shape != (len(self.frames),):
                raise IndexError(f"a mask of shape {index.shape} for {len(self.frames)} frames")
            index = np.flatnonzero(index)
        return replace(self, frames=tuple(self.frames[int(i)] for i in index))

    def __add__(self, other: Dataset) -> Dataset:
        return Dataset(self.frames + other.frames, self.notes + other.notes)

    def count_matrix(self) -> Array:
        """Atoms of each of `elements` in each frame, (frames, elements) integers."""
        rows = [np.bincount(f.system.species, minlength=119) for f in self.frames]
        return np.array(rows, np.int64).reshape(-1, 119)[:, list(self.elements)]

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that occur, ascending."""
        if not self.frames:
            return ()
        return tuple(sorted({int(z) for f in self.frames for z in np.unique(f.system.species)}))

    @property
    def symbols(self) -> tuple[str, ...]:
        """Chemical symbols that occur, by atomic number."""
        return tuple(chemical_symbols[z] for z in self.elements)
