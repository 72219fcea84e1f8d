"""Extended XYZ against ASE, against itself, and against damaged files."""

import gzip
import io
import re

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.extxyz import key_val_str_to_dict
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from huozi.systems import Dataset, Frame, Labels, System, read, write
from huozi.systems.extxyz import format_value, parse_comment

HEADER = 'Properties=species:S:1:pos:R:3:forces:R:3 energy=-1.5 Lattice="4 0 0 0 4 0 0 0 4"'
GOOD = f"2\n{HEADER}\nH 0 0 0 0.1 0 0\nH 0 0 0.8 -0.1 0 0\n"

finite = st.floats(-1e6, 1e6, allow_subnormal=False)


def save(tmp_path, text, name="a.extxyz"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@st.composite
def frames(draw):
    n = draw(st.integers(1, 5))
    species = draw(hnp.arrays(np.int32, n, elements=st.integers(1, 118)))
    positions = draw(hnp.arrays(np.float64, (n, 3), elements=finite))
    pbc = np.array(draw(st.sampled_from([(1, 1, 1), (0, 0, 0), (1, 1, 0)])), bool)
    cell = np.diag(draw(st.tuples(*[st.floats(0.5, 50)] * 3))) + np.tri(3, k=-1)
    if not pbc.any():
        cell = np.zeros((3, 3))
    virial = draw(st.none() | hnp.arrays(np.float64, (3, 3), elements=finite))
    labels = Labels(
        draw(st.none() | finite),
        draw(st.none() | hnp.arrays(np.float64, (n, 3), elements=finite)),
        virial,
    )
    key = st.text("abcXYZ_19", min_size=1, max_size=6).filter(lambda k: k.lower() != "energy")
    text = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
    value = st.one_of(text, st.integers(-(2**40), 2**40), st.booleans(), finite, st.none())
    info = draw(st.dictionaries(key, value, max_size=3))
    arrays = draw(st.sampled_from([{}, {"tags": np.arange(n)}, {"vel": positions * 2}]))
    return Frame(System(species, positions, cell, pbc), labels, info=info, arrays=arrays)


@settings(max_examples=60, deadline=None)
@given(st.lists(frames(), min_size=1, max_size=3), st.sampled_from(["a.extxyz", "b.xyz.gz"]))
def test_round_trip_is_exact(tmp_path_factory, made, name):
    path = tmp_path_factory.mktemp("x") / name
    assert write(Dataset(tuple(made)), path) == ()
    for frame, back in zip(made, read(path), strict=True):
        np.testing.assert_array_equal(back.system.species, frame.system.species)
        np.testing.assert_array_equal(back.system.positions, frame.system.positions)
        np.testing.assert_array_equal(back.system.cell, frame.system.cell)
        np.testing.assert_array_equal(back.system.pbc, frame.system.pbc)
        assert back.labels.energy == frame.labels.energy
        for name_ in ("forces", "virial"):
            one, two = getattr(frame.labels, name_), getattr(back.labels, name_)
            assert (one is None) == (two is None)
            if one is not None:
                np.testing.assert_allclose(two, one, rtol=1e-13, atol=1e-13)
        assert back.info == frame.info
        assert {k: v.tolist() for k, v in back.arrays.items()} == {
            k: v.tolist() for k, v in frame.arrays.items()
        }


def test_ase_reads_what_we_write(tmp_path, alloy):
    write(alloy, tmp_path / "a.extxyz")
    for atoms, frame in zip(ase.io.read(tmp_path / "a.extxyz", ":"), alloy, strict=True):
        ours = frame.to_atoms()
        np.testing.assert_array_equal(atoms.positions, ours.positions)
        np.testing.assert_array_equal(atoms.cell.array, ours.cell.array)
        assert atoms.get_potential_energy() == ours.get_potential_energy()
        np.testing.assert_array_equal(atoms.get_forces(), ours.get_forces())
        np.testing.assert_allclose(atoms.get_stress(), ours.get_stress(), atol=1e-14)
        assert atoms.info["group"] == frame.info["group"]


def test_we_read_what_ase_writes(tmp_path, alloy):
    ase.io.write(tmp_path / "a.extxyz", [f.to_atoms() for f in alloy])
    for frame, ours in zip(alloy, read(tmp_path / "a.extxyz"), strict=True):
        np.testing.assert_allclose(ours.system.positions, frame.system.positions, atol=1e-8)
        assert ours.labels.energy == pytest.approx(frame.labels.energy, abs=1e-12)
        np.testing.assert_allclose(ours.labels.forces, frame.labels.forces, atol=1e-8)
        np.testing.assert_allclose(
            ours.labels.virial, (frame.labels.virial + frame.labels.virial.T) / 2, atol=1e-10
        )


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.text("abcdefgh", min_size=1, max_size=5),
        st.one_of(
            st.integers(-1000, 1000),
            finite,
            st.booleans(),
            st.text("abc xyz.-", min_size=1, max_size=9),
            st.lists(st.integers(-9, 9), min_size=2, max_size=4).map(np.array),
            st.lists(finite, min_size=2, max_size=9).map(np.array),
            st.lists(st.booleans(), min_size=2, max_size=3).map(np.array),
        ),
        min_size=1,
    )
)
def test_comment_line_means_the_same_to_ase(values):
    line = " ".join(f"{k}={format_value(v)}" for k, v in values.items())
    ours, theirs = parse_comment(line), key_val_str_to_dict(line)
    assert ours.keys() == theirs.keys() == values.keys()
    for key, value in values.items():
        np.testing.assert_array_equal(ours[key], value)
        np.testing.assert_array_equal(ours[key], theirs[key])


