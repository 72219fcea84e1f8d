"""What every wave function must be: antisymmetric, finite, with Kato's cusps; hydrogen exactly."""

from __future__ import annotations

import numpy as np
import pytest

from huozi.arrays import jax, jnp
from huozi.wavefunction import (
    FermiNet,
    LapNet,
    Molecule,
    PairProduct,
    Problem,
    Psiformer,
    features,
    jets,
)
from huozi.wavefunction.hamiltonian import kinetic_energy, potential_energy
from huozi.wavefunction.observables import force_terms
from tests.wavefunction.conftest import shaken


def test_local_energy_of_hydrogen_is_exact_everywhere():
    charges, nuclei = jnp.ones(1), jnp.zeros((1, 3))

    def log_psi(x):
        r = jets.elementwise(jnp.sqrt, jets.squared_length(x))
        return jets.sum_electrons(jets.linear(jnp.negative, r))

    x = jax.random.normal(jax.random.key(0), (2000, 1, 3)) * 3
    psi = jax.vmap(lambda r: log_psi(jets.seed(r)))(x)
    kinetic = jax.vmap(kinetic_energy)(psi)
    energy = kinetic + jax.vmap(lambda r: potential_energy(charges, nuclei, r))(x)
    np.testing.assert_allclose(energy, -0.5, atol=1e-10)
    assert energy.var() < 1e-20
    slopes = jax.vmap(lambda jet: jet.gradient)(psi).reshape(x.shape)
    pull = jax.vmap(lambda g, r: force_terms(g, charges, nuclei, r).pull)(slopes, x)
    np.testing.assert_allclose(pull, 0, atol=1e-10)  # the force on the nucleus, too


def test_the_ansatz_holds_hydrogen_exactly():
    """The cusp factor times the rounded function of exponent Z is exp(-r)."""
    from huozi.wavefunction.orbitals import Basis, cusped_basis

    hydrogen = Molecule.parse("H 0 0 0")
    basis = Basis(hydrogen.charges, hydrogen.bare)
    points = np.random.default_rng(0).normal(size=(50, 3)) * 2
    r = np.linalg.norm(points, axis=1)
    values = cusped_basis(hydrogen, basis, basis.init(decay=1.0), points)[:, 0]
    np.testing.assert_allclose(values, np.exp(-r), rtol=1e-10)
    values = cusped_basis(hydrogen, basis, basis.init(decay=0.5), points)
    first = len(basis.s_atom)  # of the p functions; their exponent is 1/2
    expected = points * np.exp(-r / 2)[:, None]
    np.testing.assert_allclose(values[:, first : first + 3], expected, rtol=1e-10)


def test_swapping_same_spin_electrons_changes_the_sign(four_electrons):
    molecule, log_psi, sign = four_electrons
    for seed in range(5):
        x = jax.random.normal(jax.random.key(seed), (molecule.electrons, 3))
        for swapped in ((0, 1), (2, 3)):
            order = np.arange(4)
            order[list(swapped)] = swapped[::-1]
            assert sign(x[order]) == -sign(x)
            assert abs(log_psi(x[order]) - log_psi(x)) < 1e-12


def slope(log_psi, place, at, electron, r=1e-3):
    """Logarithmic slope of the spherical average of |psi| where `electron` comes to `at`.

    Differences over r and r / 2, extrapolated to r = 0, so that r^2 is left of their error; the
    average over opposite directions and rotations by the points of a cube is exact to r^4.
    """
    corners = np.array(np.meshgrid(*[[-1.0, 1.0]] * 3)).reshape(3, -1).T / np.sqrt(3)
    faces = np.concatenate([np.eye(3), -np.eye(3)])
    directions = np.concatenate([faces, corners])
    weights = np.repeat([1 / 15, 3 / 40], [6, 8])

    def mean(radius):
        points = [place.at[electron].set(at + radius * u) for u in directions]
        return np.exp([float(log_psi(x)) for x in points]) @ weights

    here, half, full = mean(0.0), mean(r / 2), mean(r)
    return (4 * (half - here) - (full - here)) / r / here


@pytest.mark.parametrize("nucleus", [0, 1])
def test_cusp_at_a_nucleus(four_electrons, nucleus):
    molecule, log_psi, _ = four_electrons
    place = jax.random.normal(jax.random.key(3), (4, 3))
    found = slope(log_psi, place, molecule.nuclei[nucleus], electron=2)
    assert found == pytest.approx(-molecule.charges[nucleus], abs=1e-3)


def test_p_functions_have_half_the_slope_of_s_functions():
    from huozi.wavefunction.orbitals import Basis, cusped_basis

    carbon = Molecule.parse("C 0 0 0", spin=2)
    basis = Basis(carbon.charges, carbon.bare)
    u, r = np.array([0.36, 0.48, 0.8]), np.array([1e-5, 2e-5])
    values = cusped_basis(carbon, basis, basis.init(1.0), r[:, None] * u)[:, len(basis.s_atom) :]
    near, far = values / r[:, None]
    np.testing.assert_allclose((far - near) / 1e-5 / near, -3, atol=2e-3)


