import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from huozi.dynamics.table import build_table, room
from huozi.neighbors import build_neighbors


def pairs(neighbors, positions, cell, cutoff):
    """(atom, other, image) of every pair within the cutoff."""
    index, shift, mask = (np.asarray(getattr(neighbors, n)) for n in ("index", "shift", "mask"))
    vectors = positions[index] - positions[:, None] + shift @ cell
    near = mask & (np.linalg.norm(vectors, axis=-1) < cutoff)
    rows = np.nonzero(near)[0]
    return {(a, b, *s) for a, b, s in zip(rows, index[near], map(tuple, shift[near]))}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 0.5), st.floats(0, 0.08))
def test_no_pair_is_missed_while_the_table_holds(seed, move, strain):
    rng = np.random.default_rng(seed)
    cell = np.eye(3) * 6 + rng.normal(scale=0.5, size=(3, 3))
    positions = rng.uniform(0, 1, (12, 3)) @ cell
    pbc = np.ones(3, bool)
    table = build_table(positions, cell, pbc, 3.0, 0.8)
    stretch = np.eye(3) + rng.uniform(-strain, strain, (3, 3))
    moved = positions @ stretch + rng.uniform(-move, move, (12, 3)) / np.sqrt(3)
    assume(room(table, moved, cell @ stretch, True) >= 0)
    fresh = build_neighbors(moved, cell @ stretch, pbc, 3.0)
    wanted = pairs(fresh, moved, cell @ stretch, 3.0)
    assert wanted == pairs(table.neighbors, moved, cell @ stretch, 3.0)


def test_there_is_room_for_half_the_skin():
    positions, cell = np.zeros((2, 3)), np.eye(3) * 9
    positions[1] = 4
    table = build_table(positions, cell, np.ones(3, bool), 3.0, 1.0)
    step = np.array([0.3, 0, 0.4])
    for moves_cell in (False, True):
        np.testing.assert_allclose(room(table, positions, cell, moves_cell), 0.5)
        np.testing.assert_allclose(room(table, positions + step, cell, moves_cell), 0, atol=1e-12)
        assert not room(table, positions + np.nan, cell, moves_cell) >= 0
    assert 0.4 < room(table, positions * 0.99, cell * 0.99, True) < 0.5
    assert room(table, positions * 0.6, cell * 0.6, True) < 0


def test_a_row_that_overflows_widens_the_table_with_some_room():
    positions = np.random.default_rng(0).uniform(0, 4, (40, 3))
    table = build_table(positions, np.eye(3) * 4, np.ones(3, bool), 3.0, 0.5, width=8)
    needed = build_neighbors(positions, np.eye(3) * 4, np.ones(3, bool), 3.5).index.shape[1]
    assert table.width > needed
    again = build_table(positions, np.eye(3) * 4, np.ones(3, bool), 3.0, 0.5, table.width)
    assert again.width == table.width
