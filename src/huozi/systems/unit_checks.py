"""Checks that energies, forces and virials speak of the same surface in the same units.

Along a trajectory with small steps, energy differences must equal minus force times step
(minus virial times strain where the cell changes). Where frames are too far apart for that, a
pair potential fitted to the forces predicts energies and virials well enough to see a wrong
sign or a wrong factor of ten and more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from huozi.systems.finding import Finding
from huozi.systems.frame import Array, Frame
from huozi.systems.pairfit import PairModel
from huozi.units import BOHR, GPA, HARTREE

Indexed = Sequence[tuple[int, Frame]]
KCAL, KJ, RYDBERG = 23.060548, 96.485332, HARTREE / 2  # 1 eV in kcal/mol and kJ/mol
_ENERGY_FACTORS = {
    1 / HARTREE: "energies in hartree (or forces in 1/27.2 eV/Å)",
    HARTREE: "energies 27.2 times too large, or forces in hartree/Å",
    1 / RYDBERG: "energies in rydberg",
    RYDBERG: "forces in rydberg/Å",
    KCAL: "energies in kcal/mol",
    1 / KCAL: "forces in kcal/mol/Å",
    KJ: "energies in kJ/mol",
    1 / KJ: "forces in kJ/mol/Å",
    HARTREE / BOHR: "forces in hartree/bohr",
    RYDBERG / BOHR: "forces in rydberg/bohr",
    1 / BOHR: "forces in eV/bohr, or both labels in atomic units",
    BOHR: "positions in bohr",
    0.1: "forces in eV/nm",
    10.0: "positions in nm",
}
_VIRIAL_FACTORS = {
    GPA: "stress in GPa",
    10 * GPA: "stress in kbar",
    HARTREE: "virial 27.2 times too large",
    1 / HARTREE: "virial in hartree",
    BOHR**3 / HARTREE: "stress in hartree/bohr^3",
}
_MAX_STEP, _MAX_STRAIN = 0.15, 0.03  # Å rms, none: where the trapezoid is still good


def check_trajectory(frames: Indexed) -> Iterator[Finding]:
    """Yield a finding if energy differences of neighbouring frames do not follow the labels.

    Source: trapezoidal rule, dE = -(F1 + F2)/2 . dr - (W1 + W2)/2 : strain.
    """
    steps = [s for (_, a), (_, b) in pairwise(frames) if (s := _step(a, b)) is not None]
    rigid = np.array([(de, work) for de, work, strain in steps if strain is None]).reshape(-1, 2)
    ratio = _slope(rigid[:, 1], rigid[:, 0])
    if ratio is not None and abs(ratio - 1) > 0.15:
        yield Finding(
            "error",
            "energy-force-units",
            f"over {len(rigid)} small steps between neighbouring frames the energies change by "
            f"{ratio:.4g} times what the forces say",
            _advice(ratio, _ENERGY_FACTORS, 1.15, "forces (or energies)"),
        )
    strained = np.array(
        [(de - work, strain) for de, work, strain in steps if strain is not None]
    ).reshape(-1, 2)
    ratio = _slope(strained[:, 1], strained[:, 0])
    if ratio is not None and abs(ratio - 1) > 0.15:
        yield Finding(
            "error",
            "virial-units",
            f"over {len(strained)} small strains between neighbouring frames the energies change "
            f"by {ratio:.4g} times what the virials say",
            _advice(1 / ratio, _VIRIAL_FACTORS, 1.15, "stress or virial"),
        )


def _step(a: Frame, b: Frame) -> tuple[float, float, float | None] | None:
    """Energy change, work of the forces, work of the virial (None in a rigid cell), in eV.

    None if the frames are no neighbours on a trajectory.
    """
    one, two = a.labels, b.labels
    if one.energy is None or two.energy is None or one.forces is None or two.forces is None:
        return None
    same = np.array_equal(a.system.species, b.system.species)
    if not same or not np.array_equal(a.system.pbc, b.system.pbc):
        return None
    cell, strain, virial = a.system.cell, np.zeros((3, 3)), np.zeros((3, 3))
    rigid = np.abs(b.system.cell - cell).max() < 1e-6
    if not rigid:
        if one.virial is None or two.virial is None or not a.system.pbc.all():
            return None
        strain = np.linalg.inv(cell) @ b.system.cell - np.eye(3)
        virial = (one.virial + two.virial) / 2
    if np.abs(strain).max() > _MAX_STRAIN:
        return None
    move = b.system.positions - a.system.positions @ (np.eye(3) + strain)
    if a.system.pbc.any():
        box = np.where(a.system.pbc[:, None], b.system.cell, 0.0)
        move = move - np.round(move @ np.linalg.pinv(box)) @ box
    if np.sqrt(np.mean(np.sum((move - move.mean(axis=0)) ** 2, axis=1))) > _MAX_STEP:
        return None
    work = -float(np.sum((one.forces + two.forces) / 2 * move))
    # strain acts on row vectors: r' = r (1 + strain), so dE = -W_ij strain_ij to first order
    return two.energy - one.energy, work, None if rigid else -float(np.sum(virial * strain))


def _slope(expected: Array, found: Array) -> float | None:
    """Slope through the origin, if the points are many and lie on a line."""
    moving = np.abs(expected) > 1e-9
    if moving.sum() < 5:
        return None
    x, y = expected[moving], found[moving]
    weight = 1 / (x**2 + np.median(x**2))  # so that no single step decides
    xx, xy, yy = (float(np.sum(weight * p)) for p in (x * x, x * y, y * y))
    if yy == 0 or xy**2 < 0.8 * xx * yy:
        return None
    return xy / xx


def check_energy_scale(frames: Indexed, model: PairModel) -> Iterator[Finding]:
    """Yield a finding if energies vary far more or less than the fitted forces allow."""
    sample = [f for _, f in _spread(frames) if f.labels.energy is not None]
    predicted = [model.predict(f.system)[0] / len(f) for f in sample]
    labelled = [f.labels.energy / len(f) for f in sample]  # type: ignore[operator]
    groups = [np.asarray(f.system.species).tobytes() for f in sample]
    x, y = _within(np.array(predicted), groups), _within(np.array(labelled), groups)
    if x.size < 8:
        return
    verdict = _compare(x, y)
    if verdict is None:
        return
    ratio, correlation = verdict
    if ratio > 1 and abs(correlation) < 0.5:
        return  # phases, surfaces and defects differ in ways a pair potential does not see
    yield Finding(
        "error",
        "energy-force-units",
        f"the energies of equal compositions vary {abs(ratio):.3g} times as much as the forces "
        f"say{' and in the opposite direction' if ratio < 0 else ''} (pair potential fitted to "
        f"the forces, correlation {correlation:.2f})",
        _advice(ratio, _ENERGY_FACTORS, 3.0, "forces (or energies)"),
    )


def check_virial_scale(frames: Indexed, model: PairModel) -> Iterator[Finding]:
    """Yield a finding if virials have another sign or size than the fitted forces allow."""
    sample = [f for _, f in _spread(frames) if f.labels.virial is not None and f.system.pbc.all()]
    sizes = np.array([len(f) for f in sample])[:, None, None]
    labelled = np.array([f.labels.virial for f in sample]).reshape(-1, 3, 3) / np.maximum(sizes, 1)
    predicted = np.array([model.predict(f.system)[2] for f in sample]).reshape(-1, 3, 3)
    predicted = predicted / np.maximum(sizes, 1)
    if len(sample) < 8:
        return
    verdict = _compare(_spread_parts(predicted), _spread_parts(labelled))
    if verdict is None:
        return
    ratio, correlation = verdict
    yield Finding(
        "error" if abs(correlation) > 0.8 or not 0.01 < abs(ratio) < 100 else "warning",
        "virial-units" if ratio > 0 else "stress-sign",
        f"the virials are {ratio:.3g} times those that belong to the forces (pair potential fitted "
        f"to the forces, correlation {correlation:.2f})",
        _advice(ratio, _VIRIAL_FACTORS, 3.0, "stress or virial"),
    )


def check_force_match(frames: Indexed, model: PairModel) -> Iterator[Finding]:
    """Yield frames whose forces do not belong to their positions."""
    if model.explained < 0.2:
        yield Finding(
            "warning",
            "forces-do-not-fit",
            "the forces hardly follow from the positions: a pair potential explains "
            f"{100 * model.explained:.0f} % of them (85 to 99 % in water, silicon and metals)",
            "check that forces and positions are of the same frames and the same order of atoms",
        )
    usable = [(i, f) for i, f in frames if f.labels.forces is not None]
    scores = np.array([_match(f, model) for _, f in usable])
    rms = np.array([np.sqrt(np.mean(np.square(f.labels.forces))) for _, f in usable])  # type: ignore[arg-type]
    if len(usable) < 10 or np.median(scores) < 0.7:
        return
    for k in np.flatnonzero((scores < 0.2) & (rms > 0.3 * np.median(rms))):
        index, frame = usable[k]
        yield Finding(
            "warning",
            "forces-do-not-fit",
            f"the forces do not fit the positions: correlation {scores[k]:.2f} with a pair "
            f"potential fitted to all frames, {np.median(scores):.2f} in the median",
            "opposite sign" if scores[k] < -0.6 else "check the order of atoms and of frames",
            frame.source,
            index,
        )


def _match(frame: Frame, model: PairModel) -> float:
    """Correlation of a frame's forces with those of the model."""
    forces, model_forces = frame.labels.forces, model.predict(frame.system)[1]
    assert forces is not None
    size = float(np.linalg.norm(forces) * np.linalg.norm(model_forces))
    return float(np.sum(forces * model_forces)) / size if size else 1.0


