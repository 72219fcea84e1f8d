"""The parts of the loop against exact results: structures, descriptors, deviations, decisions."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import molecule
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from huozi.learning.descriptor import describe, farthest_points
from huozi.learning.ensemble import deviation
from huozi.learning.explore import Seen, State, states
from huozi.learning.generate import closest, distorted, evenly, random_boxes
from huozi.learning.select import (
    Bounds,
    decide,
    fractions,
    in_turn,
    reason_to_stop,
    set_bounds,
    widened,
)
from huozi.learning.settings import Boxes, Converge, Explore, Select
from huozi.systems import Frame, System


def boxes(seed: int = 0) -> list[Frame]:
    settings = Boxes(molecule="H2O", count=16, density=0.9, number=2)
    return random_boxes(settings, np.random.default_rng(seed))


def test_random_boxes_have_whole_molecules_apart_and_the_density() -> None:
    first, second = boxes()
    assert first.system.density == pytest.approx(0.9)
    assert np.bincount(first.system.species)[[1, 8]].tolist() == [32, 16]
    assert closest(first.system) > 0.9
    assert not np.allclose(first.system.positions, second.system.positions)
    np.testing.assert_array_equal(boxes()[0].system.positions, first.system.positions)
    with pytest.raises(ValueError, match="neither a molecule"):
        random_boxes(Boxes(molecule="H3O9"), np.random.default_rng(0))


def test_distorted_structures_are_near_their_origin() -> None:
    start = boxes()[0]
    for frame in distorted([start], 5, 0.05, 0.02, np.random.default_rng(1)):
        strain = np.linalg.solve(start.system.cell, frame.system.cell) - np.eye(3)
        np.testing.assert_allclose(strain, strain.T, atol=1e-12)
        assert np.abs(strain).max() < 0.1
        moved = frame.system.positions - start.system.positions @ (np.eye(3) + strain)
        assert 0 < moved.std() < 0.06


def test_closest_is_the_bond_of_water() -> None:
    water = System.from_atoms(molecule("H2O"))
    bond = np.linalg.norm(water.positions[1] - water.positions[0])
    assert closest(water) == pytest.approx(bond / (0.66 + 0.31))


def test_descriptors_do_not_see_rotation_translation_or_order() -> None:
    atoms = molecule("CH3OH")
    before = describe(System.from_atoms(atoms), [1, 6, 8], 4.0)
    order = np.random.default_rng(0).permutation(len(atoms))
    turned = atoms[order]
    turned.positions = turned.positions @ Rotation.random(rng=1).as_matrix().T + [1, 2, 3]
    after = describe(System.from_atoms(turned), [1, 6, 8], 4.0)
    np.testing.assert_allclose(after, before, atol=2e-4 * np.abs(before).max())
    atoms.positions[0, 0] += 0.2
    other = describe(System.from_atoms(atoms), [1, 6, 8], 4.0)
    assert np.abs(other - before).max() > 1e-2 * np.abs(before).max()


def test_deviation_of_two_opposite_models() -> None:
    forces = np.zeros((2, 3, 3))
    forces[:, 1] = [[0.3, 0.0, 0.4], [-0.3, 0.0, -0.4]]
    assert deviation(forces) == pytest.approx(0.5)
    assert deviation(np.array([forces[0]] * 4)) == 0


def test_farthest_points_pass_over_duplicates() -> None:
    candidates = np.array([[0.0], [10.0], [10.001], [5.0], [-1.0]])
    chosen, distance = farthest_points(candidates, np.array([[0.0]]), 3)
    assert chosen == [2, 3, 4]
    assert distance[1] < 0.01 * distance[2]


@given(st.integers(1, 12), st.integers(0, 5), st.integers(0, 14), st.integers(0, 99))
def test_farthest_points_are_different_and_as_many_as_asked(c: int, k: int, n: int, s: int) -> None:
    rng = np.random.default_rng(s)
    chosen, distance = farthest_points(rng.normal(size=(c, 3)), rng.normal(size=(k, 3)), n)
    assert len(chosen) == len(set(chosen)) == min(c, n)
    if k:
        ordered = distance[chosen]
        assert (np.diff(ordered) <= 1e-12).all()


def seen(deviations: list[float], contacts: list[float] | None = None) -> Seen:
    frames = [Frame(boxes()[0].system, source=f"i01w000#{i}") for i in range(len(deviations))]
    n = len(frames)
    descriptors = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    close = np.array(contacts or [1.0] * n)
    return Seen(frames, np.array(deviations), close, descriptors, np.zeros(n, np.int64))


def test_bounds_follow_the_control_frames() -> None:
    plain = set_bounds(Select(target=0.1), [])
    assert plain.low == pytest.approx(0.4)
    assert plain.high == pytest.approx(8.0)
    # Errors three times the deviations: the ensemble is three times too sure.
    sure = set_bounds(Select(target=0.1), [[0.1, 0.3], [0.2, 0.6], [0.3, 0.9]])
    assert sure.low == pytest.approx(0.4 / 3)
    # Errors below the deviations do not loosen the bound.
    assert set_bounds(Select(target=0.1), [[0.3, 0.1]]).low == pytest.approx(0.4)
    assert set_bounds(Select(low=0.2, high=0.3), [[0.1, 0.3]]).high == 0.3


def test_the_upper_bound_gives_way_when_nothing_is_below() -> None:
    bounds = Bounds(0.1, 1.0, "")
    one, two, three = (Select(batch=n) for n in (1, 2, 3))
    assert widened(bounds, seen([0.05, 0.5, 5.0]), one) is bounds
    assert widened(bounds, seen([0.05, 0.06]), three) is bounds
    wrong = seen([7.0, 3.0, 5.0, np.inf, 2.0], [1, 1, 1, 1, 0.1])
    wide = widened(bounds, wrong, two)
    assert 5.0 < wide.high < 5.1
    assert wide.low == 0.1
    assert widened(bounds, wrong, Select(batch=2, high=1.0)) is bounds, "as set"
    # Nearly done: most are accurate, and a walk that fell apart is no candidate.
    done = seen([0.05] * 8 + [0.5] + [20.0, 30.0])
    assert widened(bounds, done, Select(batch=5)) is bounds


def test_each_frame_gets_one_verdict_and_a_reason() -> None:
    what = seen([0.05, 0.2, 0.3, 2.0, np.inf, 0.25], [1, 1, 1, 1, 1, 0.2])
    decisions, chosen = decide(what, Bounds(0.1, 1.0, ""), 1, np.zeros((1, 2)))
    verdicts = [d.verdict for d in decisions]
    assert verdicts == ["accurate", "candidate", "candidate", "failed", "failed", "failed"]
    assert chosen == [2]
    assert [d.selected for d in decisions] == [False, False, True, False, False, False]
    assert "choice 1" in decisions[2].reason
    assert "not chosen" in decisions[1].reason
    assert "covalent radii" in decisions[5].reason
    assert decisions[4].deviation is None
    assert fractions(decisions) == {"accurate": 1 / 6, "candidate": 2 / 6, "failed": 3 / 6}


def test_control_frames_are_not_selected() -> None:
    decisions, chosen = decide(seen([0.2, 0.3]), Bounds(0.1, 1.0, ""), 5, np.zeros((1, 2)), [1])
    assert chosen == [0]
    assert "control frame" in decisions[1].reason


def test_groups_take_turns_in_the_order_given() -> None:
    assert in_turn([5, 3, 8, 1, 9], ["a", "a", "b", "a", "b"]) == [5, 8, 3, 9, 1]
    assert in_turn([], []) == []


def test_nothing_to_choose_is_no_error() -> None:
    decisions, chosen = decide(seen([0.01, 0.02]), Bounds(0.1, 1.0, ""), 5, np.zeros((1, 2)))
    assert chosen == []
    assert fractions(decisions)["accurate"] == 1
    assert fractions([])["failed"] == 0


def test_every_pressure_goes_with_every_temperature() -> None:
    found = states(Explore(temperatures=[300, 400], pressures=[0, 1]))
    assert found == [State(300, 0), State(300, 1), State(400, 0), State(400, 1)]
    assert str(State(300, None)) == "300 K"


def test_the_first_labels_are_spread_over_the_frames_given() -> None:
    start = boxes()[0]
    frames = [Frame(start.system, source=f"walk#{i}") for i in range(101)]
    found = [f.source for f in evenly(frames, 5)]
    assert found == ["walk#0", "walk#25", "walk#50", "walk#75", "walk#100"]
    assert evenly(frames[:3], 5) == frames[:3]


def record(error: float, chosen: int, accurate: float, failed: float = 0.0) -> dict[str, object]:
    shares = {"accurate": accurate, "candidate": 1 - accurate - failed, "failed": failed}
    return {"control_force_rmse_mev_per_A": error, "chosen": chosen, "fractions": shares}


def test_the_loop_stops_when_nothing_is_left_or_nothing_changes() -> None:
    rule = Converge(iterations=2, candidates=0.02, change=0.1)
    assert reason_to_stop([record(50, 0, 1.0)], rule) == "nothing was left to select"
    unlabelled = record(50, 7, 0.2) | {"selected": 0}
    assert not reason_to_stop([unlabelled], rule), "seven were chosen, whose labels all failed"
    assert not reason_to_stop([record(50, 0, 0.5, failed=0.5)], rule)
    calm = [record(50, 3, 0.5), record(48, 1, 0.99), record(47, 1, 0.985)]
    assert "at most 1.5% of the frames" in reason_to_stop(calm, rule)
    assert not reason_to_stop(calm[1:], rule), "one change is no trend"
    assert not reason_to_stop([*calm[:2], record(40, 1, 0.985)], rule)
    assert not reason_to_stop([*calm[:2], record(47, 1, 0.97)], rule)
