"""Density, heat capacity, energy drift and the comparison of curves."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from scipy.signal import lfilter

from huozi.dynamics.observables import compare_curves, density, energy_drift, heat_capacity
from huozi.units import GPA, KB


def test_density_of_water():
    edge = (18.015 / 6.02214076e23 / 1e-24) ** (1 / 3)
    average = density([molecule("H2O", cell=[edge] * 3, pbc=True)] * 5)
    assert average.mean == pytest.approx(1.0, rel=1e-4)
    assert average.error == 0
    with pytest.raises(ValueError, match="frame 0 needs a cell"):
        density([Atoms("He")] * 5)


def oscillator_energies(rng, length, oscillators, temperature):
    """Total energies of classical oscillators in the canonical ensemble: Gamma(n) kT."""
    return rng.gamma(oscillators, KB * temperature, length)


def test_classical_oscillators_have_kb_each():
    rng = np.random.default_rng(0)
    pulls = []
    for _ in range(30):
        result = heat_capacity(oscillator_energies(rng, 1000, 30, 300.0), 300.0)
        pulls.append((result.value / KB - 30) / (result.error / KB))
    assert 0.6 < np.sqrt(np.mean(np.square(pulls))) < 1.5


def test_correlated_energies_are_corrected_for_the_short_run():
    rng = np.random.default_rng(3)
    phi, temperature = 0.95, 250.0
    spread = np.sqrt(50 * KB**2 * temperature**2)
    values = []
    for _ in range(200):
        noise = rng.normal(0, spread * np.sqrt(1 - phi**2), 2000)
        series = lfilter([1.0], [1.0, -phi], noise)[1000:]
        values.append(heat_capacity(series, temperature).value / KB)
    assert np.mean(values) == pytest.approx(50, rel=0.06)


def test_constant_pressure_adds_the_work():
    rng = np.random.default_rng(1)
    volume = rng.normal(1000, 10, 5000)
    energy = np.full(5000, -3.0)
    result = heat_capacity(energy, 300.0, volume, pressure=0.5)
    exact = (0.5 / GPA * 10) ** 2 / (KB * 300**2)
    assert result.value == pytest.approx(exact, abs=4 * result.error)


def test_drift_and_its_error():
    rng = np.random.default_rng(4)
    time = np.arange(2000) * 5.0
    pulls = []
    for _ in range(40):
        noise = lfilter([1.0], [1.0, -0.9], rng.normal(0, 1e-3, 2000))
        drift = energy_drift(time, 7.0 + 192 * 0.05e-6 * time + noise, 192)
        pulls.append((drift.value - 0.05) / drift.error)
    assert 0.6 < np.sqrt(np.mean(np.square(pulls))) < 1.6


def test_curves_are_compared_with_their_errors():
    x = np.linspace(0, 9.9, 100)
    bump = np.where(np.arange(100) == 40, 0.5, 0.0)
    err = np.full(100, 0.1)
    found = compare_curves(x, 1 + bump, err, np.ones(100), np.zeros(100))
    assert found == pytest.approx((0.5, 0.1, 4.0, 0.05, np.sqrt(2 / np.pi)))
    rng = np.random.default_rng(0)
    noisy = [compare_curves(x, rng.normal(0, err), err, 0 * x, 0 * x) for _ in range(100)]
    assert np.mean([n.integrated / n.noise for n in noisy]) == pytest.approx(1, rel=0.03)


def test_hostile_series_are_refused():
    with pytest.raises(ValueError, match="at least 16 samples"):
        heat_capacity([1.0] * 5, 300)
    with pytest.raises(ValueError, match="temperature must be positive"):
        heat_capacity(np.arange(20.0), 0)
    with pytest.raises(ValueError, match="20 energies but 19 volumes"):
        heat_capacity(np.arange(20.0), 300, np.arange(19.0))
    with pytest.raises(ValueError, match="20 times but 19 energies"):
        energy_drift(np.arange(20.0), np.arange(19.0), 3)
    with pytest.raises(ValueError, match="number of atoms"):
        energy_drift(np.arange(20.0), np.arange(20.0), 0)
    with pytest.raises(ValueError, match="one grid"):
        compare_curves(*(np.zeros(n) for n in (3, 3, 3, 3, 2)))
    with pytest.raises(ValueError, match="not finite"):
        compare_curves(*(np.full(3, v) for v in (0, np.nan, 0, 0, 0)))
