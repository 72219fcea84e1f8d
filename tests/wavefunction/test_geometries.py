"""Two geometries of H2 by one network: energies, forces and dipole moments."""

from __future__ import annotations

import json

import numpy as np
import pytest

from huozi.arrays import jax
from huozi.wavefunction import AnsatzConfig, Molecule, TrainConfig, build, load_run
from huozi.wavefunction.geometries import select
from huozi.wavefunction.mean_field import solve_mean_field
from huozi.wavefunction.observables import nuclear_forces
from tests.cli.test_main import run as command

pytest.importorskip("pyscf")
TINY = AnsatzConfig(width=8, layers=1, heads=2, determinants=2, pair_width=8)
CONFIG = TrainConfig(ansatz=TINY, steps=60, walkers=256, chunk=128)
HARTREE_FOCK = {1.4: -1.13363, 2.0: -1.09163}  # basis-set limit, Ha
EXACT = {1.4: -1.174475714, 2.0: -1.138132957}  # Sims & Hagstrom (2006), Ha


def hydrogen(distance):
    return Molecule.parse(f"H 0 0 0; H 0 0 {distance}")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A short run on two geometries."""
    folder = tmp_path_factory.mktemp("hydrogen") / "run"
    return build([hydrogen(distance) for distance in EXACT], TINY).train(folder, config=CONFIG)


def slope(distance, step=0.02):
    """Derivative of the energy by full configuration interaction (CCSD of two electrons)."""
    from pyscf import cc

    found = []
    for d in (distance - step, distance + step):
        coupled = cc.CCSD(solve_mean_field(hydrogen(d), "cc-pvtz").solver)
        coupled.verbose = 0
        found.append(coupled.kernel()[0] + coupled._scf.e_tot)
    return (found[1] - found[0]) / (2 * step)


def test_energies_forces_and_dipoles(trained):
    for g, distance in enumerate(EXACT):
        found = trained.evaluate(geometry=g, steps=150, seed=g)
        assert found.energy_Ha > EXACT[distance] - 3 * found.stderr_Ha
        assert found.energy_Ha < HARTREE_FOCK[distance] - 0.01
        force, error = np.array(found.forces_Ha_per_bohr), np.array(found.forces_stderr)
        assert (error < 6e-3).all()
        assert force[1, 2] == pytest.approx(-slope(distance), abs=4e-3 + 3 * error[1, 2])
        dipole, error = np.array(found.dipole_au), np.array(found.dipole_stderr)
        assert (abs(dipole - [0, 0, 0]) < 0.05 + 3 * error).all()


def test_parameters_of_a_geometry_are_its_own(trained):
    wave_function = trained.problems[0].wave_function
    first, second = (select(wave_function, trained.state.average, g) for g in range(2))
    for name, leaves in first.items():
        same = jax.tree.map(lambda a, b: bool((a == b).all()), leaves, second[name])
        assert all(jax.tree.leaves(same)) == (name not in wave_function.of_geometry)


def test_a_run_of_several_geometries_is_read_back(trained, monkeypatch, capsys):
    again = load_run(trained.path)
    assert [p.molecule for p in again.problems] == [p.molecule for p in trained.problems]
    code, out, _ = command(
        monkeypatch, capsys,
        "wavefunction", "evaluate", trained.path, "--steps", 3, "--seed", 1, "--forces", "--json",
    )  # fmt: skip
    assert code == 0
    results = json.loads(out)["geometries"]
    assert [r["positions_bohr"][1][2] for r in results] == list(EXACT)
    for result in results:
        assert np.shape(result["forces_Ha_per_bohr"]) == np.shape(result["forces_stderr"]) == (2, 3)
        assert np.shape(result["dipole_au"]) == np.shape(result["dipole_stderr"]) == (3,)


def test_another_molecule_is_no_geometry():
    with pytest.raises(ValueError, match=r"HH \(1 \+ 1 electrons\) and He"):
        build([hydrogen(1.4), Molecule.parse("He 0 0 0")], TINY).train(config=CONFIG)


def test_nuclear_forces_are_the_slope_of_the_repulsion():
    places = np.random.default_rng(0).normal(size=(3, 3))
    charges = (3, 1, 8)

    def repulsion(nuclei):
        return Molecule(charges, tuple(map(tuple, nuclei)), 6, 6).nuclear_repulsion

    forces = nuclear_forces(np.array(charges, float), places)
    for a in range(3):
        step = np.zeros((3, 3))
        step[a, 1] = 1e-5
        slope = (repulsion(places + step) - repulsion(places - step)) / 2e-5
        assert forces[a, 1] == pytest.approx(-slope, rel=1e-7)