@pytest.mark.parametrize("z", [1, 4])
def test_networks_see_what_follows_a_cusp(z):
    """Directions times Z kink begin like Z x r, its square like (Z r)^2 - (Z r)^3."""
    r = jnp.asarray(np.array([1e-4, 1e-3]) / z)
    vectors = (r[:, None] * np.array([0.6, 0.0, 0.8]))[:, None]
    at, of = np.array([float(z)]), np.array([1 / z])
    seen = features.electron_features(vectors, r[:, None] ** 2, at, at, of)
    np.testing.assert_allclose(seen[:, 5:8], z * r[:, None] * vectors[:, 0], rtol=2e-3, atol=1e-20)
    cubic = (seen[:, 8] - (z * r) ** 2) / (z * r) ** 3
    np.testing.assert_allclose(cubic, -1, rtol=2e-3)
    smooth = features.electron_features(vectors, r[:, None] ** 2, at, 0 * at, of)
    assert not np.any(smooth[:, 5:])


def test_networks_see_which_electrons_are_near():
    """Of the other spin directions that begin like x r; closeness, and its product with r^2."""
    apart, far = 1e-3 * np.array([0.6, 0.0, 0.8]), np.full(3, 50.0)
    close = [np.exp(1 - np.sqrt(1 + 1e-6)), 1e-6]
    for place, expected in (
        (1, [*np.zeros(3), *close, 0, 0]),  # two spins up, one down
        (2, [*(-1e-3 * apart), 0, 0, *close]),
    ):
        x = np.array([np.zeros(3), far, -far])
        x[place] = apart
        seen = features.near_features(jnp.asarray(x), 2, 1, None, "float64")
        np.testing.assert_allclose(seen[0], expected, rtol=3e-3, atol=1e-15)
        turned = np.array([-1.0] * 3 + [1.0] * 4)
        np.testing.assert_allclose(seen[place], turned * expected, rtol=3e-3, atol=1e-15)


def test_cusp_between_opposite_spins(four_electrons):
    _, log_psi, _ = four_electrons
    place = jax.random.normal(jax.random.key(4), (4, 3))
    assert slope(log_psi, place, np.asarray(place[0]), electron=3) == pytest.approx(0.5, abs=1e-3)


def test_cusp_between_same_spins():
    molecule, wave_function, params = shaken("He triplet")
    nuclei = jnp.asarray(molecule.nuclei)
    log_psi = jax.jit(lambda r: wave_function.log_psi(params, nuclei, r))
    x = jnp.array([[0.3, 0.4, 0.2], [0.3, 0.4, 0.2]])
    u = np.array([0.36, 0.48, 0.8])

    def regular(r):
        """psi / r along u and back, in the middle of the pair: odd terms of the orbitals cancel."""
        apart = jnp.array([[0.5], [-0.5]]) * r * u
        logs = [log_psi(x + s * apart) for s in (1, -1)]
        return float(jnp.exp(jnp.array(logs)).mean()) / r

    r = 1e-4
    assert (regular(2 * r) - regular(r)) / r / regular(r) == pytest.approx(0.25, abs=1e-3)


def configurations(nuclei, count):
    """Four electrons near and far, on nodes, on each other and on nuclei."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 4, 3)) * np.exp(rng.uniform(-6, 4, size=(count, 1, 1)))
    x[:100, 0] = x[:100, 1]  # same spin
    x[100:200, 0] = x[100:200, 2]  # opposite spins
    x[200:300, 1] = nuclei[0]
    x[300:310] = nuclei[0]
    x[310:320] *= 1e6
    return jnp.asarray(x)


@pytest.mark.parametrize(
    ("name", "precision", "kind", "count"),
    [
        ("LiH", "float32", Psiformer, 100_000),
        ("LiH", "float64", Psiformer, 20_000),
        ("LiH", "float32", FermiNet, 6400),
        ("LiH", "float32", LapNet, 6400),
        ("Be triplet", "float32", PairProduct, 6400),  # three electrons up
    ],
)
def test_logarithm_is_finite_everywhere(name, precision, kind, count):
    molecule, wave_function, params = shaken(name, precision, kind)
    nuclei = jnp.asarray(molecule.nuclei)
    log = jax.jit(jax.vmap(lambda r: wave_function.log_psi(params, nuclei, r)))
    x = configurations(nuclei, count)
    assert all(jnp.isfinite(log(part)).all() for part in jnp.split(x, 20))


@pytest.mark.parametrize(("name", "kind"), [("LiH", Psiformer), ("Be triplet", PairProduct)])
def test_local_energy_is_finite_everywhere(name, kind):
    molecule, wave_function, params = shaken(name, "float32", kind)
    problem = Problem(molecule, wave_function)
    assert jnp.isfinite(problem.energies(params, configurations(molecule.nuclei, 6400))).all()


def test_float32_is_close_to_float64():
    molecule, double, params = shaken("LiH")
    single = shaken("LiH", "float32")[1]
    nuclei = jnp.asarray(molecule.nuclei)
    x = jax.random.normal(jax.random.key(0), (100, 4, 3))
    a, b = (
        jax.jit(jax.vmap(lambda r, w=w: w.log_psi(params, nuclei, r)))(x) for w in (double, single)
    )
    np.testing.assert_allclose(a, b, atol=1e-4)
