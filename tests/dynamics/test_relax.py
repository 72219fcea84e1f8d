import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from huozi.dynamics import relax
from huozi.potential.lennard_jones import LennardJones
from huozi.systems import System
from huozi.units import GPA

FIELD = LennardJones(0.0104, 3.4, 8.0)


def lattice_energy(a):
    """Energy per atom of fcc argon by direct summation over shells, and its derivative."""
    grid = np.array(np.meshgrid(*[range(-4, 5)] * 3)).reshape(3, -1).T
    grid = grid[(grid.sum(axis=1) % 2 == 0) & (grid != 0).any(axis=1)]
    r = np.linalg.norm(grid, axis=1) * a / 2
    s = (3.4 / r[r < 8.0]) ** 6
    shift = 4 * 0.0104 * ((3.4 / 8) ** 12 - (3.4 / 8) ** 6)
    energy = np.sum(4 * 0.0104 * (s**2 - s) - shift) / 2
    slope = np.sum(4 * 0.0104 * (-12 * s**2 + 6 * s)) / 2 / a
    return energy, slope


@pytest.mark.parametrize("optimizer", ["lbfgs", "fire"])
def test_fcc_argon_finds_its_lattice_constant(optimizer):
    sums = [lattice_energy(a)[1] for a in (5.2, 5.25)]
    exact = 5.2 - 0.05 * sums[0] / (sums[1] - sums[0])
    for _ in range(20):  # Newton's method on the slope of the lattice sum
        slope = lattice_energy(exact)[1]
        bend = (lattice_energy(exact + 1e-5)[1] - lattice_energy(exact - 1e-5)[1]) / 2e-5
        exact -= slope / bend
    atoms = bulk("Ar", a=5.35, cubic=True)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.02 * np.tri(3)), scale_atoms=True)
    atoms.rattle(0.05, seed=3)
    result = relax(FIELD, System.from_atoms(atoms), True, 1e-5, 2000, optimizer)
    assert result.converged
    assert result.system.volume ** (1 / 3) == pytest.approx(exact, abs=2e-4)
    assert result.energy / 4 == pytest.approx(lattice_energy(exact)[0], abs=1e-7)
    assert abs(result.pressure) < 1e-3
    lengths = np.linalg.norm(result.system.cell, axis=1)
    np.testing.assert_allclose(lengths, exact, rtol=1e-3)


def test_pressure_compresses_the_crystal():
    system = System.from_atoms(bulk("Ar", a=5.2, cubic=True))
    result = relax(FIELD, system, cell=True, fmax=1e-5, pressure=0.5)
    a = result.system.volume ** (1 / 3)
    assert -lattice_energy(a)[1] * 4 / (3 * a**2) * GPA == pytest.approx(0.5, abs=2e-3)
    assert result.pressure == pytest.approx(0.5, abs=2e-3)


def test_a_dimer_goes_to_its_minimum_and_reports_its_way():
    system = System.from_atoms(Atoms("Ar2", positions=[[0, 0, 0], [3.4, 0, 0]]))
    seen = []
    result = relax(FIELD, system, fmax=1e-6, progress=lambda *now: seen.append(now))
    distance = np.linalg.norm(np.diff(result.system.positions, axis=0))
    assert distance == pytest.approx(3.4 * 2 ** (1 / 6), abs=1e-5)
    assert np.isnan(result.pressure)
    assert seen[-1][0] == result.steps
    assert system.positions[1, 0] == 3.4


def test_steps_may_run_out():
    system = System.from_atoms(Atoms("Ar2", positions=[[0, 0, 0], [3.3, 0, 0]]))
    result = relax(FIELD, system, fmax=1e-9, steps=1)
    assert not result.converged
    assert result.steps == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cell": True}, "only a periodic cell can be relaxed"),
        ({"pressure": 1.0}, "a pressure acts on the cell"),
        ({"fmax": 0.0}, "fmax must be positive"),
        ({"optimizer": "newton"}, "optimizer must be lbfgs or fire; found 'newton'"),
    ],
)
def test_what_makes_no_sense_is_refused(settings, message):
    system = System.from_atoms(Atoms("Ar2", positions=[[0, 0, 0], [3.4, 0, 0]]))
    with pytest.raises(ValueError, match=message):
        relax(FIELD, system, **settings)


def test_atoms_on_top_of_each_other_are_an_error():
    system = System.from_atoms(Atoms("Ar2", positions=np.zeros((2, 3))))
    with pytest.raises(ValueError, match="step 0 of the relaxation: the energy is"):
        relax(FIELD, system)
