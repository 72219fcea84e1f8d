"""deepmd formats against dpdata, against ourselves, and against damaged folders."""

import shutil

import dpdata
import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from huozi.systems import Dataset, Frame, Labels, System, read, write


def molecule(symbols, frames=3, periodic=True, seed=0):
    """A dpdata system with random labels."""
    rng = np.random.default_rng(seed)
    n = len(symbols)
    names = sorted(set(symbols))
    data = {
        "atom_names": names,
        "atom_numbs": [symbols.count(s) for s in names],
        "atom_types": np.array([names.index(s) for s in symbols]),
        "orig": np.zeros(3),
        "cells": np.tile(np.eye(3) * 9 + np.tri(3, k=-1), (frames, 1, 1)),
        "coords": rng.normal(size=(frames, n, 3)),
        "energies": rng.normal(size=frames) - 1e4,
        "forces": rng.normal(size=(frames, n, 3)),
        "virials": rng.normal(size=(frames, 3, 3)),
    }
    if not periodic:
        data["nopbc"] = True
        data["cells"][:] = 0
        del data["virials"]
    return dpdata.LabeledSystem(data=data)


def agree(dataset, system):
    data = system.data
    assert len(dataset) == len(data["coords"])
    for k, frame in enumerate(dataset):
        symbols = [data["atom_names"][t] for t in data["atom_types"]]
        assert frame.system.to_atoms().get_chemical_symbols() == symbols
        np.testing.assert_array_equal(frame.system.positions, data["coords"][k])
        np.testing.assert_array_equal(frame.system.cell, data["cells"][k])
        assert frame.system.pbc.all() != data.get("nopbc", False)
        assert frame.labels.energy == data["energies"][k]
        np.testing.assert_array_equal(frame.labels.forces, data["forces"][k])
        if "virials" in data:
            np.testing.assert_array_equal(frame.labels.virial, data["virials"][k])
        else:
            assert frame.labels.virial is None


@pytest.mark.parametrize("periodic", [True, False])
def test_reads_npy_and_hdf5_of_dpdata(tmp_path, periodic):
    system = molecule(["O", "H", "H"], 7, periodic)
    system.to("deepmd/npy", tmp_path / "npy", set_size=3, prec=np.float64)
    agree(read(tmp_path / "npy"), system)
    assert read(tmp_path / "npy")[4].source.endswith("npy/set.001#1")
    system.to("deepmd/hdf5", str(tmp_path / "a.hdf5"), comp_prec=np.float64)
    agree(read(tmp_path / "a.hdf5"), system)


def test_reads_raw_of_dpdata(tmp_path):
    system = molecule(["O", "H", "H"])
    system.to("deepmd/raw", tmp_path / "raw")
    data = read(tmp_path / "raw")
    assert len(data) == 3
    np.testing.assert_allclose(data[2].labels.forces, system.data["forces"][2], atol=1e-12)
    np.testing.assert_allclose(data[1].system.cell, system.data["cells"][1])


def test_float32_keeps_what_it_has(tmp_path):
    system = molecule(["O", "H", "H"])
    system.to("deepmd/npy", tmp_path / "a", prec=np.float32)
    frame = read(tmp_path / "a")[0]
    assert frame.system.positions.dtype == np.float64
    np.testing.assert_array_equal(frame.system.positions, np.float32(system.data["coords"][0]))


def test_reads_groups_of_hdf5(tmp_path):
    many = dpdata.MultiSystems(molecule(["O", "H", "H"]), molecule(["C", "H"], 4))
    many.to("deepmd/hdf5", str(tmp_path / "a.hdf5"))
    assert [len(f) for f in read(tmp_path / "a.hdf5")] == [2] * 4 + [3] * 3
    with h5py.File(tmp_path / "a.hdf5") as file:
        groups = sorted(file)
    one = read(f"{tmp_path}/a.hdf5#/{groups[1]}")
    assert [len(f) for f in one] == [3] * 3
    with pytest.raises(ValueError, match=r"has no group '/x'"):
        read(f"{tmp_path}/a.hdf5#/x")


