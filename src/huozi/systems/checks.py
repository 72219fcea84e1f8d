"""`check`: everything that can be seen to be wrong with a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from huozi.systems.consistency import fitted_ratios, trajectory_ratios
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
from huozi.systems.unit_checks import check_force_match, judge_ratios


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
    lengths = [*check_lengths(sound), *check_box_unit(sound)]
    findings += [*lengths, *check_duplicates(sound), *check_presence(sound)]
    findings += [*check_energy_outliers(sound), *check_force_outliers(sound)]
    if not lengths:  # wrong lengths put forces and energies out of proportion, too
        odd = {f.frame for f in findings if f.code in ("density", "close-atoms")}
        findings += _check_units([(i, f) for i, f in sound if i not in odd])
    return sorted(findings, key=lambda f: (f.severity, -1 if f.frame is None else f.frame))


def _check_units(sound: Indexed) -> Iterator[Finding]:
    """Compare labels along trajectories where frames are near, else through a pair potential."""
    ratios = trajectory_ratios([f for _, f in sound])
    usable = [(i, f) for i, f in sound if f.labels.forces is not None]
    model = fit_pair_model([f for _, f in usable])
    if model is not None:
        yield from check_force_match(usable, model)
        if model.explained > 0.5:
            known = {(r.label, r.other) for r in ratios}
            fitted = fitted_ratios([f for _, f in usable], model)
            ratios += [r for r in fitted if (r.label, r.other) not in known]
    yield from judge_ratios(ratios)