def test_comment_line_forms():
    line = """a={1 2 3} b='two words' "key c"="say \\"hi\\"" flag d=[[1, 2], [3, 4]] e=T n=1,2"""
    line += " m=[5 6]"
    values = parse_comment(line)
    assert values["b"] == "two words"
    assert values["key c"] == 'say "hi"'
    assert values["flag"] is True
    assert values["e"] is True
    assert values["d"].tolist() == [[1, 2], [3, 4]]
    assert values["a"].tolist() == [1, 2, 3]
    assert values["n"].tolist() == [1, 2]
    assert values["m"].tolist() == [5, 6]
    assert parse_comment("just words") == {}


def test_plain_xyz_and_blank_end(tmp_path):
    (frame,) = read(save(tmp_path, "1\nE = what: ever, 'it\nAr 1 2 3\n\n\n", "a.xyz"))
    assert frame.labels.energy is None
    assert not frame.system.pbc.any()
    assert frame.info == {"comment": "E = what: ever, 'it"}


@pytest.mark.parametrize(
    ("keys", "virial"),
    [
        ('stress="1 0 0 0 2 0 0 0 3"', np.diag([-64.0, -128, -192])),
        ('stress="1 2 3 4 5 6"', -64 * np.array([[1.0, 6, 5], [6, 2, 4], [5, 4, 3]])),
        ('REF_virial="1 0 0 0 2 0 0 0 3"', np.diag([1.0, 2, 3])),
        ('virials="1 0 0 0 2 0 0 0 3"', np.diag([1.0, 2, 3])),
        ('dft_stress="1 0 0 0 2 0 0 0 3"', np.diag([-64.0, -128, -192])),
        ('virial="-64 0 0 0 -64 0 0 0 -64" stress="1 1 1 0 0 0"', np.diag([-64.0] * 3)),
    ],
)
def test_stress_and_virial_keys(tmp_path, keys, virial):
    (frame,) = read(save(tmp_path, GOOD.replace("energy=-1.5", keys)))
    np.testing.assert_allclose(frame.labels.virial, virial, rtol=1e-14)
    assert frame.labels.energy is None


@pytest.mark.parametrize(
    ("energy", "forces"),
    [("REF_energy", "REF_forces"), ("Energy", "force"), ("free_energy", "dft_forces")],
)
def test_usual_keys_and_notes(tmp_path, energy, forces):
    text = GOOD.replace("energy", energy).replace("forces", forces)
    data = read(save(tmp_path, text + text))
    assert [f.labels.energy for f in data] == [-1.5, -1.5]
    assert data[1].labels.forces.tolist() == [[0.1, 0, 0], [-0.1, 0, 0]]
    assert repr(energy) in data.notes[0]
    assert repr(forces) in data.notes[0]
    assert data[0].info == {}
    assert data[0].arrays == {}


@pytest.mark.parametrize(
    ("old", "new", "quantity", "key"),
    [
        ("energy=-1.5", "energy=-1.5 REF_energy=-1.6", "energy", "REF_energy"),
        ("energy=-1.5", "energy=-1.5 free_energy=-1.6", "energy", "free_energy"),
        ("energy=-1.5", "energy=-1.5 dft_energy=-1.5", "energy", "dft_energy"),
        (
            "energy=-1.5",
            'REF_virial="1 0 0 0 1 0 0 0 1" stress="1 1 1 0 0 0"',
            "virial",
            "REF_virial",
        ),
    ],
)
def test_two_keys_are_refused_until_one_is_chosen(tmp_path, old, new, quantity, key):
    path = save(tmp_path, GOOD + GOOD.replace(old, new))
    with pytest.raises(ValueError, match=rf"a.extxyz#1: .*{key}.*--key {quantity}={key}"):
        read(path)
    chosen = read(path, keys={quantity: key})
    assert any(repr(key) in note for note in chosen.notes)
    assert not any("energy" in f.info for f in chosen)


