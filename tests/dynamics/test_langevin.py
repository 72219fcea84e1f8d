import numpy as np
import pytest
from ase import Atoms

from huozi.arrays import jax
from huozi.dynamics import Langevin
from huozi.units import AMU_A2_FS2, KB
from tests.dynamics.fields import Wells, simulate

MASS, OMEGA, DT, T, N = 12.0, 0.5, 3.0, 300.0, 300
STIFFNESS = MASS * OMEGA**2 * AMU_A2_FS2


@pytest.fixture(scope="module")
def oscillators():
    """Independent oscillators at w dt = 1.5, close to the stability limit of 2."""
    rng = np.random.default_rng(0)
    spread = np.sqrt(KB * T / STIFFNESS)
    atoms = Atoms(f"C{N}", positions=rng.normal(size=(N, 3)) * spread, cell=[9, 9, 9])
    atoms.set_masses([MASS] * N)
    integrator = Langevin(DT, 3.0 * N, T, 10.0, jax.random.key(4))
    return simulate(integrator, Wells(STIFFNESS), atoms, 3000)


def test_positions_are_exact_at_a_large_time_step(oscillators):
    rows, (positions, _, _), _ = oscillators
    samples = positions[50:].reshape(len(positions) - 50, -1)
    means = (samples**2).mean(axis=0)
    error = means.std() / np.sqrt(means.size)
    assert error < 0.005 * KB * T / STIFFNESS
    assert abs(means.mean() - KB * T / STIFFNESS) < 4 * error


def test_kinetic_energy_is_low_by_the_known_factor(oscillators):
    rows, _, _ = oscillators
    expected = T * (1 - (OMEGA * DT) ** 2 / 4)
    assert rows[50:, 4].mean() == pytest.approx(expected, rel=0.01)


def test_pressure_obeys_the_virial_theorem_at_a_large_time_step(oscillators):
    """<sum x dU/dx> = 3 N kB T balances the kinetic part: a trapped gas has no pressure."""
    rows, _, _ = oscillators
    ideal = N * KB * T / 9.0**3
    assert abs(rows[50:, 5].mean()) < 0.01 * ideal


def test_conserved_energy_does_not_drift_at_a_small_time_step():
    atoms = Atoms("C2", positions=[[0.1, 0, 0], [0, 0.05, 0.1]])
    integrator = Langevin(0.05, 6.0, T, 10.0, jax.random.key(4))
    rows, _, _ = simulate(integrator, Wells(STIFFNESS), atoms, 20000, every=10)
    assert np.ptp(rows[:, 3]) < 0.003 * np.ptp(rows[:, 1] + rows[:, 2])
