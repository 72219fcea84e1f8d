"""Checks of energies, forces and virials frame by frame and against their fellows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from ase.data import chemical_symbols

from huozi.systems.e0 import fit_e0_details, is_isolated
from huozi.systems.finding import Finding
from huozi.systems.frame import Array, Dataset, Frame

Indexed = Sequence[tuple[int, Frame]]
LARGE_FORCE = 50.0  # eV/Å


def check_presence(frames: Indexed) -> Iterator[Finding]:
    """Yield one finding for each label that some or all frames lack."""
    for name in ("energy", "forces"):
        lacking = [(i, f) for i, f in frames if getattr(f.labels, name) is None]
        if lacking:
            index, frame = lacking[0]
            yield Finding(
                "warning",
                "no-label",
                f"{len(lacking)} of {len(frames)} frames have no {name}, this one first",
                f"name the key with keys={{'{name}': ...}} (--key {name}=...) if they do have one",
                frame.source,
                index,
            )


def check_sums(index: int, frame: Frame) -> Iterator[Finding]:
    """Yield findings on laws that labels must obey: no net force, a symmetric virial."""
    forces, virial = frame.labels.forces, frame.labels.virial
    if forces is not None and len(frame) > 1:
        net = float(np.linalg.norm(forces.sum(axis=0)))
        if net > max(0.1, 0.05 * float(np.linalg.norm(forces))):
            yield Finding(
                "warning",
                "net-force",
                f"the forces add up to {net:.3g} eV/Å, which should be zero",
                "look for a damaged force, constrained atoms or an external field",
                frame.source,
                index,
            )
    if virial is not None:
        skew = float(np.abs(virial - virial.T).max())
        if skew > max(0.05, 0.02 * float(np.abs(virial).max())):
            yield Finding(
                "warning",
                "asymmetric-virial",
                f"the virial differs from its transpose by {skew:.3g} eV",
                "check the order of the stress components",
                frame.source,
                index,
            )


def check_energy_outliers(frames: Indexed) -> Iterator[Finding]:
    """Yield frames whose energy per atom, less E0, lies far from that of all others."""
    usable = [(i, f) for i, f in frames if f.labels.energy is not None and not is_isolated(f)]
    if len(usable) < 10:
        return
    residuals = fit_e0_details(Dataset(tuple(f for _, f in usable))).residuals
    centre = float(np.median(residuals))
    scale = max(1.4826 * float(np.median(np.abs(residuals - centre))), 1e-3)
    for side in (1, -1):
        for k in _beyond_gap(side * (residuals - centre), 5 * scale):
            index, frame = usable[k]
            yield Finding(
                "warning",
                "energy-outlier",
                f"the energy is {residuals[k] - centre:+.4g} eV/atom from the median after "
                f"subtraction of E0, {abs(residuals[k] - centre) / scale:.0f} robust standard "
                "deviations",
                "look at the convergence of this calculation, or remove the frame",
                frame.source,
                index,
            )


def check_force_outliers(frames: Indexed) -> Iterator[Finding]:
    """Yield frames whose largest force is above 50 eV/Å or far above that of all others."""
    usable = [(i, f) for i, f in frames if f.labels.forces is not None]
    norms = [np.linalg.norm(f.labels.forces, axis=1) for _, f in usable]  # type: ignore[arg-type]
    largest = np.array([n.max() for n in norms])
    apart: set[int] = set()
    if len(usable) >= 10 and np.median(largest) > 0:
        apart = set(
            _beyond_gap(np.log(np.maximum(largest, 1e-6) / np.median(largest)), 1.0).tolist()
        )
    for k, (index, frame) in enumerate(usable):
        if largest[k] > LARGE_FORCE or k in apart:
            atom = int(norms[k].argmax())
            yield Finding(
                "warning",
                "force-outlier",
                f"the force on atom {atom} ({chemical_symbols[frame.system.species[atom]]}) is "
                f"{largest[k]:.3g} eV/Å; the largest force of a frame is "
                f"{np.median(largest):.3g} eV/Å in the median",
                "look at the convergence of this calculation, or remove the frame",
                frame.source,
                index,
                atom,
            )


def _beyond_gap(values: Array, gap: float) -> Array:
    """Return the few values (3 %, at least 3) that a wide gap cuts off from all lower ones.

    Data made of phases, defects and strains are broad and have several modes, so distance
    from the median alone says little; a small tail that is cut off from all else does.
    """
    order = np.argsort(values)
    above = order[values[order] > 0]
    most = max(3.0, 0.03 * len(values))
    starts = np.flatnonzero(np.diff(values[above]) > gap) + 1
    starts = starts[len(above) - starts <= most]
    return above[starts[0] :] if starts.size else above[:0]
