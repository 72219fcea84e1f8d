"""Every finding provoked by damage, and no finding on clean data."""

import os
from dataclasses import replace
from pathlib import Path

import ase.build
import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from huozi.systems import Dataset, Frame, Labels, System, check, read
from huozi.units import BOHR, GPA, HARTREE

REAL = os.environ.get("HUOZI_TEST_DATA", "")
REAL_SETS = ["water64-pbe0ts", "mlearn/Li.extxyz", "mlearn/Mo.extxyz"]
REAL_SETS += ["mlearn/Si.extxyz", "mlearn/Ge.extxyz"]


def change(dataset, index=None, **parts):
    """Return a data set with functions applied to parts of one frame or of all."""

    def altered(k, frame):
        if index is not None and k != index:
            return frame
        system, labels = frame.system, frame.labels
        for name, function in parts.items():
            if hasattr(labels, name):
                labels = replace(labels, **{name: function(getattr(labels, name))})
            else:
                system = replace(system, **{name: function(getattr(system, name))})
        return replace(frame, system=system, labels=labels)

    return Dataset(tuple(altered(k, f) for k, f in enumerate(dataset)), dataset.notes)


def put(value, *place):
    def apply(array):
        array = np.array(array, float)
        array[place] = value
        return array

    return apply


def times(factor):
    return lambda value: value * factor


def codes(dataset):
    return {(f.severity, f.code) for f in check(dataset)}


def only(dataset, code):
    """Return the single finding, which must have this code."""
    findings = check(dataset)
    assert [f.code for f in findings] == [code], [str(f) for f in findings]
    return findings[0]


def test_clean_data_raise_no_alarm(alloy, trajectory):
    assert check(alloy) == []
    assert check(trajectory) == []
    assert check(alloy + trajectory) == []
    assert check(alloy[:5]) == []


@pytest.mark.skipif(not REAL, reason="HUOZI_TEST_DATA does not name a folder of real data")
@pytest.mark.parametrize("name", REAL_SETS)
def test_published_data_raise_no_alarm(name):
    path = Path(REAL) / name
    if not path.exists():
        pytest.skip(f"{path} is absent")
    data = read(path)
    assert check(data) == []
    data = data[::2]
    for factor, label in ((1 / HARTREE, "hartree"), (23.06, "kcal/mol")):
        text = " ".join(str(f) for f in check(change(data, energy=times(factor))))
        assert label in text
    assert any("wrong sign" in str(f) for f in check(change(data, forces=times(-1))))
    if data[0].labels.virial is not None:
        assert any("wrong sign" in str(f) for f in check(change(data, virial=times(-1))))


def test_open_and_isolated_frames_raise_no_alarm():
    rng = np.random.default_rng(3)
    frames = []
    for k in range(20):
        atoms = ase.build.molecule("CH3CH2OH")
        atoms.positions += rng.normal(0, 0.03, (len(atoms), 3))
        atoms.calc = EMT()
        labels = Labels(atoms.get_potential_energy(), atoms.get_forces())
        frames.append(Frame(System.from_atoms(atoms), labels, f"m#{k}"))
    lone = System(np.array([6]), np.zeros((1, 3)), np.zeros((3, 3)), np.zeros(3, bool))
    frames.append(Frame(lone, Labels(-150.0, np.zeros((1, 3)))))
    assert check(Dataset(tuple(frames))) == []


def test_noble_gas_raises_no_alarm():
    rng = np.random.default_rng(3)
    frames = []
    for k in range(20):
        atoms = ase.build.bulk("Ar", cubic=True) * (2, 2, 2)
        atoms.positions += rng.normal(0, 0.15, (len(atoms), 3))
        atoms.calc = LennardJones(sigma=3.4, epsilon=0.0104, rc=5.2, smooth=True)
        labels = Labels(atoms.get_potential_energy(), atoms.get_forces())
        frames.append(Frame(System.from_atoms(atoms), labels, f"m#{k}"))
    assert check(Dataset(tuple(frames))) == []


def test_every_fault_is_listed(alloy):
    bad = change(alloy, 3, positions=put(np.nan, 7, 1), energy=lambda e: np.inf)
    bad = change(bad, 5, forces=lambda f: f[:-1])
    bad = change(bad, 6, species=put(0, 2))
    bad = change(bad, 7, cell=np.zeros_like)
    bad = change(bad, 8, virial=put(np.nan, 0, 0), cell=put(np.inf, 0, 0))
    found = [(f.frame, f.atom, f.code) for f in check(bad)]
    assert found == [
        (3, 7, "not-finite"),
        (3, None, "not-finite"),
        (5, None, "wrong-shape"),
        (6, 2, "unknown-element"),
        (7, None, "no-cell"),
        (8, None, "not-finite"),
        (8, None, "not-finite"),
    ]
    assert check(bad)[0].source == "alloy.extxyz#3"
    assert "(Au)" in check(bad)[0].message


