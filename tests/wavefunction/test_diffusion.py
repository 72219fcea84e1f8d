"""Diffusion Monte Carlo finds energies that are known, from wave functions that are wrong."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import chi2

from huozi.arrays import jax, jnp
from huozi.wavefunction import AnsatzConfig, Molecule, TrainConfig, build, diffuse, jets
from huozi.wavefunction import diffusion as module
from huozi.wavefunction.excited import States
from huozi.wavefunction.optimize import Problem
from tests.cli.test_main import run as command

HYDROGEN = Molecule.parse("H 0 0 0")
WIDTH = jnp.array(1.0)


@dataclass(frozen=True)
class Distorted:
    """exp(-r/n - b r^2) of hydrogen, times z^(n-1): 1s or 2p for b = 0, else wrong far away."""

    n: int = 1
    of_geometry: tuple = ("b",)
    up: int = 1

    def log_psi(self, params, nuclei, x):
        square = jets.linear(lambda v: v[0], jets.squared_length(x))
        r = jets.elementwise(jnp.sqrt, square)
        log = jets.linear(lambda v, s: -v / self.n - params["b"] * s, r, square)
        if self.n == 1:
            return log
        z2 = jets.elementwise(jnp.square, jets.linear(lambda v: v[0, 2], x))
        return jets.add(log, jets.elementwise(lambda v: jnp.log(v) / 2, z2))

    def sign_and_log(self, params, nuclei, x):
        sign = jnp.ones(()) if self.n == 1 else jnp.sign(x[0, 2])
        return sign, self.log_psi(params, nuclei, x)


def distorted(n, b, walkers=256, **options):
    """Diffusion of hydrogen's walkers."""
    x = jax.random.normal(jax.random.key(99), (walkers, 1, 3)) * n
    return diffuse(Problem(HYDROGEN, Distorted(n)), {"b": jnp.array(b)}, x, WIDTH, **options)


@pytest.mark.parametrize("n", [1, 2])
def test_an_eigenfunction_keeps_its_energy(n):
    found = distorted(n, 0.0, seed=0, steps=50)
    exact = -0.5 / n**2
    np.testing.assert_allclose([found.energy_Ha, found.start_Ha], exact, rtol=1e-12)
    assert found.stderr_Ha < 1e-12
    assert found.variance_Ha2 < 1e-20


def energy_of_distorted(n, b):
    """Integral of |psi|^2 E_L over that of |psi|^2, by quadrature."""
    r, step = np.linspace(0, 60, 60_001, retstep=True)
    square = r ** (2 * n) * np.exp(-2 * r / n - 2 * b * r**2)
    local = (2 * n + 1) * b - 0.5 / n**2 - 2 * b * r / n - 2 * b**2 * r**2
    return (square * local).sum() / square.sum()


@pytest.mark.parametrize(("n", "b"), [(1, 0.1), (2, 0.02)])
def test_the_energy_is_exact_where_the_nodes_are(n, b):
    """The plane z = 0 is the node of 2p: the lowest state without it would be 1s, far below."""
    found = distorted(n, b, 512, seed=0, steps=1500, time_step=0.05 * n**2)
    exact, before = -0.5 / n**2, energy_of_distorted(n, b)
    assert found.energy_Ha == pytest.approx(exact, abs=4 * found.stderr_Ha)
    assert found.start_Ha == pytest.approx(before, abs=4 * found.start_stderr_Ha)
    assert found.energy_Ha < before - 5 * found.stderr_Ha


def test_few_walkers_find_the_same_in_short_runs(monkeypatch):
    """Groups of eight would be 0.013 Ha too high without weights over time, and in runs as short as
    these also with them if each group were averaged by itself."""
    monkeypatch.setattr(module, "LEAST_GROUP", 8)
    found = [distorted(1, 0.1, 128, seed=k, steps=400, time_step=0.05) for k in range(20)]
    energies = np.array([f.energy_Ha for f in found])
    error = energies.std(ddof=1) / np.sqrt(len(found))
    assert error < 0.013 / 4
    assert energies.mean() == pytest.approx(-0.5, abs=3 * error)


