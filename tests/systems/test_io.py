"""Dispatch of reading and writing, and writing whole or not at all."""

import numpy as np
import pytest

from huozi.files import atomic_path, written_aside
from huozi.systems import Dataset, Frame, System, read, write


def test_paths_that_do_not_work(tmp_path):
    with pytest.raises(ValueError, match="no paths"):
        read([])
    with pytest.raises(FileNotFoundError, match="no such file or folder: nowhere"):
        read("nowhere")
    with pytest.raises(ValueError, match=r"holds no deepmd system.*it has: nothing"):
        read(tmp_path)
    (tmp_path / "OUTCAR").touch()
    with pytest.raises(ValueError, match=r"it has: OUTCAR\); name other files"):
        read(tmp_path)
    with pytest.raises(ValueError, match="is a folder, but extxyz data are files"):
        read(tmp_path, format="extxyz")
    with pytest.raises(ValueError, match="is no deepmd system"):
        read(tmp_path / "OUTCAR", format="deepmd/npy")


def test_group_of_another_format(tmp_path, alloy):
    write(alloy, tmp_path / "a.xyz")
    with pytest.raises(ValueError, match="only deepmd/hdf5 files have groups"):
        read(f"{tmp_path}/a.xyz#/g")


def test_several_paths_keep_their_order(tmp_path, alloy):
    write(alloy[:2], tmp_path / "b.xyz")
    write(alloy[2:5], tmp_path / "a.xyz")
    data = read([tmp_path / "b.xyz", str(tmp_path / "a.xyz")])
    assert [f.labels.energy for f in data] == [f.labels.energy for f in alloy[:5]]
    assert len(data.notes) == 2
    assert [f.source for f in data][1:3] == [f"{tmp_path}/b.xyz#1", f"{tmp_path}/a.xyz#0"]


def test_validation_can_be_left_to_check(tmp_path, alloy):
    broken = alloy[0].system.positions.copy()
    broken[3] = np.nan
    system = System(alloy[0].system.species, broken, alloy[0].system.cell, alloy[0].system.pbc)
    write(Dataset((Frame(system),)), tmp_path / "a.xyz")
    assert len(read(tmp_path / "a.xyz", validate=False)) == 1
    with pytest.raises(ValueError, match="atom 3"):
        read(tmp_path / "a.xyz")


@pytest.mark.parametrize("name", ["a.extxyz", "folder"])
def test_nothing_is_overwritten_unasked(tmp_path, alloy, name):
    write(alloy[:2], tmp_path / name)
    with pytest.raises(FileExistsError, match="--overwrite"):
        write(alloy[:3], tmp_path / name)
    assert len(read(tmp_path / name)) == 2
    write(alloy[:3], tmp_path / name, overwrite=True)
    assert len(read(tmp_path / name)) == 3
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_folders_of_other_things_are_never_replaced(tmp_path, alloy):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("x")
    for format in ("deepmd/npy", "extxyz"):
        with pytest.raises(FileExistsError, match="not replaced"):
            write(alloy, tmp_path / "home", format, overwrite=True)
    assert (tmp_path / "home" / "thesis.tex").exists()


@pytest.mark.parametrize(
    "foreign", ["thesis.tex", "Cu32/notes.txt", "Cu32/set.000/fparam.npy", "plots/a.png", ".hidden"]
)
def test_a_folder_with_anything_else_in_it_is_not_replaced(tmp_path, alloy, foreign):
    write(alloy[:4], tmp_path / "data")
    path = tmp_path / "data" / foreign
    path.parent.mkdir(exist_ok=True)
    path.write_text("x")
    named = foreign.removesuffix("/a.png")
    with pytest.raises(FileExistsError, match=rf"holds {named},.*choose another folder"):
        write(alloy[:2], tmp_path / "data", overwrite=True)
    assert path.read_text() == "x"
    assert len(read(tmp_path / "data" / "Cu32")) == 2


def test_a_folder_of_systems_is_replaced(tmp_path, alloy):
    write(alloy[:4], tmp_path / "data")
    write(alloy[1:2], tmp_path / "data", overwrite=True)
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == [
        "set.000",
        "type.raw",
        "type_map.raw",
    ]


@pytest.mark.parametrize("replace_by", ["file", "nothing"])
def test_a_folder_is_left_when_no_folder_takes_its_place(tmp_path, replace_by):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "a.txt").touch()

    def fill():
        with written_aside(tmp_path / "kept", overwrite=True) as fresh:
            if replace_by == "file":
                fresh.touch()

    with pytest.raises(OSError, match="kept"):
        fill()
    with pytest.raises(IsADirectoryError, match="name a file"):
        atomic_path(tmp_path / "kept")
    assert [p.name for p in tmp_path.rglob("*")] == ["kept", "a.txt"]


def test_what_cannot_be_written(tmp_path, alloy):
    with pytest.raises(ValueError, match="no frames"):
        write(Dataset(()), tmp_path / "a.xyz")
    with pytest.raises(ValueError, match="cannot tell the format"):
        write(alloy, tmp_path / "a.cif")
    with pytest.raises(ValueError, match="cannot write 'cif'"):
        write(alloy, tmp_path / "a", "cif")
    assert list(tmp_path.iterdir()) == []
