import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from huozi.dynamics.observables import (
    coordination_number,
    first_minimum,
    radial_distribution,
)
from huozi.dynamics.observables.rdf import _distances, element_numbers


def ideal_gas(rng, frames, n_first, n_second, cell):
    n = n_first + n_second
    symbols = ["O"] * n_first + ["H"] * n_second
    scaled = rng.uniform(-1, 2, (frames, n, 3))
    return [Atoms(symbols, scaled_positions=s, cell=cell, pbc=True) for s in scaled]


@pytest.mark.parametrize(("pair", "exact"), [(("O", "O"), 1 - 1 / 30), (("H", "O"), 1.0)])
def test_ideal_gas_is_flat_within_its_errors_beyond_half_a_skewed_cell(pair, exact):
    cell = [[8.0, 0, 0], [2.0, 7.0, 0], [-1.0, 3.0, 6.5]]
    frames = ideal_gas(np.random.default_rng(3), 400, 30, 40, cell)
    r, g, err = radial_distribution(frames, pair, 6.0, bins=24)
    pulls = (g[2:] - exact) / err[2:]
    assert r[0] == pytest.approx(0.125)
    assert abs(np.average(g[2:], weights=err[2:] ** -2) - exact) < 0.01
    assert np.abs(pulls).max() < 6
    assert 0.7 < np.sqrt(np.mean(pulls**2)) < 1.7


def test_shells_of_a_perfect_crystal_are_counted_through_many_images():
    a = 3.6
    frames = [bulk("Cu", "fcc", a=a)]
    r, g, err = radial_distribution(frames, ("Cu", "Cu"), 1.5 * a, bins=540)
    density = 4 / a**3
    neighbours = np.cumsum(g * density * 4 / 3 * np.pi * ((r + 0.005) ** 3 - (r - 0.005) ** 3))
    for shell, total in [(a / 2**0.5, 12), (a, 18), (a * 1.5**0.5, 42), (a * 2**0.5, 54)]:
        assert neighbours[np.searchsorted(r, shell + 0.02)] == pytest.approx(total, abs=1e-6)
    assert np.isnan(err).all()


def test_pairs_of_unlike_atoms_are_symmetric():
    frames = ideal_gas(np.random.default_rng(0), 5, 10, 20, np.eye(3) * 9)
    one = radial_distribution(frames, ("O", "H"), 5.0, 50)[1]
    other = radial_distribution(frames, ("H", "O"), 5.0, 50)[1]
    np.testing.assert_allclose(one, other, rtol=1e-12)


def test_coordination_numbers_are_exact():
    frames = [bulk("NaCl", "rocksalt", a=5.6) for _ in range(3)]
    assert coordination_number(frames, ("Na", "Cl"), 3.0) == pytest.approx((6, 0))
    assert coordination_number(frames, ("Na", "Na"), 4.2) == pytest.approx((12, 0))
    uneven = bulk("CsCl", "cesiumchloride", a=4.1) * (2, 2, 2)
    del uneven[1]
    number, _ = coordination_number([uneven], ("Cs", "Cl"), 3.8)
    reverse, _ = coordination_number([uneven], ("Cl", "Cs"), 3.8)
    assert number == pytest.approx(7)
    assert reverse == pytest.approx(8)


def test_distances_equal_those_of_ase():
    from ase.neighborlist import neighbor_list
    from vesin import NeighborList

    atoms = ideal_gas(np.random.default_rng(5), 1, 12, 9, [[5, 0, 0], [1, 6, 0], [0, 2, 4]])[0]
    first, second = element_numbers(("O", "H"))
    found, n_first, n_second = _distances(
        NeighborList(cutoff=7.0, full_list=False), atoms, first, second, 0
    )
    i, j, d = neighbor_list("ijd", atoms, 7.0)
    expected = d[(atoms.numbers[i] == 8) & (atoms.numbers[j] == 1)]
    assert (n_first, n_second) == (12, 9)
    np.testing.assert_allclose(np.sort(found), np.sort(expected), rtol=1e-10)


def test_hostile_frames_are_refused_with_their_place():
    good = Atoms("OH2", positions=np.eye(3), cell=[5, 5, 5], pbc=True)
    with pytest.raises(ValueError, match="no frames"):
        radial_distribution([], ("O", "H"))
    with pytest.raises(ValueError, match=r"frame 1 \(H2\) lacks atoms of the pair"):
        radial_distribution([good, good[1:]], ("O", "H"))
    with pytest.raises(ValueError, match="frame 0 needs a cell periodic"):
        radial_distribution([Atoms("OH")], ("O", "H"))
    with pytest.raises(ValueError, match="'Q' is not a chemical symbol"):
        radial_distribution([good], ("O", "Q"))
    with pytest.raises(ValueError, match="must be positive"):
        radial_distribution([good], ("O", "H"), r_max=-1)
    with pytest.raises(ValueError, match="no frames"):
        coordination_number([], ("O", "H"), 2.0)
    bad = good.copy()
    bad.positions[2, 1] = np.nan
    with pytest.raises(ValueError, match="frame 1: the position of atom 2 is not finite"):
        radial_distribution([good, bad], ("O", "H"))


def test_the_first_shell_ends_at_the_first_minimum():
    r = np.linspace(0.015, 8, 267)
    wave = np.where(r < 2.5, 0, 1 + np.exp(-r / 4) * 3 * np.cos(2 * np.pi * (r - 2.8) / 2.8))
    noisy = wave + np.random.default_rng(0).normal(0, 0.02, len(r))
    assert first_minimum(r, noisy) == pytest.approx(4.2, abs=0.15)
    bond = np.exp(-(((r - 1) / 0.05) ** 2)) * 30 + np.where(r > 1.8, 1, 0)
    assert 1.2 < first_minimum(r, bond) < 1.7
    assert first_minimum(r, np.ones_like(r)) is None
    assert first_minimum(r, np.exp(-(((r - 7.5) / 0.5) ** 2))) is None