def test_empty_sets_and_frames():
    assert only(Dataset(()), "empty").severity == "error"
    nothing = System(np.zeros(0, int), np.zeros((0, 3)), np.zeros((3, 3)), np.zeros(3, bool))
    assert [f.code for f in check(Dataset((Frame(nothing),)))] == ["no-atoms"]


@pytest.mark.parametrize(("distance", "severity"), [(0.4, "error"), (1.5, "warning")])
def test_close_atoms(alloy, distance, severity):
    def move(positions):
        direction = positions[1] - positions[0]
        moved = positions.copy()
        moved[1] = positions[0] + distance * direction / np.linalg.norm(direction)
        return moved

    findings = [f for f in check(change(alloy, 10, positions=move)) if f.code == "close-atoms"]
    (finding,) = findings
    assert (finding.severity, finding.frame, finding.atom) == (severity, 10, 0)
    assert f"atoms 0 (Cu) and 1 (Cu) are {distance:.3f} Å apart" in finding.message


def test_atoms_close_through_the_boundary(alloy):
    def move(positions):
        return put(positions[0] + alloy[10].system.cell[0] + [0.3, 0, 0], 1)(positions)

    assert ("error", "close-atoms") in codes(change(alloy, 10, positions=move))


def test_duplicates_up_to_wrapping_and_translation(alloy):
    rng = np.random.default_rng(0)

    def moved(frame):
        turns = rng.integers(-2, 3, (len(frame), 3)) @ frame.system.cell
        positions = frame.system.positions + turns + [0.3, 0.2, 5.0]
        positions += rng.uniform(-2e-5, 2e-5, positions.shape)
        return replace(frame, system=replace(frame.system, positions=positions))

    copies = Dataset((*alloy, moved(alloy[4]), alloy[9], moved(alloy[4])))
    found = [(f.frame, f.message.split()[-1]) for f in check(copies) if f.code == "duplicate"]
    assert found == [(60, "alloy.extxyz#4"), (61, "alloy.extxyz#9"), (62, "alloy.extxyz#4")]
    assert {f.code for f in check(copies)} == {"duplicate"}


def test_copies_with_other_labels(alloy):
    twice = Dataset((*alloy, alloy[4], alloy[6]))
    wrong = change(change(twice, 60, energy=lambda e: e + 0.1), 61, forces=put(0.2, 0, 0))
    found = {f.frame: f for f in check(wrong) if f.code == "conflicting-labels"}
    assert found.keys() == {60, 61}
    assert "energy differs by 0.1 eV" in found[60].message
    assert "forces differ" in found[61].message
    assert found[60].severity == "error"


def test_density_and_handedness(alloy):
    small = change(alloy, positions=times(0.1), cell=times(0.1))
    assert codes(small) == {("error", "density")}
    assert "nm" in check(small)[0].remedy
    left = only(change(alloy, 2, cell=lambda c: c[[1, 0, 2]]), "left-handed-cell")
    assert left.frame == 2
    squeezed = change(alloy, 2, positions=times(0.65), cell=times(0.65))
    assert {f.code for f in check(squeezed)} == {"density", "close-atoms"}


@pytest.mark.parametrize(
    ("factor", "word"), [(1 / BOHR, "bohr"), (BOHR, "divided by 1.89"), (0.1, "nm")]
)
def test_lengths_in_other_units(alloy, factor, word):
    opened = Dataset(
        tuple(
            Frame(
                System(
                    f.system.species,
                    f.system.positions * factor,
                    np.zeros((3, 3)),
                    np.zeros(3, bool),
                ),
                Labels(f.labels.energy, f.labels.forces),
            )
            for f in alloy
        )
    )
    findings = [f for f in check(opened) if f.code == "length-unit"]
    assert findings[0].severity == "error"
    assert word in findings[0].message
    if factor > 1:
        periodic = change(alloy, positions=times(factor), cell=times(factor))
        assert only(periodic, "length-unit").severity == "error"


def test_box_in_bohr(alloy):
    wrapped = change(alloy, positions=lambda x: x - x.min(axis=0) + 0.5, cell=lambda c: c / BOHR)
    assert "bohr" in only(wrapped, "box-unit").message


def test_missing_labels(alloy):
    data = change(change(alloy, 3, energy=lambda e: None), forces=lambda f: None)
    findings = [f for f in check(data) if f.code == "no-label"]
    assert [f.message for f in findings] == [
        "60 of 60 frames have no forces, this one first",
        "1 of 60 frames have no energy, this one first",
    ]
    assert findings[1].frame == 3


def test_net_force_and_asymmetric_virial(alloy):
    assert only(change(alloy, 3, forces=lambda f: f + 0.4), "net-force").frame == 3
    skewed = change(alloy, 3, virial=put(9.0, 0, 1))
    assert only(skewed, "asymmetric-virial").frame == 3