def _spread(frames: Indexed) -> list[tuple[int, Frame]]:
    return list(frames[:: max(1, len(frames) // 200)])


def _within(values: Array, groups: Sequence[bytes]) -> Array:
    """Values less the mean of their group; groups of fewer than three are left out."""
    names = np.array([hash(g) for g in groups])
    kept = []
    for name in np.unique(names):
        mine = values[names == name]
        if len(mine) >= 3:
            kept.append(mine - mine.mean())
    return np.concatenate(kept) if kept else np.zeros(0)


def _spread_parts(virials: Array) -> Array:
    """Deviatoric parts of all virials: the forces say nothing of a part that only volume sets."""
    traces = np.trace(virials, axis1=1, axis2=2)[:, None, None] / 3
    return np.asarray((virials - traces * np.eye(3)).ravel())


def _compare(predicted: Array, labelled: Array) -> tuple[float, float] | None:
    """Return (signed ratio of sizes, correlation) if they are out of proportion, else None."""
    sizes = float(np.linalg.norm(predicted)), float(np.linalg.norm(labelled))
    if not sizes[0] > 1e-12 or sizes[1] == 0:
        return None
    correlation = float(predicted @ labelled) / (sizes[0] * sizes[1])
    ratio = sizes[1] / sizes[0] * (-1 if correlation < -0.6 else 1)
    return None if 1 / 6 < ratio < 6 else (ratio, correlation)


def _advice(ratio: float, factors: dict[float, str], tolerance: float, opposite: str) -> str:
    """Name the unit or sign error that explains a ratio of label to expectation best."""
    sign = f"the sign of the {opposite} looks wrong" if ratio < 0 else ""
    size = abs(ratio)
    near = {f: abs(np.log(size / f)) for f in (1.0, *factors)}
    best = min(near, key=lambda f: near[f])
    if best == 1.0 or near[best] > np.log(tolerance):
        guess = "" if sign else "no common unit explains it; check the units of both"
    else:
        guess = f"this looks like {factors[best]}"
    return " and ".join(part for part in (sign, guess) if part)