def test_error_bars_agree_with_the_spread_of_runs():
    """Student's t of 15 degrees of freedom each, though a run is a few correlation times long."""
    found = [distorted(1, 0.05, 512, seed=k, steps=200, time_step=0.1) for k in range(12)]
    energies, errors = (
        np.array([getattr(f, n) for f in found]) for n in ("energy_Ha", "stderr_Ha")
    )
    square = np.square((energies - energies.mean()) / errors).sum()
    low, high = chi2.ppf([1e-3, 1 - 1e-3], len(found) - 1)
    assert low < square * 13 / 15 < high


def test_weights_over_time_take_the_bias_of_few_walkers_away():
    """Of Gaussian energies e with weights exp(-tau e) of the last M steps the mean falls by the sum
    of tau times their covariance with the last one."""
    rng = np.random.default_rng(0)
    tau, memory, phi, times = 0.1, round(module.MEMORY / 0.1), 0.9, 20_000
    noise = rng.normal(size=(times, 16)) * 0.05 * np.sqrt(1 - phi**2)
    energies = lfilter([1], [1, -phi], noise, axis=0)
    rows = [module.Row(e, e**2, -tau * (e + 3), tau, 1.0, 0) for e in energies]
    found = module._projection(rows, tau, (0.0, 0.0), 128, 1.0, 0)
    shift = tau * 0.05**2 * (1 - phi**memory) / (1 - phi)
    assert found.energy_Ha == pytest.approx(-shift, abs=4 * found.stderr_Ha)
    assert found.stderr_Ha < shift / 4
    assert found.stderr_Ha == pytest.approx(0.05 * np.sqrt(19 / (16 * times)), rel=0.6)
    assert abs(found.drift_Ha) < 4 * found.drift_stderr_Ha
    # One step of one group with an energy out of all bounds is no reason for numbers that are none.
    rows[19_000].energy[3] = 1e7
    assert np.isfinite(module._projection(rows, tau, (0.0, 0.0), 128, 1.0, 0).energy_Ha)


def test_the_time_step_is_the_one_that_refuses_a_hundredth():
    found = distorted(1, 0.1, 512, seed=3, steps=300)
    assert 0.985 < found.acceptance < 0.995


def test_the_same_seed_is_the_same_run():
    one, two = (distorted(1, 0.1, seed=5, steps=60) for _ in range(2))
    assert one.energy_Ha == two.energy_Ha
    assert distorted(1, 0.1, seed=6, steps=60).energy_Ha != one.energy_Ha


def test_a_step_near_a_node_is_the_way_of_its_drift():
    """From z on dz/dt = 1/z leads to sqrt(z^2 + 2 t), away from a distant nucleus."""
    tau, charges, nuclei = 0.04, jnp.array([1.0]), jnp.array([[0.0, 0.0, -1e4]])
    for z in (1e-3, 0.1, 1.0):
        x, slope = jnp.zeros((1, 1, 3)), jnp.array([[[0.0, 0.0, 1 / z]]])
        moved = module._drift(charges, nuclei, tau, x, slope)
        # Where the slope is directed outwards far from nuclei the limit is 1 + 1/10 as strong.
        assert float(moved[0, 0, 2]) == pytest.approx(np.sqrt(z**2 + 2 * tau) - z, rel=0.06)
    gentle = module._drift(charges, nuclei, tau, x, 0 * slope + 1e-3)
    np.testing.assert_allclose(gentle, tau * 1e-3, rtol=1e-4)


def test_walkers_are_drawn_as_often_as_they_weigh():
    rng = np.random.default_rng(0)
    weight = rng.exponential(size=(3, 100))
    weight[0, :3] = 0.0, 30.0, 0.0
    weight[1] = rng.uniform(0.9, 1, 100)
    number = jnp.arange(300.0)
    walkers = module.Walkers(number[:, None, None], *6 * [number])
    drawn = module._drawn_anew(walkers, jnp.asarray(weight), jax.random.key(1))
    counts = np.bincount(np.asarray(drawn.energy, int), minlength=300).reshape(3, 100)
    wanted = 100 * weight / weight.sum(1, keepdims=True)
    assert np.abs(counts - wanted)[::2].max() < 1
    np.testing.assert_array_equal(drawn.x[:, 0, 0], drawn.energy)
    np.testing.assert_array_equal(counts[1], 1)  # even enough
    np.testing.assert_array_equal(drawn.weight.reshape(3, 100)[::2], 1.0)
    np.testing.assert_array_equal(drawn.weight[100:200], weight[1])


