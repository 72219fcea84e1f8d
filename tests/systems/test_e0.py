"""Energies of the elements."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from huozi.systems import Dataset, Frame, Labels, System, fit_e0
from huozi.systems.e0 import fit_e0_details, is_isolated


def frame(species, energy, edge=0.0):
    n = len(species)
    positions = np.arange(3.0 * n).reshape(n, 3)
    return Frame(
        System(np.array(species), positions, np.eye(3) * edge, np.full(3, edge > 0)), Labels(energy)
    )


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-1e4, 0), min_size=3, max_size=3),
    st.lists(st.lists(st.sampled_from([1, 6, 8]), min_size=2, max_size=9), max_size=5),
)
def test_exact_energies_are_found(values, extra):
    true = dict(zip((1, 6, 8), values))
    species = [[1, 1, 8], [6, 1, 1, 1, 1], [6, 8, 8], *extra]
    data = Dataset(tuple(frame(s, sum(true[z] for z in s)) for s in species))
    fit = fit_e0_details(data)
    assert fit.determined
    assert fit.values == pytest.approx(true, abs=1e-6)
    np.testing.assert_allclose(fit.residuals, 0, atol=1e-6)


def test_least_squares_per_atom_as_numpy_has_it():
    rng = np.random.default_rng(0)
    data = Dataset(
        tuple(
            frame(rng.choice([1, 8], rng.integers(2, 7)).tolist(), rng.normal()) for _ in range(30)
        )
    )
    sizes = np.array([len(f) for f in data])
    counts = data.count_matrix() / sizes[:, None]
    energies = np.array([f.labels.energy for f in data]) / sizes
    expected = np.linalg.lstsq(counts, energies)[0]
    assert list(fit_e0(data).values()) == pytest.approx(expected.tolist())


def test_undetermined_compositions_stay_near_the_mean():
    fit = fit_e0_details(Dataset((frame([1, 1, 8], -30.0), frame([1, 1, 8] * 2, -63.0))))
    assert not fit.determined
    assert fit.values == pytest.approx({1: -10.25, 8: -10.25})
    np.testing.assert_allclose(fit.residuals, [0.25, -0.25])


def test_isolated_atoms_keep_their_energy():
    data = Dataset(
        (
            frame([1], -13.0),
            frame([8], -430.0, edge=12.0),
            frame([1, 1, 8], -470.0),
            frame([6], None),
        )
    )
    fit = fit_e0_details(data)
    assert fit.isolated == (1, 8)
    assert fit.values[1] == -13
    assert fit.values[8] == -430
    assert fit.residuals[2] == pytest.approx((-470 + 456) / 3)
    assert np.isnan(fit.residuals[3])


def test_what_is_isolated():
    assert is_isolated(frame([6], 0.0))
    assert is_isolated(frame([6], 0.0, edge=10))
    assert not is_isolated(frame([6], 0.0, edge=4))
    assert not is_isolated(frame([6, 6], 0.0))
    skew = System(
        np.array([6]),
        np.zeros((1, 3)),
        np.array([[9, 0, 0], [8, 3, 0], [0, 0, 9.0]]),
        np.ones(3, bool),
    )
    assert not is_isolated(Frame(skew))


def test_no_energies():
    with pytest.raises(ValueError, match="no frame has an energy"):
        fit_e0(Dataset((frame([1], None), frame([1], float("nan")))))


def test_the_other_elements_are_fitted_beside_given_ones():
    data = Dataset((frame([1, 1, 8], -20.0), frame([1, 1, 8], -20.0)))
    assert fit_e0(data, {1: -1.0}) == {1: -1.0, 8: pytest.approx(-18.0)}
    assert fit_e0_details(data, {1: -1.0}).isolated == ()
