import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from huozi.arrays import jnp
from huozi.neighbors import build_neighbors
from huozi.potential.lennard_jones import LennardJones

SHIFTED = LennardJones(0.0104, 3.4, 6.5)
SWITCHED = LennardJones(0.0104, 3.4, 6.5, onset=5.0)


def triclinic():
    atoms = bulk("Ar", a=5.2, cubic=True) * (2, 1, 1)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.1 * np.tri(3)), scale_atoms=True)
    atoms.rattle(0.2, seed=2)
    return atoms


def evaluate(field, positions, cell, pbc=True):
    pbc = np.full(3, pbc)
    neighbors = build_neighbors(positions, cell, pbc, field.cutoff)
    function = field.bind(np.full(len(positions), 18))
    return function(jnp.asarray(positions), jnp.asarray(cell), neighbors)


@pytest.mark.parametrize("field", [SHIFTED, SWITCHED])
def test_forces_and_virial_equal_finite_differences(field):
    atoms, h = triclinic(), 1e-4
    x, cell = atoms.positions, atoms.cell.array
    found = evaluate(field, x, cell)
    rng = np.random.default_rng(0)
    push, strain = rng.normal(size=x.shape), rng.normal(size=(3, 3))
    strain = strain + strain.T

    def along(function):
        up, down, up2, down2 = (float(function(s * h).energy) for s in (1, -1, 2, -2))
        return (8 * (up - down) - (up2 - down2)) / (12 * h)

    force = along(lambda s: evaluate(field, x + s * push, cell))
    assert -np.sum(np.asarray(found.forces) * push) == pytest.approx(force, rel=1e-6)

    def deformed(s):
        stretch = np.eye(3) + s * strain
        return evaluate(field, x @ stretch, cell @ stretch)

    virial = -np.sum(np.asarray(found.virial) * strain)
    if field is SWITCHED:  # the force of the shifted one jumps where pairs cross the cutoff
        assert virial == pytest.approx(along(deformed), rel=1e-6)
    np.testing.assert_allclose(found.virial, np.asarray(found.virial).T, atol=1e-12)
    np.testing.assert_allclose(np.sum(found.forces, axis=0), 0, atol=1e-12)


def pair_energy(field, distances):
    return np.array(
        [
            float(evaluate(field, np.array([[0, 0, 0], [r, 0, 0]]), np.eye(3), False).energy)
            for r in distances
        ]
    )


def test_energies_have_their_textbook_values():
    shift = 4 * 0.0104 * ((3.4 / 6.5) ** 12 - (3.4 / 6.5) ** 6)
    well = 3.4 * 2 ** (1 / 6)
    np.testing.assert_allclose(pair_energy(SHIFTED, [well]), -0.0104 - shift, rtol=1e-12)
    np.testing.assert_allclose(pair_energy(SWITCHED, [well, 6.6]), [-0.0104, 0], rtol=1e-12)


def test_the_switch_is_smooth_to_second_order_at_both_ends():
    for edge in (5.0, 6.5):
        h = 1e-3
        left = pair_energy(SWITCHED, edge - h * np.arange(4))
        right = pair_energy(SWITCHED, edge + h * np.arange(4))
        slopes = [np.dot([-11 / 6, 3, -1.5, 1 / 3], side) / h for side in (left, right)]
        bends = [np.dot([2, -5, 4, -1], side) / h**2 for side in (left, right)]
        assert slopes[0] == pytest.approx(-slopes[1], abs=1e-8)
        assert bends[0] == pytest.approx(bends[1], abs=2e-4)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="atomic number 8 is unknown"):
        SHIFTED.bind(Atoms("ArO").numbers)
    with pytest.raises(ValueError, match="the onset must lie between 0 and the cutoff"):
        LennardJones(0.01, 3.4, 6.0, onset=7.0)