def test_the_remedy_for_two_keys_works_for_every_verb(tmp_path):
    path = save(tmp_path, GOOD.replace("energy=-1.5", "energy=-1.5 REF_energy=-1.6"))
    command = f"`huozi data convert {path} --key energy=REF_energy --out new.extxyz`"
    with pytest.raises(ValueError, match=re.escape(command)):
        read(path)


def test_energy_and_free_energy_that_are_no_numbers(tmp_path):
    path = save(tmp_path, GOOD.replace("energy=-1.5", "energy=-1.5 free_energy=none"))
    with pytest.raises(ValueError, match=r"a.extxyz#0: 'free_energy' should be one .* 'none'"):
        read(path)


def test_two_force_columns_are_refused(tmp_path):
    text = GOOD.replace(":forces:R:3", ":forces:R:3:REF_forces:R:3")
    text = text.replace("0.1 0 0\n", "0.1 0 0 0.2 0 0\n")
    path = save(tmp_path, text)
    with pytest.raises(ValueError, match="'forces' and 'REF_forces'"):
        read(path)
    (frame,) = read(path, keys={"forces": "REF_forces"})
    assert frame.labels.forces[0].tolist() == [0.2, 0, 0]


def test_equal_energy_and_free_energy_are_named(tmp_path):
    data = read(save(tmp_path, GOOD.replace("energy=-1.5", "free_energy=-1.5 energy=-1.5")))
    assert data[0].labels.energy == -1.5
    assert any("'energy' and 'free_energy' are equal" in note for note in data.notes)


def test_chosen_keys(tmp_path):
    path = save(tmp_path, GOOD.replace("energy=-1.5", "E_special=-2 energy=-1.5"))
    (frame,) = read(path, keys={"energy": "E_special"})
    assert frame.labels.energy == -2
    assert frame.info == {}
    (frame,) = read(path, keys={"energy": "none"})
    assert frame.labels.energy is None
    with pytest.raises(ValueError, match=r"no frame has the key 'e'.*E_special"):
        read(path, keys={"energy": "e"})
    with pytest.raises(ValueError, match="unknown quantity 'dipole'"):
        read(path, keys={"dipole": "e"})


def test_a_chosen_stress_of_an_open_system_is_there_though_it_means_nothing(tmp_path):
    text = GOOD.replace("energy", 'pbc="F F F" my_stress="1 1 1 0 0 0" energy')
    data = read(save(tmp_path, text), keys={"stress": "my_stress"})
    assert data[0].labels.virial is None
    assert any("'my_stress' has no meaning" in note for note in data.notes)


def test_unrecognised_labels_are_noted(tmp_path):
    text = GOOD.replace("forces", "mace_F").replace("energy", "mace_E")
    data = read(save(tmp_path, text))
    assert data[0].info == {"mace_E": -1.5}
    assert any("--key energy=KEY" in note for note in data.notes)


