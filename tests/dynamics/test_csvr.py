import numpy as np
import pytest
from ase import Atoms
from scipy import stats

from huozi.arrays import jax
from huozi.dynamics import StochasticRescaling
from huozi.units import KB
from tests.dynamics.fields import ARGON, CellSpring, argon, simulate


@pytest.mark.parametrize("atoms", [2, 30])
def test_kinetic_energy_of_free_atoms_has_the_exact_distribution(atoms):
    """K / kB T has a gamma distribution with half as many degrees of freedom."""
    dof, tau, dt = 3.0 * atoms - 3, 20.0, 10.0
    gas = Atoms(f"Ar{atoms}", positions=np.arange(3.0 * atoms).reshape(-1, 3), cell=[99] * 3)
    integrator = StochasticRescaling(dt, dof, 300.0, tau, jax.random.key(2))
    rows, (_, velocities, _), _ = simulate(integrator, CellSpring(), gas, 30000, every=15)
    result = stats.kstest(rows[:, 2] / (KB * 300), stats.gamma(dof / 2).cdf)
    assert result.pvalue > 0.01
    if atoms == 2:  # the sign of the factor is random for few degrees of freedom
        assert abs(np.sign(velocities[:, 0, 0]).mean()) < 0.2


def test_kinetic_energy_relaxes_exponentially():
    atoms, tau, dt = 2000, 100.0, 1.0
    gas = Atoms(f"Ar{atoms}", positions=np.zeros((atoms, 3)), cell=[99] * 3)
    dof = 3.0 * atoms - 3
    integrator = StochasticRescaling(dt, dof, 300.0, tau, jax.random.key(2))
    state_rows, _, _ = simulate(integrator, CellSpring(), gas, 200, temperature=600.0)
    expected = 300 + (state_rows[0, 4] - 300) * np.exp(-(state_rows[:, 0] - 1) * dt / tau)
    np.testing.assert_allclose(state_rows[:, 4], expected, rtol=0.06)


def test_conserved_energy_is_the_energy_less_the_heat():
    spread = []
    for dt in (8.0, 4.0):
        integrator = StochasticRescaling(dt, 93.0, 60.0, 50.0, jax.random.key(1))
        rows, _, _ = simulate(integrator, ARGON, argon(rattle=0.05), int(4000 / dt), temperature=60)
        spread.append(rows[:, 3].std())
        assert np.ptp(rows[:, 1] + rows[:, 2]) > 100 * spread[-1]
    assert spread[0] / spread[1] == pytest.approx(4, rel=0.4)
