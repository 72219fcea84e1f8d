"""Short versions of benchmarks/validate_ensembles.py."""

import pytest
from benchmarks.validate_ensembles import (
    ENSEMBLES,
    check_convergence,
    check_density,
    check_ensemble,
    fluid,
    kolafa_nezbeda_pressure,
)

from huozi.dynamics import MDConfig, make_integrator

SHORT = {"cutoff": 1.6, "skin": 0.8}
"""Any energy will do: of few pairs, quick to add up."""


@pytest.mark.parametrize(
    ("name", "density", "states"),
    [
        ("nvt csvr", 0.75, [(150.0, 0.0), (185.0, 0.0)]),
        ("npt isotropic", 1.0, [(150.0, 0.15), (180.0, 0.22)]),
    ],
)
def test_energies_and_volumes_follow_boltzmann(name, density, states):
    system = fluid((2, 1, 1), density)
    found = check_ensemble(ENSEMBLES[name] | SHORT, states, system, steps=6_000)
    assert max(found["kinetic_energy_deviations"]) < 3.5
    assert max(found["ensemble_deviations"]) < 3.5


def test_energy_error_converges_with_the_time_step():
    assert check_convergence(fluid(2, 0.7), time=1500.0) < 0.6


def test_equation_of_state_equals_its_published_values():
    """Values of the authors' program, which computes in single precision."""
    assert kolafa_nezbeda_pressure(1.3, 0.2) == pytest.approx(0.12147936810578708, rel=1e-5)
    assert kolafa_nezbeda_pressure(1.3, 0.4) == pytest.approx(0.11253334756806482, rel=1e-5)


def test_density_obeys_the_equation_of_state():
    found = check_density(repeat=3, cutoff=2.5, steps=2000, timestep=10.0)
    assert found["error"] < 0.0125
    assert found["density"] == pytest.approx(found["density_eos"], rel=0.015)
    assert abs(found["density"] - found["density_eos"]) < 4 * found["error"]


def test_degrees_of_freedom():
    def dof(**settings):
        return make_integrator(MDConfig.read(None, settings), atoms=10).dof

    assert dof(ensemble="nve") == 27
    assert dof(thermostat="csvr") == dof(thermostat="nose-hoover") == dof(ensemble="npt") == 27
    assert dof(thermostat="langevin") == 30


def test_a_single_atom_needs_langevin():
    with pytest.raises(ValueError, match="1 atom with zero total momentum cannot move"):
        make_integrator(MDConfig(), atoms=1)