def test_stress_of_an_open_system_is_ignored_with_a_note(tmp_path):
    text = GOOD.replace("energy", 'pbc="F F F" stress="1 1 1 0 0 0" energy')
    data = read(save(tmp_path, text))
    assert data[0].labels.virial is None
    assert any("no meaning for an open system" in note for note in data.notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no frames"),
        ("two\n\n", "line 1 should be a number of atoms, found 'two'"),
        ("²\n\nH 0 0 0\n", "line 1 should be a number of atoms, found '²'"),
        (GOOD.replace("pos:R:3", "pos:R:³"), "cannot make sense of Properties"),
        (GOOD + "\n" + GOOD, r"#1: blank line 5 before '2'"),
        (GOOD[:-25], r"#0: the file ends after 1 of 2 atoms .*truncated"),
        (GOOD + GOOD.replace("0.8", "o.8"), r"#1: atom 1 \(line 8\) has 'o.8' as 'pos'"),
        (GOOD.replace("0 0 0.8 -0.1", "0 0 0.8"), r"#0: atom 1 \(line 4\) has 6 columns"),
        (GOOD.replace("H 0 0 0.8", "Hx 0 0 0.8"), "atom 1 is of the unknown element 'Hx'"),
        (GOOD.replace("0 0 4", "0 0"), "Lattice should be nine numbers"),
        (GOOD.replace("energy=-1.5", "energy=abc"), "'energy' should be one number"),
        (GOOD.replace("energy=-1.5", 'energy="1 2"'), "'energy' should be one number"),
        (GOOD.replace("energy=-1.5", 'stress="1 2 3"'), "'stress' should be a 3x3 matrix"),
        (GOOD.replace("energy=-1.5", "energy=1 energy=2"), "'energy' occurs twice"),
        (GOOD.replace("energy=-1.5", 'energy="1'), "line 2: cannot make sense of"),
        (GOOD.replace("energy", 'pbc="1 2" energy'), "pbc should be three"),
        (GOOD.replace("pos:R:3", "pos:Q:3"), "unknown type 'Q'"),
        (GOOD.replace("pos:R:3", "xyz:R:3"), "has no pos:R:3"),
        (GOOD.replace("species:S:1", "name:S:1"), "no column species:S:1 or Z:I:1"),
        (
            GOOD.replace("forces:R:3", "forces:R:2:id:I:1").replace("0\n", f"{2**70}\n"),
            "column 'id' holds integers beyond 64 bits",
        ),
        (GOOD.replace("energy=-1.5", 'energy="_JSON {"'), "line 2: "),
        (GOOD.replace("pos:R:3", "pos:R"), "cannot make sense of Properties"),
        (GOOD.replace(":forces:R:3", ":forces:R:2:x:R:1"), r"'forces' should hold \(2, 3\)"),
        (GOOD.replace("-0.1 0 0", "nan 0 0"), r"#0: the force on atom 1 \(H\) is \[nan"),
        (GOOD.replace("0 0 0.8", "0 inf 0.8"), r"the position of atom 1 \(H\) is"),
        (GOOD.replace("-1.5", "nan"), "the energy is nan"),
        (GOOD.replace("4 0 0 0 4 0 0 0 4", "4 0 0 0 4 0 0 0 0"), "its cell has no volume"),
        ("0\nenergy=1\n", "the frame has no atoms"),
        (GOOD.replace("species:S:1", "Z:I:1").replace("H ", "119 "), "atomic number 119"),
    ],
)
def test_damage_is_named_with_its_place(tmp_path, text, message):
    path = save(tmp_path, text)
    with pytest.raises(ValueError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_atomic_numbers_as_column(tmp_path):
    (frame,) = read(save(tmp_path, GOOD.replace("species:S:1", "Z:I:1").replace("H ", "8 ")))
    assert frame.system.species.tolist() == [8, 8]


def test_truncated_gzip(tmp_path):
    path = tmp_path / "a.xyz.gz"
    path.write_bytes(gzip.compress((GOOD * 2000).encode())[:-30])
    with pytest.raises(ValueError, match="not a whole text file after frame"):
        read(path)
    whole = gzip.compress((GOOD * 2000).encode())
    for place in range(20, len(whole), 25):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        with pytest.raises(ValueError, match=r"a\.xyz\.gz"):
            read(path)
    path.write_bytes(b"no gzip")
    with pytest.raises(ValueError, match="not a whole text file"):
        read(path)


def test_what_extxyz_cannot_hold_is_told(tmp_path):
    system = System(np.array([1]), np.zeros((1, 3)), np.zeros((3, 3)), np.zeros(3, bool))
    kept = {"ok": {"a": [1, 2]}, "kpts": "4 4 4", "one": "1,2", "ragged": [[1, 2], [3]]}
    info = {"bad": object(), "REF_energy": 3.0, "pbc": "?", **kept}
    arrays = {"forces": np.ones((1, 3)), "names": np.array(["a b"]), "deep": np.ones((1, 2, 2))}
    notes = write(
        Dataset((Frame(system, Labels(1.0), info=info, arrays=arrays),)), tmp_path / "a.xyz"
    )
    assert sorted(n.split("'")[1] for n in notes) == [
        "REF_energy", "bad", "deep", "forces", "names", "pbc",
    ]  # fmt: skip
    (back,) = read(tmp_path / "a.xyz")
    assert back.info == kept
    assert back.labels.energy == 1.0


def test_ase_moves_of_labels_do_not_matter(tmp_path):
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.8]])
    atoms.calc = SinglePointCalculator(
        atoms, energy=-2.0, forces=np.eye(3)[:2], dipole=np.array([1.0, 2, 3])
    )
    stream = io.StringIO()
    ase.io.write(stream, atoms, format="extxyz")
    (frame,) = read(save(tmp_path, stream.getvalue()))
    assert frame.labels.energy == -2
    assert frame.labels.forces.tolist() == np.eye(3)[:2].tolist()
    assert frame.info["dipole"].tolist() == [1, 2, 3]
