"""Volumes and shapes with exact distributions.

N free atoms in a cell h have the weight V^N exp(-(U(h) + p V) / kB T), uniform in V and in the
shape, that is V^(N-2) exp(...) dh for the nine numbers in h.
"""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from scipy import stats

from huozi.arrays import jax, jnp
from huozi.dynamics import CellRescaling
from huozi.dynamics.state import thermal_velocities
from huozi.units import KB
from tests.dynamics.fields import ARGON, CellSpring, argon, continue_run, make_state, simulate

N, T = 12, 300.0
THERMAL = KB * T


def gas(edge):
    positions = np.random.default_rng(0).uniform(0, edge, (N, 3))
    return Atoms(f"Ar{N}", positions=positions, cell=[edge] * 3, pbc=True)


def barostat(pressure, compressibility, isotropic=True, dof=3.0 * N - 3, dt=2.0, tau=50.0):
    return CellRescaling(
        timestep=dt,
        dof=dof,
        temperature=T,
        time_constant=20.0,
        pressure=pressure,
        cell_time_constant=tau,
        compressibility=compressibility,
        key=jax.random.key(5),
        isotropic=isotropic,
    )


@pytest.mark.parametrize("dof", [3.0 * N - 3, 3.0 * N])
def test_volume_of_an_ideal_gas_has_the_exact_distribution(dof):
    """P(V) ~ V^N exp(-p V / kB T): a gamma distribution, <V> = (N + 1) kB T / p."""
    pressure = 0.001
    integrator = barostat(pressure, 1 / pressure, dof=dof)
    edge = (N * THERMAL / pressure) ** (1 / 3)
    velocities = None if dof < 3 * N else np.random.default_rng(1).normal(size=(N, 3)) * 0.002
    rows, _, _ = simulate(
        integrator, CellSpring(), gas(edge), 30_000, every=75, velocities=velocities
    )
    volumes = rows[5:, 6] * pressure / THERMAL
    assert volumes.mean() == pytest.approx(N + 1, abs=4 * np.sqrt((N + 1) / len(volumes)))
    assert stats.kstest(volumes, stats.gamma(N + 1).cdf).pvalue > 0.01


def test_full_cell_has_the_exact_distribution_of_shapes():
    """With U = k tr(h^T h) / 2 the matrix h^T h k / kB T is Wishart with N + 1 degrees."""
    stiffness = 0.01
    edge = np.sqrt((N + 1) * THERMAL / stiffness)
    compressibility = edge**3 / (N * THERMAL)
    integrator = barostat(0.0, compressibility, isotropic=False)
    atoms, field = gas(edge), CellSpring(stiffness)
    state, evaluate, table = make_state(integrator, field, atoms)
    cells = []
    for seed in range(400):  # free atoms never collide: new velocities take the place of that
        velocities = thermal_velocities(atoms.get_masses(), T, seed)
        state = replace(state, velocities=jnp.asarray(velocities))
        *_, state = continue_run(integrator, field, atoms, state, evaluate, table, 75, every=75)
        cells.append(np.asarray(state.cell))
    shapes = np.swapaxes(cells, 1, 2) @ cells * stiffness / THERMAL
    shapes = shapes[5:]
    exact = stats.wishart(N + 1, np.eye(3))
    scale = np.sqrt(len(shapes))
    trace = np.trace(shapes, axis1=1, axis2=2)
    assert stats.kstest(trace, stats.chi2(3 * (N + 1)).cdf).pvalue > 0.01
    diagonal = np.diagonal(shapes, axis1=1, axis2=2)
    np.testing.assert_allclose(diagonal.mean(axis=0), N + 1, atol=4 * np.sqrt(2 * (N + 1)) / scale)
    off = shapes[:, [0, 0, 1], [1, 2, 2]]
    np.testing.assert_allclose(off.mean(axis=0), 0, atol=4 * np.sqrt(N + 1) / scale)
    np.testing.assert_allclose(off.var(axis=0), N + 1, rtol=0.3)
    volumes = np.sqrt(np.linalg.det(shapes))
    sample = np.sqrt(np.linalg.det(exact.rvs(20000, random_state=0)))
    assert stats.ks_2samp(volumes, sample).pvalue > 0.01


def test_conserved_energy_of_an_interacting_crystal():
    spread = []
    for dt in (8.0, 4.0):
        integrator = CellRescaling(
            dt, 93.0, 60.0, 100.0, 0.0, 500.0, 80.0, jax.random.key(1), isotropic=False
        )
        atoms = argon(rattle=0.05)
        rows, _, _ = simulate(integrator, ARGON, atoms, int(2000 / dt), temperature=60)
        spread.append(np.ptp(rows[:, 3]))
    assert spread[1] < spread[0] / 2
    assert spread[1] < 0.02 * np.ptp(rows[:, 1] + rows[:, 2])
    assert np.ptp(rows[:, 6]) > 50