def test_reads_mixed_of_dpdata_with_padding(tmp_path):
    systems = [molecule(["O", "H", "H"], 3), molecule(["C", "H", "O"], 2, seed=1)]
    systems.append(molecule(["C", "O", "O", "H"], 2, seed=2))
    many = dpdata.MultiSystems(*systems)
    many.to("deepmd/npy/mixed", tmp_path / "m", atom_numb_pad=8, prec=np.float64)
    ours = {tuple(f.system.positions[0]): f for f in read(tmp_path / "m")}
    assert len(ours) == 7
    for system in systems:
        for k, coord in enumerate(system.data["coords"]):
            frame = ours[tuple(coord[0])]
            names = [system.data["atom_names"][t] for t in system.data["atom_types"]]
            assert frame.system.to_atoms().get_chemical_symbols() == names
            np.testing.assert_array_equal(frame.labels.forces, system.data["forces"][k])
            assert frame.labels.energy == system.data["energies"][k]


def test_dpdata_reads_what_we_write(tmp_path, alloy):
    assert "'group'" in write(alloy, tmp_path / "out")[0]
    copper = dpdata.LabeledSystem(str(tmp_path / "out" / "Cu32"), fmt="deepmd/npy")
    frames = [f for f in alloy if set(f.system.species) == {29}]
    np.testing.assert_array_equal(copper.data["coords"], [f.system.positions for f in frames])
    np.testing.assert_array_equal(copper.data["cells"], [f.system.cell for f in frames])
    np.testing.assert_array_equal(copper.data["energies"], [f.labels.energy for f in frames])
    np.testing.assert_array_equal(copper.data["virials"], [f.labels.virial for f in frames])
    assert copper.data["atom_names"][copper.data["atom_types"][0]] == "Cu"


