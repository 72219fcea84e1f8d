"""Neighbour tables against ASE's neighbour list, and the linear maps on them."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene, molecule
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st

from huozi import kernels
from huozi.arrays import jax, jnp
from huozi.neighbors import (
    Neighbors,
    build_neighbors,
    displacements,
    forces_from_pairs,
    virial_from_pairs,
)


def table_of(atoms: Atoms, cutoff: float, width: int | None = None) -> Neighbors:
    return build_neighbors(atoms.positions, atoms.cell.array, atoms.pbc, cutoff, width)


def assert_same_pairs(atoms: Atoms, cutoff: float) -> None:
    """Both searches, the compiled one (where it was built) and the one in Python."""
    i, j, shift = neighbor_list("ijS", atoms, cutoff)
    theirs = sorted(map(tuple, np.column_stack([i, j, shift])))
    for compiled in {kernels.is_available(), False}:
        with patch.object(kernels, "is_available", return_value=compiled):
            table = table_of(atoms, cutoff)
        rows, columns = np.nonzero(table.mask)
        ours = np.column_stack([rows, table.index[rows, columns], table.shift[rows, columns]])
        assert sorted(map(tuple, ours)) == theirs


@pytest.mark.parametrize(
    ("atoms", "cutoff"),
    [
        (bulk("Si"), 9.0),  # a primitive cell much smaller than the cutoff
        (bulk("Mg") * (2, 1, 1), 5.0),
        (graphene(vacuum=4.0), 6.0),  # open along z
        (molecule("C2H6"), 3.0),
        (Atoms("He"), 5.0),
        (Atoms("H2", positions=[[0, 0, 0], [50, 0, 0]]), 3.0),
    ],
)
def test_same_pairs_as_ase(atoms: Atoms, cutoff: float) -> None:
    assert_same_pairs(atoms, cutoff)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.tuples(*[st.booleans()] * 3))
def test_same_pairs_as_ase_in_random_cells(seed: int, n: int, pbc: tuple[bool, ...]) -> None:
    """Triclinic cells, mixed boundaries, atoms outside the cell."""
    rng = np.random.default_rng(seed)
    cell = np.diag(rng.uniform(2.5, 6, 3)) + np.tril(rng.uniform(-1, 1, (3, 3)), -1)
    atoms = Atoms("H" * n, positions=rng.uniform(-4, 9, (n, 3)), cell=cell, pbc=pbc)
    assert_same_pairs(atoms, 3.5)


@pytest.mark.parametrize("pbc", [(True, True, True), (False, True, False), (False, False, False)])
def test_same_pairs_as_ase_in_a_large_cell(pbc: tuple[bool, ...]) -> None:
    """Many bins along every direction, and atoms far outside the cell."""
    rng = np.random.default_rng(7)
    cell = np.diag([31.0, 24.0, 19.0]) + rng.uniform(-5, 5, (3, 3))
    positions = rng.uniform(-1, 2, (900, 3)) @ cell
    assert_same_pairs(Atoms("H900", positions=positions, cell=cell, pbc=pbc), 4.1)


def test_reverse_slots_hold_the_same_pair() -> None:
    atoms = bulk("Si") * (2, 1, 1)
    atoms.rattle(0.1, seed=1)
    table = table_of(atoms, 7.0, width=200)
    assert table.index.shape[1] == 200
    vectors = np.asarray(displacements(atoms.positions, atoms.cell.array, table))
    mirrored = vectors.reshape(-1, 3)[table.reverse.reshape(-1)].reshape(vectors.shape)
    np.testing.assert_allclose(mirrored, -vectors, atol=1e-12)


def test_forces_and_virial_are_derivatives_of_a_pair_energy() -> None:
    atoms = bulk("Ar", "fcc", a=5.0) * (2, 2, 1)
    atoms.rattle(0.2, seed=3)
    table, cell = table_of(atoms, 6.0), atoms.cell.array

    def energy(positions: jax.Array, strain: jax.Array) -> jax.Array:
        deform = jnp.eye(3) + strain
        vectors = displacements(positions @ deform, jnp.asarray(cell) @ deform, table)
        square = jnp.where(table.mask, jnp.sum(vectors**2, -1), 1.0)
        return jnp.sum(jnp.where(table.mask, jnp.exp(-square / 10), 0))

    positions, zero = jnp.asarray(atoms.positions), jnp.zeros((3, 3))
    by_position, by_strain = jax.grad(energy, (0, 1))(positions, zero)
    vectors = displacements(positions, jnp.asarray(cell), table)
    pairs = -2 / 10 * vectors * jnp.exp(-jnp.sum(vectors**2, -1, keepdims=True) / 10)
    pairs = jnp.where(table.mask[..., None], pairs, 0)
    np.testing.assert_allclose(forces_from_pairs(pairs, table), -by_position, atol=1e-12)
    np.testing.assert_allclose(virial_from_pairs(pairs, vectors), -by_strain, atol=1e-10)


def test_transpose_of_the_forces_map() -> None:
    """<y, A x> = <A^T y, x>, as reverse differentiation uses it."""
    atoms = bulk("Si") * (2, 1, 1)
    table = table_of(atoms, 4.0)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(*table.index.shape, 3)), rng.normal(size=(len(atoms), 3))
    value, back = jax.vjp(lambda pairs: forces_from_pairs(pairs, table), jnp.asarray(x))
    assert float(jnp.vdot(y, value)) == pytest.approx(float(jnp.vdot(back(jnp.asarray(y))[0], x)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": np.array([[0, 0, np.nan]])}, "position of atom 0 is not finite"),
        ({"cell": np.full((3, 3), np.inf)}, "cell is not finite"),
        ({"cell": np.ones((3, 3))}, "needs a cell with a volume"),
    ],
)
def test_impossible_geometry(change: dict[str, np.ndarray], message: str) -> None:
    values = {"positions": np.zeros((1, 3)), "cell": np.eye(3) * 4, "pbc": np.ones(3, bool)}
    with pytest.raises(ValueError, match=message):
        build_neighbors(**{**values, **change}, cutoff=3.0)