def test_outliers(alloy):
    finding = only(change(alloy, 8, energy=lambda e: e + 30), "energy-outlier")
    assert (finding.frame, finding.severity) == (8, "warning")
    assert "+0.9" in finding.message
    assert only(change(alloy, 8, energy=lambda e: e - 30), "energy-outlier").frame == 8
    kicked = change(alloy, 8, forces=lambda f: put(f[4] + 25, 4)(put(f[5] - 25, 5)(f)))
    finding = next(f for f in check(kicked) if f.code == "force-outlier")
    assert finding.frame == 8
    assert finding.atom in (4, 5)
    huge = change(alloy[:4], forces=times(40))
    assert ("warning", "force-outlier") in codes(huge)


ENERGY = [
    (1 / HARTREE, "hartree"),
    (23.06, "kcal/mol"),
    (96.49, "kJ/mol"),
    (2 / HARTREE, "rydberg"),
]
FORCES = [
    (BOHR / HARTREE, "hartree/bohr"),
    (23.06, "kcal/mol/Å"),
    (BOHR * 2 / HARTREE, "rydberg/bohr"),
]
VIRIAL = [(GPA, "GPa"), (10 * GPA, "kbar"), (-10 * GPA, "kbar")]


@pytest.mark.parametrize(
    ("label", "factor", "unit"),
    [
        *(("energy", *row) for row in ENERGY),
        *(("forces", *row) for row in FORCES),
        *(("virial", *row) for row in VIRIAL),
    ],
)
@pytest.mark.parametrize("kind", ["alloy", "trajectory"])
def test_units_of_labels(kind, label, factor, unit, request):
    data = change(request.getfixturevalue(kind), **{label: times(factor)})
    findings = [f for f in check(data) if f.code.endswith("-units")]
    (finding,) = findings
    assert finding.severity == "error"
    assert (
        finding.code
        == {"energy": "energy", "forces": "force", "virial": "virial"}[label] + "-units"
    )
    assert unit in finding.remedy.split("the unit ")[1].split(" or ")
    assert ("the wrong sign" in finding.remedy) == (factor < 0)


@pytest.mark.parametrize("label", ["energy", "forces", "virial"])
@pytest.mark.parametrize("kind", ["alloy", "trajectory"])
def test_signs_of_labels(kind, label, request):
    data = change(request.getfixturevalue(kind), **{label: times(-1)})
    (finding,) = [f for f in check(data) if f.code.endswith("-units")]
    assert "the wrong sign" in finding.remedy
    assert label[:3] == finding.code[:3]
    assert "unit " not in finding.remedy


def test_small_factors_show_along_a_trajectory(trajectory):
    bare = change(trajectory, virial=lambda w: None)
    finding = only(change(bare, forces=times(BOHR)), "energy-force-units")
    assert "eV/bohr" in finding.remedy
    assert "29 small steps" in finding.message


def test_virial_against_strain():
    """Energies of frames under small strains fix the sign of the stress without any forces."""
    frames = []
    for k, size in enumerate(np.linspace(-0.02, 0.02, 12)):
        atoms = ase.build.bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell * (1 + size), scale_atoms=True)
        atoms.calc = EMT()
        virial = -atoms.get_volume() * atoms.get_stress(voigt=False)
        labels = Labels(atoms.get_potential_energy(), atoms.get_forces(), virial)
        frames.append(Frame(System.from_atoms(atoms), labels, f"s#{k}"))
    assert check(Dataset(tuple(frames))) == []
    finding = only(change(Dataset(tuple(frames)), virial=times(-1)), "energy-force-units")
    assert "11 small strains" in finding.message
    assert "the virials look as if they had the wrong sign" in finding.remedy


def test_one_broken_frame_does_not_hide_a_unit(alloy):
    wrong = change(alloy, energy=times(1 / HARTREE))
    findings = check(change(wrong, 9, energy=lambda e: e + 20))
    assert {f.code for f in findings} == {"energy-units", "energy-outlier"}
    assert "hartree" in findings[0].remedy


def test_labels_of_other_frames(alloy):
    swapped = change(alloy, 4, forces=lambda f: alloy[20].labels.forces)
    assert only(swapped, "forces-do-not-fit").frame == 4
    turned = change(alloy, 4, forces=times(-1))
    assert only(turned, "forces-do-not-fit").remedy == "turn their sign"
    mixed = Dataset(
        tuple(
            replace(f, labels=replace(f.labels, forces=alloy[k - 2].labels.forces))
            for k, f in enumerate(alloy)
        )
    )
    assert ("warning", "forces-do-not-fit") in codes(mixed)


def test_progress_and_text(alloy):
    seen = []
    findings = check(
        change(alloy[:12], 3, energy=lambda e: np.nan), lambda *done: seen.append(done)
    )
    assert seen[-1] == (12, 12)
    assert str(findings[0]).startswith("alloy.extxyz#3: the energy is nan eV; remove")
    assert findings[0].as_dict()["frame"] == 3