@pytest.mark.parametrize(
    ("given", "devices", "made"), [(1024, 1, 1024), (512, 3, 528), (100, 1, 512), (521, 2, 528)]
)
def test_walkers_make_groups(given, devices, made):
    x = jnp.arange(given)
    found = module._in_groups(x, devices)
    assert len(found) == made
    np.testing.assert_array_equal(found[:given], x)
    assert set(np.asarray(found)) == set(range(given))


NUMBERS = (np.array([1.0]), np.zeros((1, 3)), 0.01, -0.5)


def some_walkers(params):
    """512 walkers 1.7 bohr from the nucleus, and the keys of a step."""
    x = jnp.ones((512, 1, 3))
    walkers = module._look(Problem(HYDROGEN, Distorted()), params, x)
    return walkers, jax.random.split(jax.random.key(0))


def test_moves_to_where_there_is_no_energy_are_refused_and_counted():
    @dataclass(frozen=True)
    class Blind(Distorted):
        def log_psi(self, params, nuclei, x):
            found = super().log_psi(params, nuclei, x)
            return jets.linear(lambda v: v * jnp.nan, found) if isinstance(x, jets.Jet) else found

    params = {"b": jnp.array(0.1)}
    with pytest.raises(ValueError, match="not finite"):
        diffuse(Problem(HYDROGEN, Blind()), params, jnp.ones((512, 1, 3)), WIDTH, steps=50)
    before, keys = some_walkers(params)
    moved = before.x + 0.01
    after = before._replace(x=moved, energy=before.energy.at[:5].set(jnp.nan))
    kept, row = module._settle(NUMBERS, before, after, *keys)
    assert row.lost == 5
    assert np.isfinite(kept.energy).all()
    refused = (kept.x == before.x).all((1, 2))
    assert refused[:5].all()
    np.testing.assert_array_equal(kept.age, refused)


def test_nodes_are_not_crossed():
    before, keys = some_walkers({"b": jnp.array(0.0)})
    after = before._replace(x=before.x + 0.01, sign=before.sign.at[::2].set(-1.0))
    kept, row = module._settle(NUMBERS, before, after, *keys)
    refused = np.asarray((kept.x == before.x).all((1, 2)))
    assert refused[::2].all()
    assert refused[1::2].mean() < 0.1
    assert row.acceptance == pytest.approx(0.5, abs=0.05)


def test_weights_grow_by_energies_no_further_than_the_cut():
    before, keys = some_walkers({"b": jnp.array(0.0)})
    high = before._replace(x=before.x + 0.01, energy=before.energy.at[:256].set(1e6))
    kept, row = module._settle(NUMBERS, before, high, *keys)
    moved = np.asarray((kept.x != before.x).any((1, 2)))
    assert moved.mean() > 0.9
    assert 0.009 < row.effective < 0.01 * (1 + 1e-12)
    cut = module.CUT / np.sqrt(0.01)
    least = np.exp(-row.effective * cut / 2)  # from -1/2, which is the trial energy, to the cut
    wanted = np.where(moved & (np.arange(512) < 256), least, 1.0)
    np.testing.assert_allclose(kept.weight, wanted, rtol=1e-9)
    np.testing.assert_allclose(
        row.growth, np.log(wanted.reshape(16, 32).mean(1)) + row.effective / 2, atol=1e-12
    )


