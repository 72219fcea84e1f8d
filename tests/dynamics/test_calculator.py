import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones as AseLennardJones

from huozi.dynamics import ForceFieldCalculator
from huozi.potential.lennard_jones import LennardJones

FIELD = LennardJones(0.0104, 3.4, 6.5, elements=(18, 36))
REFERENCE = {"sigma": 3.4, "epsilon": 0.0104, "rc": 6.5}


def crystal():
    atoms = bulk("Ar", a=5.3, cubic=True) * (1, 2, 1)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.1 * np.tri(3)), scale_atoms=True)
    atoms.rattle(0.1, seed=1)
    return atoms


def compare(atoms, calculator):
    reference = atoms.copy()
    reference.calc = AseLennardJones(**REFERENCE)
    atoms.calc = calculator
    energy = reference.get_potential_energy()
    assert atoms.get_potential_energy() == pytest.approx(energy, rel=1e-10)
    assert atoms.get_potential_energy(force_consistent=True) == pytest.approx(energy, rel=1e-10)
    np.testing.assert_allclose(atoms.get_forces(), reference.get_forces(), atol=1e-12)
    if atoms.pbc.all():
        np.testing.assert_allclose(atoms.get_stress(), reference.get_stress(), atol=1e-13)


def test_equals_ase_through_moves_strains_and_other_atoms():
    calculator, atoms = ForceFieldCalculator(FIELD, skin=0.4), crystal()
    compare(atoms, calculator)
    rng = np.random.default_rng(0)
    for _ in range(6):
        atoms.positions += rng.normal(scale=0.06, size=atoms.positions.shape)
        compare(atoms, calculator)
    atoms.set_cell(atoms.cell.array * 0.93, scale_atoms=True)
    compare(atoms, calculator)
    cluster = Atoms("Ar3Kr", positions=rng.normal(scale=4, size=(4, 3)))
    compare(cluster, calculator)
    cluster.positions[0] += 1
    compare(cluster, calculator)
    slab = crystal()
    slab.pbc = [True, True, False]
    compare(slab, calculator)
    slab.set_cell(slab.cell.array * [1.05], scale_atoms=True)
    compare(slab, calculator)


def test_the_table_is_kept_while_it_holds(monkeypatch):
    from huozi.dynamics import calculator as module

    searches = []
    original = module.build_table
    monkeypatch.setattr(
        module, "build_table", lambda *given: searches.append(1) or original(*given)
    )
    atoms = crystal()
    atoms.calc = ForceFieldCalculator(FIELD, skin=1.0)
    for _ in range(5):
        atoms.positions[0, 0] += 0.09
        atoms.get_forces()
    assert len(searches) == 1
    atoms.positions[0, 0] += 0.2
    atoms.get_forces()
    assert len(searches) == 2


def test_an_open_system_has_no_stress():
    atoms = Atoms("Ar2", positions=[[0, 0, 0], [4, 0, 0]], calculator=ForceFieldCalculator(FIELD))
    atoms.get_potential_energy()
    with pytest.raises(NotImplementedError):
        atoms.get_stress()


def test_an_unknown_element_is_named():
    atoms = Atoms("OAr", positions=[[0, 0, 0], [4, 0, 0]], calculator=ForceFieldCalculator(FIELD))
    with pytest.raises(ValueError, match="atomic number 8 is unknown"):
        atoms.get_potential_energy()
