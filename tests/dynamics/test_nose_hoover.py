import dataclasses

import numpy as np
import pytest

from huozi.dynamics import NoseHoover
from tests.dynamics.fields import ARGON, argon, continue_run, make_state, simulate


def test_conserved_quantity_holds_to_second_order():
    spread = []
    for dt in (8.0, 4.0):
        integrator = NoseHoover(dt, 93.0, 60.0, 100.0)
        rows, _, _ = simulate(integrator, ARGON, argon(rattle=0.05), int(4000 / dt), temperature=90)
        spread.append(rows[:, 3].std())
        assert np.ptp(rows[:, 1] + rows[:, 2]) > 100 * spread[-1]
    assert spread[0] / spread[1] == pytest.approx(4, rel=0.25)


def test_motion_is_reversible():
    atoms = argon(rattle=0.05)
    integrator = NoseHoover(4.0, 93.0, 60.0, 50.0)
    start, evaluate, table = make_state(integrator, ARGON, atoms, temperature=90)
    _, _, end = continue_run(integrator, ARGON, atoms, start, evaluate, table, 200)
    assert abs(float(end.bath[1, 0])) > 1e-4
    bath = end.bath.at[1].multiply(-1)
    turned = dataclasses.replace(end, velocities=-end.velocities, bath=bath)
    moved = atoms.copy()
    moved.positions = np.asarray(end.positions)
    _, _, table = make_state(integrator, ARGON, moved)
    _, _, back = continue_run(integrator, ARGON, moved, turned, evaluate, table, 200)
    np.testing.assert_allclose(back.positions, atoms.positions, atol=1e-9)
    np.testing.assert_allclose(back.bath, 0, atol=1e-7)
