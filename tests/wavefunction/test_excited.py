"""Several states at once: exact eigenfunctions, the sum rule of the trace, and helium's triplet."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest

from huozi.arrays import jax, jnp
from huozi.wavefunction import (
    AnsatzConfig,
    Molecule,
    Problem,
    States,
    StatesEstimate,
    TrainConfig,
    build,
    jets,
    judge,
)
from huozi.wavefunction.determinants import excitations
from huozi.wavefunction.excited import spectrum, spin_matrices
from huozi.wavefunction.hamiltonian import potential_energy
from tests.cli.test_main import run as command

HYDROGEN = Molecule.parse("H 0 0 0")
TINY = AnsatzConfig(width=8, layers=1, heads=2, determinants=2, pair_width=8, states=2)


@dataclass(frozen=True)
class Hydrogenic:
    """Mixtures of the functions 1s, 2s and 2p_z of hydrogen."""

    of_geometry: tuple = ("mixture",)
    up: int = 1

    def psi(self, params, x):
        square = jets.linear(lambda v: v.sum(-1), jets.elementwise(jnp.square, x))
        r = jets.linear(lambda v: v[0], jets.elementwise(jnp.sqrt, square))
        z = jets.linear(lambda v: v[0, 2], x)
        half = jets.elementwise(lambda v: jnp.exp(-v / 2), r)
        functions = (
            jets.multiply(half, half),
            jets.multiply(jets.linear(lambda v: -v / 2, jets.shift(r, -2.0)), half),
            jets.multiply(z, half),
        )
        return jets.linear(lambda *f: sum(map(jnp.multiply, params["mixture"], f)), *functions)

    def log_psi(self, params, nuclei, x):
        found = self.psi(params, x)
        if not isinstance(found, jets.Jet):
            return jnp.log(jnp.abs(found))
        sign = jnp.sign(found.value)
        return jets.elementwise(jnp.log, jets.linear(lambda v: sign * v, found))

    def sign_and_log(self, params, nuclei, x):
        return jnp.sign(self.psi(params, x)), self.log_psi(params, nuclei, x)


def test_mixtures_of_eigenfunctions_are_taken_apart():
    """Without any variance; strengths (Bethe & Salpeter: 0.4162 for 1s-2p, a third of it along z)
    come from places, which are sampled."""
    mixture = jnp.array([[1.0, 0.4, -0.2], [0.3, 1.0, 0.5], [-0.2, 0.3, 0.7]])
    problem = Problem(HYDROGEN, States(Hydrogenic(), 3))
    params = {"mixture": mixture}
    x = jax.random.normal(jax.random.key(0), (1000, 3, 3))
    x, _, _ = problem.sweep(params, x, jax.random.key(1), jnp.array(1.0), 100)
    place = np.zeros((1000, 3, 3, 3))
    for k in range(40):
        x, _, _ = problem.sweep(params, x, jax.random.key(2 + k), jnp.array(1.0), 10)
        local, found = problem.measure(params, x)
        np.testing.assert_allclose(local, -0.75, atol=1e-6)
        place += np.asarray(found.place) / 40
    spin = np.asarray(spin_matrices(problem.wave_function, params, HYDROGEN.nuclei, x))
    energy = np.asarray(found.energy)
    states = spectrum(energy, place, spin)
    np.testing.assert_allclose(states.energy_Ha, [-0.5, -0.125, -0.125], atol=1e-8)
    np.testing.assert_allclose(states.spin_squared, 0.75, atol=1e-8)
    # The two states at -0.125 mix at will; together they have the strength of 2p_z.
    each = np.array_split(np.arange(1000), 10)
    found = [spectrum(energy[part], place[part], spin[part]).oscillator_strength for part in each]
    strengths = np.sum(found, 1)
    error = strengths.std(ddof=1) / np.sqrt(len(each))
    assert error < 0.01
    assert strengths.mean() == pytest.approx(0.4162 / 3, abs=4 * error)


@dataclass(frozen=True)
class Gaussian:
    """Two correlated electrons: exp(-a (r_1^2 + r_2^2) + b z_1 z_2)."""

    of_geometry: tuple = ("a", "b")
    up: int = 1

    def log_psi(self, params, nuclei, x):
        square = jets.linear(lambda v: v.sum(-1), jets.elementwise(jnp.square, x))
        z = jets.spread_electrons(jets.linear(lambda v: v[:, 2], x))
        product = jets.multiply(*(jets.linear(lambda v, i=i: v[i], z) for i in range(2)))
        return jets.linear(
            lambda s, p: params["b"] * p - params["a"] * s, jets.sum_electrons(square), product
        )

    def sign_and_log(self, params, nuclei, x):
        return jnp.ones(()), self.log_psi(params, nuclei, x)


def test_the_local_energy_is_that_of_all_copies():
    """The trace of E, against the Hessian of log|Psi| by all coordinates."""
    molecule, states = Molecule.parse("H 0 0 0; H 0 0 1.4"), States(Gaussian(), 2)
    params = {"a": jnp.array([0.5, 0.3]), "b": jnp.array([0.1, -0.2])}
    rng = np.random.default_rng(2)
    x = jnp.asarray(rng.normal(size=(3, 4, 3)))
    nuclei, charges = jnp.asarray(molecule.nuclei), jnp.asarray(molecule.charges)

    def log(flat):
        return states.log_psi(params, nuclei, flat.reshape(4, 3))

    @jax.jit
    def energy(r):
        flat = r.ravel()
        kinetic = -0.5 * (jnp.trace(jax.hessian(log)(flat)) + jnp.square(jax.grad(log)(flat)).sum())
        return kinetic + sum(potential_energy(charges, nuclei, copy) for copy in (r[:2], r[2:]))

    wanted = [float(energy(r)) + 2 * molecule.nuclear_repulsion for r in x]
    found = Problem(molecule, states).energies(params, x)
    np.testing.assert_allclose(found, wanted, rtol=1e-9)

    sign, log_of_x = states.sign_and_log(params, nuclei, x[0])
    other, log_of_swapped = states.sign_and_log(params, nuclei, x[0][jnp.array([2, 3, 0, 1])])
    assert other == -sign
    assert log_of_swapped == pytest.approx(float(log_of_x), abs=1e-12)


def test_excitations_by_energy_and_their_partners_of_the_other_spin():
    levels = np.array([-2.0, -1.0, 0.1, 0.5])
    sets = excitations(2, 2, levels, 4, 2)
    assert [up.tolist() for up, _ in sets[1:]] == [
        [[0, 2], [0, 1]],
        [[0, 1], [0, 2]],
        [[0, 3], [0, 1]],
    ]
    assert [down.tolist() for _, down in sets[1:]] == [
        [[0, 1], [0, 2]],
        [[0, 2], [0, 1]],
        [[0, 1], [0, 3]],
    ]
    with pytest.raises(ValueError, match="3 states are asked for; the starting orbitals allow 2"):
        excitations(1, 0, levels[:2], 3, 2)


def test_helium_and_its_triplet(tmp_path, monkeypatch, capsys):
    pytest.importorskip("pyscf")
    config = TrainConfig(ansatz=TINY, steps=80, walkers=128, chunk=64)
    run = build(Molecule.parse("He 0 0 0"), TINY).train(tmp_path / "he", config=config)
    with pytest.raises(ValueError, match="evaluate_states"):
        run.evaluate(steps=2)
    code, out, _ = command(
        monkeypatch, capsys,
        "wavefunction", "evaluate", tmp_path / "he", "--steps", 40, "--seed", 1, "--json",
    )  # fmt: skip
    assert code == 0
    found = json.loads(out)
    states = found["states"]
    energy, error = np.array(states["energy_Ha"]), np.array(states["energy_stderr"])
    exact = np.array([-2.903724, -2.175229])  # Pekeris (1959)
    assert (energy > exact - 4 * error).all()
    assert energy[0] < -2.8617  # the limit of Hartree-Fock
    assert states["excitation_Ha"][1] == pytest.approx(energy[1] - energy[0])
    assert abs(states["spin_squared"][0]) < 0.05
    assert found["energy_Ha"] == pytest.approx(energy.sum(), abs=1e-9)
    code, out, _ = command(
        monkeypatch, capsys, "wavefunction", "evaluate", tmp_path / "he", "--steps", 2
    )
    assert code == 0
    assert len([line for line in out.splitlines() if line.startswith(("1 ", "2 "))]) == 2
    code, _, err = command(
        monkeypatch, capsys, "wavefunction", "evaluate", tmp_path / "he", "--forces"
    )
    assert code == 2
    assert "several states" in err


def test_pair_products_have_no_states():
    with pytest.raises(ValueError, match="determinants"):
        AnsatzConfig(kind="pairproduct", states=2)


@pytest.mark.parametrize(
    ("unpaired", "spin", "mixed"),
    [(0, 2.0, False), (0, 0.75, True), (1, 0.75, False), (1, 2.0, True), (0, 1.2, True)],
)
def test_the_verdict_names_mixtures_of_spins(unpaired, spin, mixed):
    states = {
        "energy_Ha": [-2.9, -2.1],
        "energy_stderr": [1e-4, 1e-4],
        "spin_squared": [unpaired * 0.75, spin],
        "spin_squared_stderr": [1e-3, 1e-2],
    }
    estimate = StatesEstimate(-5.0, 1e-4, 1e-3, 1.0, 0.5, 1.0, 100, 0, 0, states)
    steps = [{"energy_Ha": -5.0, "variance": 0.01}] * 60
    verdict, _ = judge(estimate, steps, {"HF": -2.86}, unpaired)
    assert ("state 2 is of no pure spin" in verdict) == mixed
    assert verdict.startswith("not converged" if mixed else "converged")
