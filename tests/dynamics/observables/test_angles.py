import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from huozi.dynamics.observables import angle_distribution


def test_the_angle_of_water_is_found_once_per_molecule():
    water = molecule("H2O", cell=[6, 6, 6], pbc=True)
    exact = water.get_angle(1, 0, 2)
    frames = [water * (2, 1, 1)] * 4
    angle, p, err = angle_distribution(frames, ("H", "O", "H"), 1.25, bins=180)
    assert p.sum() * 1.0 == pytest.approx(1)
    assert abs(angle[np.argmax(p)] - exact) <= 0.5
    assert p.max() == pytest.approx(1)
    assert (err == 0).all()


def test_angles_of_a_crystal_through_images():
    _, p, err = angle_distribution([bulk("Si", a=5.43)], ("Si", "Si", "Si"), 2.5, bins=180)
    assert p[109] == pytest.approx(1)
    _, p, _ = angle_distribution([bulk("NaCl", "rocksalt", a=5.6)], ("Na", "Cl", "Na"), 3.0, bins=9)
    assert (p * 20)[[4, 8]] == pytest.approx([0.8, 0.2])
    assert np.isnan(err).all()


def test_unlike_ends_count_each_angle_once():
    atoms = Atoms("OHF", positions=[[0, 0, 0], [1, 0, 0], [0, 1, 0]], cell=[9] * 3, pbc=True)
    for triplet in (("H", "O", "F"), ("F", "O", "H")):
        _, p, _ = angle_distribution([atoms], triplet, 1.2, bins=9)
        assert p[4] * 20 == pytest.approx(1)
    with pytest.raises(ValueError, match=r"no H-O-H angle within 1.2 Å in any of 1 frames"):
        angle_distribution([atoms], ("H", "O", "H"), 1.2)


def test_random_neighbours_are_uniform_per_solid_angle():
    rng = np.random.default_rng(0)
    frames = [
        Atoms("O40", scaled_positions=rng.uniform(size=(40, 3)), cell=[7] * 3, pbc=True)
        for _ in range(160)
    ]
    triplet = ("O", "O", "O")
    _, p, err = angle_distribution(frames, triplet, 3.0, bins=12, per_solid_angle=True)
    assert np.abs((p - 1) / err).max() < 5
    angle, plain, _ = angle_distribution(frames, triplet, 3.0, bins=12)
    weights = -np.diff(np.cos(np.radians(np.linspace(0, 180, 13)))) / 2 / 15
    np.testing.assert_allclose(plain, p * weights, rtol=1e-10)


def test_no_cell_is_refused():
    with pytest.raises(ValueError, match="frame 0 needs a cell"):
        angle_distribution([molecule("H2O")], ("H", "O", "H"), 1.25)
