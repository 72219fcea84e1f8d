"""Frames, their ASE twins, and data sets as sequences."""

import numpy as np
import pytest
from ase import Atoms

from huozi.systems import Dataset, Frame, Labels, System


def test_atoms_and_back(alloy):
    frame = alloy[1]
    atoms = frame.to_atoms()
    assert atoms.get_potential_energy() == frame.labels.energy
    np.testing.assert_array_equal(atoms.get_forces(), frame.labels.forces)
    np.testing.assert_allclose(
        -atoms.get_volume() * atoms.get_stress(voigt=False),
        (frame.labels.virial + frame.labels.virial.T) / 2,
        atol=1e-12,
    )
    assert atoms.info["group"] == "g1"
    again = System.from_atoms(atoms)
    np.testing.assert_array_equal(again.positions, frame.system.positions)
    assert len(frame) == len(again) == 32
    assert again.volume == pytest.approx(atoms.get_volume())


def test_arrays_travel_and_open_systems_have_no_stress():
    system = System.from_atoms(Atoms("H2", [[0, 0, 0], [0, 0, 1]]))
    frame = Frame(system, Labels(virial=np.eye(3)), arrays={"tags": np.array([1, 2])})
    atoms = frame.to_atoms()
    assert atoms.calc is None
    assert atoms.get_tags().tolist() == [1, 2]
    assert system.volume == 0


def test_data_set_is_a_sequence(alloy):
    assert alloy[-1] is alloy.frames[-1]
    assert len(alloy[:10]) == 10
    assert [f.source for f in alloy[[3, 1]]] == ["alloy.extxyz#3", "alloy.extxyz#1"]
    mask = np.arange(len(alloy)) % 20 == 3
    assert [f.source for f in alloy[mask]] == [f"alloy.extxyz#{k}" for k in (3, 23, 43)]
    assert not len(alloy[[]])
    with pytest.raises(IndexError, match=r"mask of shape \(2,\) for 60 frames"):
        alloy[[True, False]]
    both = alloy + alloy[:2]
    assert len(both) == 62
    assert both.notes == ("made for tests",) * 2
    assert alloy.elements == (29, 79)
    assert alloy.symbols == ("Cu", "Au")
    assert alloy.count_matrix()[:2].tolist() == [[32, 0], [16, 16]]
    assert Dataset(()).elements == ()
    assert Dataset(()).count_matrix().shape == (0, 0)