def test_whoever_is_refused_again_and_again_moves_in_the_end():
    before, keys = some_walkers({"b": jnp.array(0.0)})
    after = before._replace(x=before.x + 0.01, log=before.log - 10)
    old = before._replace(age=jnp.where(jnp.arange(512) < 256, 0.0, 50 + 20 / np.log(1.1)))
    kept, _ = module._settle(NUMBERS, old, after, *keys)
    moved = (kept.x != before.x).any((1, 2))
    assert not moved[:256].any()
    assert moved[256:].all()
    np.testing.assert_array_equal(kept.age[256:], 0.0)


def test_long_steps_keep_the_distribution_of_an_eigenfunction():
    """1s with steps of which a tenth are refused: acceptance alone holds <r> at 3/2, <1/r> at 1."""
    problem, params = Problem(HYDROGEN, Distorted()), {"b": jnp.array(0.0)}
    x = 0.8 * jax.random.normal(jax.random.key(7), (4096, 1, 3))
    walkers, tau, refused = module._look(problem, params, x), 0.4, 0.0
    keys = jax.random.split(jax.random.key(8), (60, 3))
    charges, nuclei = NUMBERS[:2]
    for each in keys:
        x = module._propose(charges, nuclei, tau, walkers.x, walkers.slope, each[0])
        fresh = module._look(problem, params, x)
        walkers, row = module._settle((charges, nuclei, tau, -0.5), walkers, fresh, *each[1:])
        refused += (1 - float(row.acceptance)) / len(keys)
    assert refused > 0.05
    r = np.linalg.norm(walkers.x[:, 0], axis=-1)
    for values, exact, spread in ((r, 1.5, np.sqrt(0.75)), (1 / r, 1.0, 1.0)):
        assert values.mean() == pytest.approx(exact, abs=4 * spread / np.sqrt(len(r)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "either a budget in seconds or a number of steps"),
        ({"budget": 1.0, "steps": 3}, "either a budget in seconds or a number of steps"),
        ({"steps": 39}, "40 steps or more; found 39"),
        ({"budget": 0.0}, "takes time; found a budget of 0.0 s"),
        ({"budget": np.nan}, "takes time"),
        ({"steps": 50, "time_step": -0.1}, "must be positive; found -0.1"),
        ({"steps": 50, "time_step": np.nan}, "must be positive"),
    ],
)
def test_what_cannot_be_run_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        distorted(1, 0.0, **options)


def test_several_states_are_refused():
    problem = Problem(HYDROGEN, States(Distorted(), 2))
    with pytest.raises(ValueError, match="of several"):
        diffuse(problem, {"b": jnp.zeros(2)}, jnp.ones((4, 2, 3)), WIDTH, steps=50)


def test_helium_on_the_command_line(tmp_path, monkeypatch, capsys):
    """Two electrons have no node: from a poor network comes the exact energy, to the time step."""
    pytest.importorskip("pyscf")
    tiny = AnsatzConfig(width=8, layers=1, heads=2, determinants=2, pair_width=8)
    config = TrainConfig(ansatz=tiny, steps=15, walkers=256, chunk=128)
    build(Molecule.parse("He 0 0 0"), tiny).train(tmp_path / "he", config=config)
    verb = ("wavefunction", "diffuse", tmp_path / "he")
    options = ("--steps", 400, "--time-step", 0.02, "--seed", 1, "--json")
    code, text, _ = command(monkeypatch, capsys, *verb, *options)
    assert code == 0
    found = json.loads(text)
    assert found == json.loads((tmp_path / "he" / "diffusion.json").read_text())
    assert found["stderr_Ha"] < 3e-3
    assert found["energy_Ha"] == pytest.approx(-2.903724, abs=4 * found["stderr_Ha"])
    assert found["energy_Ha"] < -2.8617 - 5 * found["stderr_Ha"]  # Hartree-Fock
    assert found["samples"] == 512 * round(400 * (1 - found["discarded"]))
    assert found["imaginary_time"] == pytest.approx(found["samples"] / 512 * 0.02, rel=0.05)
    code, words, _ = command(monkeypatch, capsys, *verb, "--steps", 50)
    assert code == 0
    assert "in steps of" in words
    code, _, error = command(monkeypatch, capsys, *verb, "--steps", 50, "--budget", "1min")
    assert code != 0
    assert "contradict" in error