@st.composite
def data_sets(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    frames = []
    for _ in range(draw(st.integers(1, 6))):
        species = np.array(draw(st.sampled_from([[8, 1, 1], [1, 8, 1], [6, 1], [79]])), np.int32)
        n = len(species)
        periodic = draw(st.booleans())
        has = draw(st.tuples(*[st.booleans()] * 3))
        labels = Labels(
            float(rng.normal() * 1e4) if has[0] else None,
            rng.normal(size=(n, 3)) if has[1] else None,
            rng.normal(size=(3, 3)) if has[2] else None,
        )
        cell = np.eye(3) * 8 + rng.normal(size=(3, 3)) if periodic else np.zeros((3, 3))
        system = System(species, rng.normal(size=(n, 3)), cell, np.full(3, periodic))
        frames.append(Frame(system, labels))
    return Dataset(tuple(frames))


def key(frame):
    return frame.system.positions.tobytes()


@settings(max_examples=40, deadline=None)
@given(data_sets())
def test_round_trip_is_exact(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("d") / "out"
    assert write(data, path) == ()
    back = {key(f): f for f in read(path)}
    assert len(back) == len(data)
    for frame in data:
        twin = back[key(frame)]
        np.testing.assert_array_equal(twin.system.species, frame.system.species)
        np.testing.assert_array_equal(twin.system.cell, frame.system.cell)
        np.testing.assert_array_equal(twin.system.pbc, frame.system.pbc)
        assert twin.labels.energy == frame.labels.energy
        for name in ("forces", "virial"):
            one, two = getattr(frame.labels, name), getattr(twin.labels, name)
            assert (one is None) == (two is None)
            if one is not None:
                np.testing.assert_array_equal(one, two)


def test_partly_periodic_frames_are_refused(tmp_path):
    system = System(np.array([6]), np.zeros((1, 3)), np.eye(3), np.array([True, True, False]))
    with pytest.raises(ValueError, match="fully periodic or fully open"):
        write(Dataset((Frame(system, source="slab#0"),)), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def folder(tmp_path):
    molecule(["O", "H", "H"], 4).to("deepmd/npy", tmp_path / "sys", prec=np.float64)
    return tmp_path / "sys"


def edit(name, change):
    """Return a function that rewrites one array of a folder."""

    def apply(folder):
        path = folder / "set.000" / f"{name}.npy"
        np.save(path, change(np.load(path)))

    return apply


def cut(folder):
    path = folder / "set.000" / "coord.npy"
    path.write_bytes(path.read_bytes()[:-40])


def put(array, *places):
    array[places] = np.nan
    return array


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, r"coord.npy cannot be read \(truncated\?\)"),
        (lambda f: (f / "set.000/energy.npy").write_bytes(b""), "energy.npy cannot be read"),
        (lambda f: (f / "set.000/box.npy").unlink(), "has no box.npy; add it, or .*nopbc"),
        (lambda f: (f / "set.000/coord.npy").unlink(), "has no coord.npy; it has"),
        (edit("energy", lambda a: a[:3]), r"energy.npy has shape \(3, 1\); expected \(4, 1\)"),
        (edit("force", lambda a: a[:3]), r"force.npy has shape \(3, 9\); expected \(4, 9\)"),
        (edit("force", np.transpose), r"force.npy has shape \(9, 4\); expected \(4, 9\)"),
        (edit("force", lambda a: a[:, :6]), r"force.npy has shape \(4, 6\)"),
        (edit("coord", lambda a: a[:, :8]), r"coord.npy has shape \(4, 8\); expected"),
        (edit("box", lambda a: a[:, :3]), r"box.npy has shape \(4, 3\); expected \(4, 9\)"),
        (edit("virial", lambda a: a[:, :6]), r"virial.npy has shape \(4, 6\)"),
        (edit("energy", lambda a: a.astype(str)), "energy.npy should hold numbers"),
        (edit("coord", lambda a: np.array([a, None], object)), "coord.npy cannot be read"),
        (edit("box", np.zeros_like), r"set.000#0: the frame is periodic .* has no volume"),
        (edit("force", lambda a: put(a, 2, 4)), r"set.000#2: the force on atom 1 \(.\) is"),
        (edit("coord", lambda a: put(a, 1, 8)), r"set.000#1: the position of atom 2"),
        (edit("energy", lambda a: put(a, 3)), r"set.000#3: the energy is nan eV"),
        (edit("virial", lambda a: put(a, 0, 0)), r"set.000#0: the virial is"),
        (lambda f: (f / "type.raw").write_text("0 1"), r"\(4, 9\); expected \(frames, 6\)"),
        (lambda f: (f / "type.raw").write_text("0 1 2"), "atom 2 of type.raw has type 2"),
        (lambda f: (f / "type.raw").write_text("0 1 -1"), "atom 2 of type.raw has type -1"),
        (lambda f: (f / "type.raw").write_text("0 1 x"), "should hold integers, found 'x'"),
        (lambda f: (f / "type.raw").write_text("0 ² 1"), "should hold integers, found '²'"),
        (lambda f: (f / "type.raw").write_text(""), "for the 0 atoms of type.raw"),
        (
            lambda f: (f / "type_map.raw").unlink(),
            r"no type_map.raw.*data convert .*--type-map O,H",
        ),
        (lambda f: (f / "type_map.raw").write_text("OW HW"), "names 'OW', which is no chem"),
    ],
)
def test_damage_is_named_with_its_place(folder, damage, message):
    damage(folder)
    with pytest.raises(ValueError, match=message) as caught:
        read(folder)
    assert str(folder) in str(caught.value)


def test_empty_set_is_an_error(folder):
    for path in (folder / "set.000").iterdir():
        np.save(path, np.load(path)[:0])
    with pytest.raises(ValueError, match="holds no frames"):
        read(folder)


