"""A uniform electric field, against its own definition and PySCF's dipole moments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from huozi.wavefunction import Molecule
from huozi.wavefunction.observables import ForceTerms, Observables
from huozi.wavefunction.optimize import Problem
from tests.wavefunction.conftest import shaken

FIELD = (0.01, -0.02, 0.05)
STEP = 1e-4
LITHIUM_HYDRIDE = "Li 0 0 0.3; H 0 0 3.315"


def test_local_energies_gain_the_energy_of_the_charges():
    molecule, wave_function, params = shaken("LiH")
    x = np.random.default_rng(0).normal(size=(5, 4, 3))
    without = Problem(molecule, wave_function).energies(params, x)
    within = Problem(replace(molecule, field=FIELD), wave_function).energies(params, x)
    charges = np.array([3, 1, -1, -1, -1, -1])
    for i in range(5):
        places = np.concatenate([molecule.nuclei, x[i]])
        assert within[i] - without[i] == pytest.approx(-charges @ places @ FIELD, abs=1e-10)


@pytest.mark.parametrize(("charge", "spin"), [(0, 0), (1, 1)])
def test_hartree_fock_falls_by_the_dipole_moment(charge, spin):
    """The slope of the energy by the field is minus the dipole moment, nuclei included."""
    pytest.importorskip("pyscf")
    from huozi.wavefunction.mean_field import solve_mean_field

    def solve(strength):
        return solve_mean_field(
            Molecule.parse(LITHIUM_HYDRIDE, charge=charge, spin=spin, field=(0, 0, strength)),
            "cc-pvdz",
        )

    slope = (solve(STEP).energy - solve(-STEP).energy) / (2 * STEP)
    free = solve(0.0)
    dipole = free.solver.dip_moment(unit="AU", origin=(0, 0, 0), verbose=0)[2]
    assert slope == pytest.approx(-dipole, abs=1e-5)


@pytest.mark.parametrize("field", [(0.0, 0.1), (0.0, 0.0, np.nan)])
def test_what_is_no_field(field):
    with pytest.raises(ValueError, match="three finite components"):
        Molecule.parse("H 0 0 0", field=field)


def test_geometries_share_the_field():
    from huozi.wavefunction import VMC, Psiformer

    apart = [Molecule.parse("H 0 0 0; H 0 0 1.4", field=(0, 0, f)) for f in (0.0, 0.01)]
    with pytest.raises(ValueError, match="same field"):
        VMC(apart, Psiformer.for_molecule(apart[0])).problems()


def test_nuclei_feel_the_field_as_charges():
    """Without electrons: the repulsion, and Z F on each; the dipole moment is sum Z R."""
    molecule = Molecule.parse(LITHIUM_HYDRIDE)
    charges, nuclei = np.array(molecule.charges, float), molecule.nuclei
    sums = Observables(charges, nuclei, np.array(FIELD))
    nothing = np.zeros((4, 2, 3))
    sums.add(np.zeros(4), ForceTerms(nothing, nothing, nothing), np.zeros((4, 0, 3)))
    fine = np.ones(4, bool)
    repulsion = np.array([[0, 0, -3 / 3.015**2], [0, 0, 3 / 3.015**2]])
    exact = repulsion + charges[:, None] * np.array(FIELD)
    np.testing.assert_allclose(sums.forces(fine)[0], exact, atol=1e-12)
    np.testing.assert_allclose(sums.dipole(fine)[0], [0, 0, 3 * 0.3 + 3.315], atol=1e-12)
