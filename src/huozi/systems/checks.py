"""`check`: everything that can be seen to be wrong with a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from huozi.systems.finding import Finding, faults
from huozi.systems.frame import Dataset
from huozi.systems.geometry_checks import (
    Indexed,
    check_box_unit,
    check_cell,
    check_close_atoms,
    check_duplicates,
    check_lengths,
    is_crowded,
)
from huozi.systems.label_checks import (
    check_energy_outliers,
    check_force_outliers,
    check_presence,
    check_sums,
)
from huozi.systems.pairfit import fit_pair_model
from huozi.systems.unit_checks import (
    check_energy_scale,
    check_force_match,
    check_trajectory,
    check_virial_scale,
)


def check(dataset: Dataset, progress: Callable[[int, int], None] | None = None) -> list[Finding]:
    """Look for damage, mix-ups of units and signs, copies and outliers.

    Read the data with ``validate=False``, so that all faults are listed rather than the first
    one raised.

    Parameters
    ----------
    dataset : Dataset
    progress : callable, optional
        Called with (frames done, all frames) while frames are looked at one by one.

    Returns
    -------
    list of Finding
        Errors first, each group in the order of frames. An empty list means that nothing
        suspicious was seen, not that the labels are accurate.
    """
    findings: list[Finding] = []
    sound = []
    for index, frame in enumerate(dataset):
        broken = list(faults(frame, index))
        findings += broken
        if not broken:
            sound.append((index, frame))
            findings += [*check_cell(index, frame), *check_sums(index, frame)]
            if not is_crowded(frame.system):
                findings += check_close_atoms(index, frame)
        if progress is not None:
            progress(index + 1, len(dataset))
    if not dataset.frames:
        findings.append(Finding("error", "empty", "there are no frames", "give a file with frames"))
    findings += [*check_lengths(sound), *check_box_unit(sound), *check_duplicates(sound)]
    findings += check_presence(sound)
    findings += [*check_energy_outliers(sound), *check_force_outliers(sound)]
    findings += _check_units(sound)
    return sorted(findings, key=lambda f: (f.severity, -1 if f.frame is None else f.frame))


def _check_units(sound: Indexed) -> Iterator[Finding]:
    """Compare labels along trajectories where frames are near, else through a pair potential."""
    exact = list(check_trajectory(sound))
    yield from exact
    told = {finding.code for finding in exact}
    usable = [(i, f) for i, f in sound if f.labels.forces is not None and not is_crowded(f.system)]
    model = fit_pair_model([f for _, f in usable])
    if model is None:
        return
    yield from check_force_match(usable, model)
    if model.explained < 0.5:
        return
    if "energy-force-units" not in told:
        yield from check_energy_scale(usable, model)
    if "virial-units" not in told:
        yield from check_virial_scale(usable, model)