def test_unknown_type_in_mixed(tmp_path):
    dpdata.MultiSystems(molecule(["O", "H"])).to("deepmd/npy/mixed", tmp_path / "m")
    (path,) = (tmp_path / "m").rglob("real_atom_types.npy")
    types = np.load(path)
    types[1, 1] = 7
    np.save(path, types)
    with pytest.raises(ValueError, match="frame 1, atom 1 has type 7"):
        read(tmp_path / "m")


def test_type_map_argument(folder):
    names = (folder / "type_map.raw").read_text().split()
    assert read(folder, type_map=names)[0].system.species.tolist() == [8, 1, 1]
    with pytest.raises(ValueError, match="but type_map is"):
        read(folder, type_map=names[::-1])
    (folder / "type_map.raw").write_text("\n".join(f"{n}_w" for n in names))
    assert read(folder, type_map=names)[0].system.species.tolist() == [8, 1, 1]
    (folder / "type_map.raw").unlink()
    assert read(folder, type_map=names)[0].system.species.tolist() == [8, 1, 1]


@pytest.mark.parametrize(
    ("quantity", "left"), [("energy", "energy"), ("forces", "forces"), ("stress", "virial")]
)
@pytest.mark.parametrize("name", ["npy", "a.hdf5"])
def test_labels_can_be_left_out(tmp_path, name, quantity, left):
    kind = "deepmd/hdf5" if name == "a.hdf5" else "deepmd/npy"
    molecule(["O", "H", "H"]).to(kind, str(tmp_path / name))
    data = read(tmp_path / name, keys={quantity: "none"})
    for label in ("energy", "forces", "virial"):
        assert all((getattr(f.labels, label) is None) == (label == left) for f in data)
    assert f"left out the {left}" in data.notes[-1]


def test_other_keys_are_refused(folder):
    with pytest.raises(ValueError, match=r"'REF_energy' was chosen as energy, but this format"):
        read(folder, keys={"energy": "REF_energy"})
    with pytest.raises(ValueError, match="unknown quantity 'dipole'"):
        read(folder, keys={"dipole": "none"})


def test_other_arrays_are_noted(folder):
    np.save(folder / "set.000" / "aparam.npy", np.zeros(4))
    data = read(folder)
    assert "energy, force, virial (4 frames)" in data.notes[0]
    assert "left out: aparam" in data.notes[1]


def test_deepks_folders_are_refused(tmp_path):
    place = tmp_path / "set" / "train.n1"
    place.mkdir(parents=True)
    np.save(place / "atom.npy", np.zeros((2, 3, 4)))
    for path in (place, tmp_path):
        with pytest.raises(ValueError, match=r"atom.npy without set.\* .* deepks system"):
            read(path)


def test_broken_hdf5(tmp_path):
    (tmp_path / "a.hdf5").write_bytes(b"\x89HDF")
    with pytest.raises(ValueError, match="is not a whole HDF5 file"):
        read(tmp_path / "a.hdf5")
    with h5py.File(tmp_path / "b.hdf5", "w") as file:
        file["x"] = 1
    with pytest.raises(ValueError, match="no deepmd system"):
        read(tmp_path / "b.hdf5")
    molecule(["H"]).to("deepmd/hdf5", str(tmp_path / "c.hdf5"))
    whole = (tmp_path / "c.hdf5").read_bytes()
    (tmp_path / "c.hdf5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="is not a whole HDF5 file"):
        read(tmp_path / "c.hdf5")


def test_nested_folders_are_read_in_order(tmp_path, folder):
    for name in ("b/x", "a/deep/er", "a/.hidden"):
        shutil.copytree(folder, tmp_path / "all" / name)
    write(read(folder)[:1], tmp_path / "all" / "a" / "z.extxyz")
    (tmp_path / "all" / "README.md").write_text("words")
    files = [f.source.split("/all/")[1] for f in read(tmp_path / "all")]
    assert files == (
        [f"a/deep/er/set.000#{k}" for k in range(4)]
        + ["a/z.extxyz#0"]
        + [f"b/x/set.000#{k}" for k in range(4)]
    )
    only = read(tmp_path / "all", format="deepmd/npy")
    assert len(only) == 8
