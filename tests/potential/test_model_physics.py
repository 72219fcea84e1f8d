"""Exact properties of the potential energy surface, in float64."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from huozi.potential.batch import Capacity, assemble, prepare
from huozi.potential.loss import predict
from huozi.systems import Dataset, Frame, System
from tests.potential.conftest import random_model

WATER_MODEL = random_model((1, 8))


def energy(atoms: Atoms) -> float:
    return float(WATER_MODEL.evaluate(System.from_atoms(atoms)).energy)


def test_forces_are_minus_the_gradient(water: Atoms) -> None:
    forces = WATER_MODEL.evaluate(System.from_atoms(water)).forces
    scale = np.abs(forces).max()
    for atom, axis in [(0, 0), (4, 1), (11, 2), (23, 0)]:
        step = np.zeros_like(water.positions)
        step[atom, axis] = 1e-4
        plus, minus = water.copy(), water.copy()
        plus.positions += step
        minus.positions -= step
        numeric = -(energy(plus) - energy(minus)) / 2e-4
        assert abs(numeric - forces[atom, axis]) < 1e-6 * scale


def test_virial_is_minus_the_derivative_by_strain(water: Atoms) -> None:
    virial = WATER_MODEL.evaluate(System.from_atoms(water)).virial
    for i in range(3):
        for j in range(3):
            energies = []
            for sign in (1, -1):
                strain = np.eye(3)
                strain[i, j] += sign * 1e-5
                strained = water.copy()
                strained.set_cell(water.cell.array @ strain, scale_atoms=True)
                energies.append(energy(strained))
            numeric = -(energies[0] - energies[1]) / 2e-5
            assert abs(numeric - virial[i, j]) < 1e-6 * np.abs(virial).max()


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_rotation_translation_permutation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    molecule = Atoms("OHHOH", positions=rng.uniform(0, 3, (5, 3)))
    base = WATER_MODEL.evaluate(System.from_atoms(molecule))
    rotation = Rotation.random(random_state=seed).as_matrix()
    order = rng.permutation(5)
    moved = molecule[order]
    moved.positions = moved.positions @ rotation.T + rng.normal(size=3)
    found = WATER_MODEL.evaluate(System.from_atoms(moved))
    scale = max(1.0, float(np.abs(base.forces).max()))
    assert abs(float(found.energy - base.energy)) < 1e-9 * max(1, abs(float(base.energy)))
    np.testing.assert_allclose(
        found.forces, base.forces[order] @ rotation.T, atol=1e-9 * scale, rtol=0
    )


def test_supercell_has_a_multiple_of_the_energy(water: Atoms) -> None:
    assert energy(water * (2, 1, 2)) == pytest.approx(4 * energy(water), rel=1e-12)


def test_wrapping_and_lattice_reduction_change_nothing(water: Atoms) -> None:
    other = water.copy()
    other.positions += np.array([1, -2, 3]) @ water.cell.array
    other.cell[2] += other.cell[0] - 2 * other.cell[1]
    assert energy(other) == pytest.approx(energy(water), rel=1e-11)


def test_isolated_atoms_have_exactly_e0() -> None:
    atoms = Atoms("OHO", positions=[[0, 0, 0], [9, 0, 0], [0, 9, 0]])
    assert energy(atoms) == sum(WATER_MODEL.e0[i] for i in (1, 0, 1))


def test_far_molecules_do_not_interact(water: Atoms) -> None:
    a = Atoms("OHH", positions=[[0, 0, 0], [0.96, 0, 0], [-0.2, 0.93, 0]])
    b = a.copy()
    b.positions += [20, 0, 0]
    assert energy(a + b) == pytest.approx(2 * energy(a), rel=1e-12)


def test_energy_is_smooth_to_second_order_at_the_cutoff() -> None:
    """The third derivative may jump; energy, force and curvature must vanish together."""
    cutoff = WATER_MODEL.cutoff
    gaps = np.array([4e-2, 2e-2, 1e-2])
    isolated = energy(Atoms("OH", positions=[[0, 0, 0], [cutoff + 1, 0, 0]]))
    inside = [
        energy(Atoms("OH", positions=[[0, 0, 0], [cutoff - gap, 0, 0]])) - isolated for gap in gaps
    ]
    orders = np.log2(np.abs(np.array(inside)[:-1] / np.array(inside)[1:]))
    assert (orders > 2.9).all()


def test_single_precision_agrees_with_double(water: Atoms) -> None:
    system = System.from_atoms(water)
    exact, single = WATER_MODEL.evaluate(system), WATER_MODEL.astype("float32").evaluate(system)
    scale = np.abs(exact.forces).max()
    np.testing.assert_allclose(single.forces, exact.forces, atol=2e-5 * scale, rtol=0)
    assert abs(float(single.energy - exact.energy)) < 1e-5 * len(water)


def test_batches_give_the_same_as_single_frames(water: Atoms) -> None:
    """Periodic and open frames of different sizes, united and padded, against one by one."""
    molecule = Atoms("OHH", positions=[[0, 0, 0], [0.96, 0, 0], [-0.2, 0.93, 0]])
    frames = [Frame(System.from_atoms(a)) for a in (water, molecule, water * (2, 1, 1))]
    model = WATER_MODEL
    prepared = prepare(Dataset(tuple(frames)), model.elements, model.e0, model.config)
    width = max(p.index.shape[1] for p in prepared)
    capacity = Capacity((56, 32), 5, width, virials=True)
    batch = assemble(prepared, capacity)
    found = predict(model.params, model.config, capacity.segments, batch)
    for f, (frame, item) in enumerate(zip(frames, prepared, strict=True)):
        exact = model.evaluate(frame.system)
        assert float(found.energy[f]) + item.reference == pytest.approx(
            float(exact.energy), abs=1e-4
        )
        rows = np.flatnonzero(batch.frame == f)
        np.testing.assert_allclose(found.forces[rows], exact.forces[item.order], atol=1e-4)
        np.testing.assert_allclose(found.virial[f], exact.virial, atol=1e-3)


def test_unknown_element_is_named() -> None:
    atoms = Atoms("OHNe", positions=np.eye(3))
    with pytest.raises(ValueError, match=r"atom 2 is Ne.*knows H, O"):
        WATER_MODEL.evaluate(System.from_atoms(atoms))
