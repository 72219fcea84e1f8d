"""Checks of positions and cells: atoms too close, lengths in wrong units, odd boxes, copies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from ase.data import chemical_symbols, covalent_radii

from huozi.systems.duplicates import find_duplicates
from huozi.systems.finding import Finding
from huozi.systems.frame import Array, Frame, System
from huozi.systems.pairfit import pairs_within
from huozi.units import BOHR

Indexed = Sequence[tuple[int, Frame]]
IMPOSSIBLE, SUSPICIOUS = 0.5, 0.6  # of the sum of covalent radii
CROWDED = 1.0  # atoms/Å^3; solid hydrogen at 400 GPa has about 0.7
_NOBLE = (2, 10, 18, 36, 54, 86)
_RADII = np.nan_to_num(covalent_radii, nan=0.2)


def is_crowded(system: System) -> bool:
    """Tell whether the cell holds more atoms than any matter does."""
    return bool(system.pbc.all()) and len(system) > CROWDED * system.volume


def check_cell(index: int, frame: Frame) -> Iterator[Finding]:
    """Yield findings on the cell of one frame: density and handedness."""
    system = frame.system
    density = system.density
    if density is None:
        return
    if is_crowded(system) or density > 25:
        yield Finding(
            "error" if is_crowded(system) else "warning",
            "density",
            f"the density is {density:.4g} g/cm^3 ({len(system)} atoms in {system.volume:.4g} Å^3)",
            "give the cell in Å (a cell in nm looks like this)",
            frame.source,
            index,
        )
    if np.linalg.det(system.cell) < 0:
        yield Finding(
            "warning",
            "left-handed-cell",
            "the lattice vectors form a left-handed set (negative determinant)",
            "LAMMPS and others refuse it: swap two lattice vectors",
            frame.source,
            index,
        )


def check_close_atoms(index: int, frame: Frame) -> Iterator[Finding]:
    """Yield the closest pair of a frame if it is closer than chemistry allows."""
    system = frame.system
    radii = _RADII[system.species]
    first, second, distances, _ = pairs_within(system, 2 * SUSPICIOUS * float(radii.max()))
    ratios = distances / (radii[first] + radii[second])
    if not ratios.size or ratios.min() >= SUSPICIOUS:
        return
    k = int(ratios.argmin())
    i, j = int(first[k]), int(second[k])
    names = [f"{a} ({chemical_symbols[system.species[a]]})" for a in (i, j)]
    others = int((ratios < SUSPICIOUS).sum()) - 1
    yield Finding(
        "error" if ratios[k] < IMPOSSIBLE else "warning",
        "close-atoms",
        f"atoms {names[0]} and {names[1]} are {distances[k]:.3f} Å apart, {ratios[k]:.2f} of the "
        f"sum of their covalent radii" + (f"; {others} more such pairs" if others else ""),
        "remove the frame, or check the cell and the unit of length",
        frame.source,
        index,
        i,
    )


def check_lengths(frames: Indexed) -> Iterator[Finding]:
    """Yield a finding if typical neighbour distances look like nm or bohr instead of Å."""
    sample = [f for _, f in frames[:: max(1, len(frames) // 50)] if not is_crowded(f.system)]
    ratios = np.concatenate([_nearest_ratios(f.system) for f in sample] or [np.zeros(0)])
    if ratios.size < 5:
        return
    typical = float(np.median(ratios))
    if typical < 0.25:
        guess, remedy = "nm", "multiply the positions by 10"
    elif typical < 0.66:
        guess, remedy = "Å divided by 1.89", f"multiply the positions by {1 / BOHR:.5f}"
    elif typical > 1.55:
        guess, remedy = "bohr", f"multiply the positions by {BOHR:.6f}"
    else:
        return
    yield Finding(
        "error",
        "length-unit",
        f"the nearest neighbours are at {typical:.2f} times the sum of their covalent radii in "
        f"the median (0.8 to 1.3 in molecules and solids); the positions look like {guess}",
        f"{remedy} (and the cell, if it has the same unit)",
    )


def _nearest_ratios(system: System) -> Array:
    """Distance of each atom's nearest neighbour over the sum of covalent radii."""
    usual = ~np.isin(system.species, _NOBLE) & (system.species < 89)
    radii = _RADII[system.species]
    first, second, distances, _ = pairs_within(system, 6.0)
    relative = distances / (radii[first] + radii[second])
    nearest = np.full(len(system), np.inf)
    np.minimum.at(nearest, first, relative)
    np.minimum.at(nearest, second, relative)
    return nearest[usual & np.isfinite(nearest)]


def check_box_unit(frames: Indexed) -> Iterator[Finding]:
    """Yield a finding if the atoms fill the same odd part of the box in all three directions.

    A box in bohr around positions in Å leaves the atoms in 0.53 of each edge.
    """
    filled = [_filled(f.system) for _, f in frames if f.system.pbc.all() and len(f) >= 20]
    if not filled or len(filled) < 0.5 * len(frames):
        return
    typical = np.median(np.array(filled), axis=0)
    if np.ptp(typical) > 0.1 or typical.max() > 0.6:
        return
    in_bohr = abs(float(typical.mean()) - BOHR) < 0.05
    yield Finding(
        "warning",
        "box-unit",
        f"the atoms fill only {typical.mean():.2f} of each edge of their periodic box"
        + (" (a box in bohr looks like this)" if in_bohr else ""),
        f"multiply the box by {BOHR:.6f} if it is in bohr; make the system open if it is a cluster",
    )


def _filled(system: System) -> Array:
    """Part of each edge that is not empty, (3,): one less the largest gap beyond the second."""
    scaled = np.sort((system.positions @ np.linalg.inv(system.cell)) % 1.0, axis=0)
    gaps = np.sort(np.diff(np.concatenate([scaled, scaled[:1] + 1]), axis=0), axis=0)
    return np.asarray(1 - gaps[-1] + gaps[-2])


def check_duplicates(frames: Indexed) -> Iterator[Finding]:
    """Yield frames that repeat an earlier one, and say if their labels differ."""
    for later, earlier in find_duplicates([f for _, f in frames]):
        index, frame = frames[later]
        _, other = frames[earlier]
        conflict = _conflict(frame, other)
        yield Finding(
            "error" if conflict else "warning",
            "conflicting-labels" if conflict else "duplicate",
            f"the same structure as {other.source or f'frame {frames[earlier][0]}'}"
            + (f", but {conflict}" if conflict else ""),
            "keep the right one" if conflict else "remove one, lest it leak into the test set",
            frame.source,
            index,
        )


def _conflict(a: Frame, b: Frame) -> str:
    """Say how the labels of the same structure differ by more than convergence explains."""
    if a.labels.energy is not None and b.labels.energy is not None:
        difference = abs(a.labels.energy - b.labels.energy)
        if difference > 1e-3 * len(a):
            return f"its energy differs by {difference:.4g} eV"
    if a.labels.forces is not None and b.labels.forces is not None:
        largest = float(np.abs(a.labels.forces - b.labels.forces).max())
        if largest > 0.05:
            return f"its forces differ by up to {largest:.3g} eV/Å"
    return ""
