"""ASE databases, files of other programs through ASE and dpdata."""

import sys
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.db import connect

from huozi.systems import read
from huozi.units import BOHR, HARTREE

VASP = Path(ase.__file__).parent / "test/testdata/vasp"
CP2K = Path(__file__).parent / "data/cp2k_h2.out"  # CP2K 2023.1, H2, PBE, shortened

DUMP = """ITEM: TIMESTEP
0
ITEM: NUMBER OF ATOMS
2
ITEM: BOX BOUNDS pp pp pp
0.0 8.0
0.0 8.0
0.0 8.0
ITEM: ATOMS id type x y z
2 2 1.0 0.0 0.0
1 1 0.0 0.0 0.0
"""


@pytest.mark.parametrize("name", ["a.db", "a.json"])
def test_ase_database(tmp_path, alloy, name):
    with connect(tmp_path / name) as database:
        for frame in alloy[:4]:
            database.write(frame.to_atoms(), group=frame.info["group"])
    for back, frame in zip(read(tmp_path / name), alloy[:4], strict=True):
        np.testing.assert_allclose(back.system.positions, frame.system.positions, rtol=1e-14)
        assert back.labels.energy == pytest.approx(frame.labels.energy, abs=1e-12)
        np.testing.assert_allclose(back.labels.forces, frame.labels.forces, atol=1e-12)
        np.testing.assert_allclose(back.labels.virial, frame.labels.virial, atol=1e-10)
        assert back.info["group"] == frame.info["group"]


def test_database_with_labels_as_key_value_pairs(tmp_path, alloy):
    with connect(tmp_path / "a.db") as database:
        database.write(alloy[0].to_atoms(), REF_energy=-7.0)
    with pytest.raises(ValueError, match=r"'REF_energy' = -7 and 'energy' = "):
        read(tmp_path / "a.db")
    (frame,) = read(tmp_path / "a.db", keys={"energy": "REF_energy"})
    assert frame.labels.energy == -7


def test_broken_database(tmp_path):
    (tmp_path / "a.db").write_bytes(b"SQLite format 3\0 and then nothing")
    with pytest.raises(ValueError, match="cannot be read as an ASE database"):
        read(tmp_path / "a.db")


def test_trajectory_of_ase_keeps_forces_on_fixed_atoms(tmp_path, alloy):
    atoms = alloy[0].to_atoms()
    atoms.set_constraint(FixAtoms([0]))
    ase.io.write(tmp_path / "a.traj", [atoms, alloy[2].to_atoms()])
    data = read(tmp_path / "a.traj")
    np.testing.assert_array_equal(data[0].labels.forces, alloy[0].labels.forces)
    assert data[1].labels.energy == alloy[2].labels.energy


def test_an_at_in_a_file_name_is_no_index(tmp_path, alloy):
    for name, frame in (("a.traj", alloy[0]), ("a.traj@1", alloy[2])):
        ase.io.write(tmp_path / name, frame.to_atoms(), format="traj")
    (frame,) = read(tmp_path / "a.traj@1", format="traj")
    np.testing.assert_array_equal(frame.system.positions, alloy[2].system.positions)


def test_free_energy_of_a_calculator_is_taken_and_named(tmp_path, alloy):
    atoms = alloy[0].system.to_atoms()
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, free_energy=-1.5)
    ase.io.write(tmp_path / "a.traj", atoms)
    data = read(tmp_path / "a.traj")
    assert data[0].labels.energy == -1.5
    assert any("'free_energy' was taken" in note for note in data.notes)
    assert read(tmp_path / "a.traj", keys={"energy": "energy"})[0].labels.energy == -1.0


@pytest.mark.skipif(not (VASP / "OUTCAR_example_1").exists(), reason="ASE without its test data")
@pytest.mark.parametrize("format", [None, "vasp/outcar", "vasp-out"])
def test_vasp_outcar(format):
    (frame,) = read(VASP / "OUTCAR_example_1", format=format)
    (other,) = ase.io.read(VASP / "OUTCAR_example_1", ":")
    assert frame.system.species.tolist() == [28] * 18
    assert frame.labels.energy == other.calc.results["free_energy"]
    np.testing.assert_array_equal(frame.labels.forces, other.calc.results["forces"])
    assert np.trace(frame.labels.virial) == pytest.approx(
        -other.get_volume() * other.calc.results["stress"][:3].sum()
    )


@pytest.mark.parametrize("format", [None, "cp2k/output"])
def test_cp2k_output(format):
    data = read(CP2K, format=format)
    (frame,) = data
    assert frame.labels.energy == pytest.approx(-1.160372628354147 * HARTREE, rel=1e-7)
    np.testing.assert_allclose(
        frame.labels.forces[:, 2], np.array([0.0217029, -0.02087463]) * HARTREE / BOHR, rtol=1e-6
    )
    assert frame.system.volume == pytest.approx(125)
    assert "found energies, forces" in data.notes[0]


def test_lammps_dump_needs_elements(tmp_path):
    path = tmp_path / "a.lammpstrj"
    path.write_text(DUMP)
    with pytest.raises(ValueError, match=r"no column 'element'.*data convert .*--type-map O,H"):
        read(path)
    (frame,) = read(path, type_map=["O", "H"])
    assert frame.system.species.tolist() == [8, 1]
    assert frame.system.positions[1].tolist() == [1, 0, 0]
    assert frame.labels.energy is None
    path.write_text(
        DUMP.replace("type x", "element x").replace("2 2 1", "2 Si 1").replace("1 1 0", "1 C 0")
    )
    (frame,) = read(path, format="lammps/dump")
    assert frame.system.species.tolist() == [6, 14]


def test_unknown_formats(tmp_path):
    path = tmp_path / "a.what"
    path.write_text("hello")
    with pytest.raises(ValueError, match=r"a.what cannot be read by ASE.*--format"):
        read(path)
    with pytest.raises(ValueError, match="unknown format 'no/such'; dpdata knows"):
        read(path, format="no/such")
    with pytest.raises(ValueError, match="cannot be read by dpdata as vasp/poscar: "):
        read(path, format="vasp/poscar")
    with pytest.raises(ValueError, match="holds no frames of gaussian/log"):
        read(path, format="gaussian/log")


def test_dpdata_is_optional(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dpdata", None)
    with pytest.raises(ImportError, match=r"pip install huozi\[formats\]"):
        read(CP2K)


def test_dpdata_structures_without_labels_or_elements(tmp_path):
    path = tmp_path / "POSCAR"
    path.write_text("x\n1.0\n4 0 0\n0 4 0\n0 0 4\nH O\n2 1\nCartesian\n0 0 0\n0 0 1\n1 0 0\n")
    data = read(path, format="vasp/poscar")
    assert data[0].labels.energy is None
    assert "no labels" in data.notes[0]
    (tmp_path / "a.lmp").write_text(
        "x\n\n1 atoms\n1 atom types\n0 4 xlo xhi\n0 4 ylo yhi\n0 4 zlo zhi\n0 0 0 xy xz yz\n\n"
        "Atoms # atomic\n\n1 1 0 0 0\n"
    )
    with pytest.raises(ValueError, match="no chemical elements; pass type_map"):
        read(tmp_path / "a.lmp", format="lammps/lmp")
    (frame,) = read(tmp_path / "a.lmp", format="lammps/lmp", type_map=["Al"])
    assert frame.system.species.tolist() == [13]
