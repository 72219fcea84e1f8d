"""What is in a data set: composition, sizes, density, statistics of the labels."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from huozi.systems.e0 import fit_e0_details
from huozi.systems.frame import Dataset
from huozi.units import GPA


@dataclass(frozen=True)
class Spread:
    """Statistics of one quantity over frames.

    Parameters
    ----------
    frames : int
        How many frames have it.
    mean, std, min, max : float
    """

    frames: int
    mean: float
    std: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Any) -> Spread | None:
        """Statistics of the values, or None if there are none."""
        array = np.asarray(values, np.float64)
        if not array.size:
            return None
        numbers = (array.mean(), array.std(), array.min(), array.max())
        return cls(int(array.size), *(float(v) for v in numbers))


@dataclass(frozen=True)
class DatasetInfo:
    """Summary of a data set.

    Parameters
    ----------
    frames, atoms : int
        Numbers of frames, and of atoms in all frames together.
    elements : tuple of str
    compositions : dict of str to int
        Frames by chemical formula, most frequent first.
    groups : dict of str to int
        Frames by ``group`` or ``config_type``, when frames have one.
    sizes : Spread
        Atoms per frame.
    periodicity : dict of str to int
        Frames that are ``periodic``, ``partly periodic`` and ``open``.
    density : Spread or None
        g/cm^3, of fully periodic frames.
    energy : Spread or None
        eV/atom.
    energy_after_e0 : Spread or None
        eV/atom, after subtraction of the fitted energies of the elements.
    force_rms : float or None
        Root mean square of the force components, eV/Å.
    force_max : Spread or None
        Largest force of each frame, eV/Å.
    pressure : Spread or None
        GPa, potential part: trace of the virial over three volumes.
    e0 : dict of str to float
        Fitted energies of the elements, eV.
    e0_determined : bool
        False when the compositions leave a combination of elements undetermined.
    e0_isolated : tuple of str
        Elements whose E0 is that of an isolated atom in the data.
    notes : tuple of str
        What the readers decided.
    """

    frames: int
    atoms: int
    elements: tuple[str, ...]
    compositions: dict[str, int]
    groups: dict[str, int]
    sizes: Spread
    periodicity: dict[str, int]
    density: Spread | None
    energy: Spread | None
    energy_after_e0: Spread | None
    force_rms: float | None
    force_max: Spread | None
    pressure: Spread | None
    e0: dict[str, float]
    e0_determined: bool
    e0_isolated: tuple[str, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        return asdict(self)


def info(dataset: Dataset) -> DatasetInfo:
    """Summarise a data set.

    Parameters
    ----------
    dataset : Dataset

    Returns
    -------
    DatasetInfo

    Raises
    ------
    ValueError
        If the data set has no frames.
    """
    if not dataset.frames:
        raise ValueError("the data set has no frames")
    sizes = np.array([len(f) for f in dataset])
    energies = [f.labels.energy / len(f) for f in dataset if f.labels.energy is not None]
    forces = [f.labels.forces for f in dataset if f.labels.forces is not None]
    fit = fit_e0_details(dataset) if energies else None
    squares = sum(float(np.sum(f**2)) for f in forces)
    return DatasetInfo(
        frames=len(dataset),
        atoms=int(sizes.sum()),
        elements=dataset.symbols,
        compositions=_compositions(dataset),
        groups=_groups(dataset),
        sizes=Spread(
            len(sizes), *map(float, (sizes.mean(), sizes.std(), sizes.min(), sizes.max()))
        ),
        periodicity=_periodicity(dataset),
        density=Spread.of(densities(dataset)),
        energy=Spread.of(energies),
        energy_after_e0=Spread.of(fit.residuals[np.isfinite(fit.residuals)]) if fit else None,
        force_rms=float(np.sqrt(squares / sum(f.size for f in forces))) if forces else None,
        force_max=Spread.of([np.linalg.norm(f, axis=1).max() for f in forces]),
        pressure=Spread.of(_pressures(dataset)),
        e0={chemical_symbols[z]: e for z, e in fit.values.items()} if fit else {},
        e0_determined=fit.determined if fit else False,
        e0_isolated=tuple(chemical_symbols[z] for z in fit.isolated) if fit else (),
        notes=dataset.notes,
    )


def densities(dataset: Dataset) -> list[float]:
    """Mass densities of the fully periodic frames, g/cm^3."""
    values = (frame.system.density for frame in dataset)
    return [value for value in values if value is not None]


def formula(counts: Any, elements: tuple[int, ...]) -> str:
    """Chemical formula, Hill order: C and H first, the rest by name."""
    symbols = {chemical_symbols[z]: int(c) for z, c in zip(elements, counts) if c}
    first = [s for s in ("C", "H") if s in symbols] if "C" in symbols else []
    order = first + sorted(s for s in symbols if s not in first)
    return "".join(s + (str(symbols[s]) if symbols[s] > 1 else "") for s in order)


def _compositions(dataset: Dataset) -> dict[str, int]:
    rows, counts = np.unique(dataset.count_matrix(), axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {formula(rows[i], dataset.elements): int(counts[i]) for i in order}


def _groups(dataset: Dataset) -> dict[str, int]:
    names = [f.info.get("group", f.info.get("config_type")) for f in dataset]
    return dict(Counter(str(n) for n in names if n is not None).most_common())


def _periodicity(dataset: Dataset) -> dict[str, int]:
    kinds = {0: "open", 1: "partly periodic", 2: "partly periodic", 3: "periodic"}
    return dict(Counter(kinds[int(f.system.pbc.sum())] for f in dataset))


def _pressures(dataset: Dataset) -> list[float]:
    return [
        float(np.trace(f.labels.virial)) / (3 * f.system.volume) * GPA
        for f in dataset
        if f.labels.virial is not None and f.system.pbc.all() and f.system.volume > 0
    ]
