import numpy as np
import pytest
from ase import Atoms

from huozi.dynamics import NVE
from huozi.dynamics.state import thermal_velocities
from huozi.units import AMU_A2_FS2
from tests.dynamics.fields import ARGON, Wells, argon, continue_run, make_state, simulate


def test_harmonic_oscillator_follows_the_exact_discrete_solution():
    """Velocity Verlet of x'' = -w^2 x is a rotation with cos(W dt) = 1 - (w dt)^2 / 2."""
    omega, dt, mass = 0.05, 2.0, 12.0
    atom = Atoms("C", positions=[[0.3, 0.0, -0.1]])
    atom.set_masses([mass])
    field = Wells(mass * omega**2 * AMU_A2_FS2)
    _, (x, _, _), last = simulate(NVE(dt, 3.0), field, atom, 2000, velocities=np.zeros((1, 3)))
    frequency = np.arccos(1 - (omega * dt) ** 2 / 2) / dt
    exact = atom.positions * np.cos(frequency * dt * 2000)
    np.testing.assert_allclose(last.positions, exact, atol=1e-10)
    np.testing.assert_allclose(x[999], atom.positions * np.cos(frequency * 2000), atol=1e-6)


def test_energy_error_is_of_second_order():
    atoms, spread = argon(rattle=0.05), []
    for dt in (8.0, 4.0):
        rows, _, _ = simulate(NVE(dt, 93.0), ARGON, atoms, int(2000 / dt), temperature=60)
        spread.append(rows[:, 3].std())
    assert spread[0] / spread[1] == pytest.approx(4, rel=0.15)


def test_momentum_is_conserved_and_motion_is_reversible():
    atoms = argon(rattle=0.05)
    integrator = NVE(5.0, 93.0)
    start, evaluate, table = make_state(integrator, ARGON, atoms, temperature=60)
    _, _, end = continue_run(integrator, ARGON, atoms, start, evaluate, table, 300)
    momentum = np.asarray(end.masses) @ np.asarray(end.velocities)
    assert np.abs(momentum).max() < 1e-12

    turned = atoms.copy()
    turned.positions = np.asarray(end.positions)
    _, _, back = simulate(integrator, ARGON, turned, 300, velocities=-np.asarray(end.velocities))
    np.testing.assert_allclose(back.positions, atoms.positions, atol=1e-9)


def test_thermal_velocities_are_maxwellian():
    masses = np.full(20000, 18.0)
    velocities = thermal_velocities(masses, 300.0, seed=3)
    kinetic = 0.5 * AMU_A2_FS2 * (masses[:, None] * velocities**2).sum()
    expected = 1.5 * 8.617333e-5 * 300 * 20000
    assert kinetic == pytest.approx(expected, rel=4 * np.sqrt(2 / 60000))
    assert np.abs(masses @ velocities).max() < 1e-10
