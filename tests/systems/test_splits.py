"""Splits are disjoint, complete, reproducible, and do not leak."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from huozi.systems import Dataset, Frame, Labels, Split, read, split, write
from tests.systems.conftest import carbon


def made(sizes, groups=None):
    """Frames of several trajectories, told apart by their positions."""
    frames = []
    for t, size in enumerate(sizes):
        for k in range(size):
            info = {} if groups is None else {"group": groups[len(frames) % len(groups)]}
            frames.append(Frame(carbon(t, k), Labels(float(k)), f"t{t}.xyz#{k}", info))
    return Dataset(tuple(frames))


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(20, 50), min_size=1, max_size=4),
    st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.5), (0.5, 0.2, 0.1), (0.9, 0.1, 0)]),
    st.sampled_from(["frame", "block"]),
    st.integers(0, 5),
)
def test_parts_are_disjoint_and_of_the_size_asked_for(sizes, fractions, by, seed):
    data = made(sizes)
    parts = split(data, fractions, by=by, seed=seed, block=1 if by == "block" else None)
    used = [i for part in parts.indices.values() for i in part]
    assert len(used) == len(set(used))
    assert sorted([*used, *parts.unused]) == list(range(len(data)))
    for name, fraction in zip(("train", "valid", "test"), fractions):
        assert len(parts.indices[name]) == pytest.approx(fraction * len(data), abs=1.01)
        assert list(parts.indices[name]) == sorted(parts.indices[name])
    assert split(data, fractions, by=by, seed=seed, block=1 if by == "block" else None).indices == (
        parts.indices
    )


def test_counts(alloy):
    parts = split(alloy, counts=(20, 5, 5), seed=3)
    assert [len(p) for p in (parts.train, parts.valid, parts.test)] == [20, 5, 5]
    assert len(parts.unused) == 30
    assert parts.train[0] is alloy[parts.indices["train"][0]]
    assert split(alloy, counts=(20, 5, 5), seed=4).indices != parts.indices


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 9), st.integers(0, 20))
def test_groups_stay_together(number, seed):
    data = made([60], [f"g{k}" for k in range(number)])
    parts = split(data, by="group", seed=seed)
    seen = [{f.info["group"] for f in part} for part in (parts.train, parts.valid, parts.test)]
    assert all(seen)
    assert sum(map(len, seen)) == len(set().union(*seen)) == number
    assert len(parts.train) >= len(parts.test)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 6), st.integers(2, 12), st.integers(0, 20))
def test_blocks_keep_their_distance(gap, block, seed):
    data = made([150, 130])
    try:
        parts = split(data, (0.6, 0.2, 0.2), by="block", block=block, gap=gap, seed=seed)
    except ValueError as error:  # gaps that reach over several blocks can use up all frames
        if gap <= 2 * block or "the train part would be empty" not in str(error):
            raise
        return
    where = {i: name for name, part in parts.indices.items() for i in part}
    for i, name in where.items():
        for j in range(i + 1, min(i + gap + 1, len(data))):
            same_file = data[i].source.split("#")[0] == data[j].source.split("#")[0]
            assert not same_file or where.get(j, name) == name


def test_blocks_are_contiguous_by_default():
    parts = split(made([100]), by="block", seed=1)
    assert parts.settings["block"] is None
    first, *_, last = parts.indices["test"]
    assert last - first == 9


def test_blocks_are_a_tenth_of_their_own_trajectory():
    """Single frames of another file do not cut a trajectory into single frames."""
    parts = split(made([200, 3, 1]), by="block", seed=1)
    of = {i: name for name, part in parts.indices.items() for i in part}
    assert all(len({of[i] for i in range(start, start + 20)}) == 1 for start in range(0, 200, 20))


def test_save_and_load(tmp_path, alloy):
    write(alloy[:30], tmp_path / "a.xyz")
    write(alloy[30:], tmp_path / "b.xyz")
    data = read([tmp_path / "a.xyz", tmp_path / "b.xyz"])
    parts = split(data, by="group", seed=2)
    parts.save(tmp_path / "split.json")
    (tmp_path / "moved").mkdir()
    for name in ("a.xyz", "b.xyz"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    again = read([tmp_path / "moved" / name for name in ("a.xyz", "b.xyz")])
    loaded = Split.load(tmp_path / "split.json", again)
    assert loaded.indices == parts.indices
    assert loaded.settings == parts.settings
    assert json.loads((tmp_path / "split.json").read_text())["frames"] == 60

    broken = replace(again[31], labels=Labels(energy=0.0))
    other = Dataset((*again.frames[:31], broken, *again.frames[32:]))
    with pytest.raises(ValueError, match=r"was made for .*b.xyz.*has other contents"):
        Split.load(tmp_path / "split.json", other)
    with pytest.raises(ValueError, match="splits 2 sources, the data set has 1"):
        Split.load(tmp_path / "split.json", again[:30])
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(ValueError, match="is not a split saved by huozi"):
        Split.load(tmp_path / "bad.json", again)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fractions": (0.9, 0.2)}, "add up to more than 1"),
        ({"fractions": (0, 1)}, "the first above zero"),
        ({"fractions": (0.5, -0.1)}, "the first above zero"),
        ({"fractions": (1,)}, "the first above zero"),
        ({"fractions": (float("nan"), 0.5)}, r"finite numbers; found \[nan, 0.5\]"),
        ({"fractions": (0.5, float("nan"))}, r"finite numbers; found \[0.5, nan\]"),
        ({"fractions": (0.2, 0.4, 0.4), "frames": 2}, "too few for the fractions"),
        ({"counts": (50, 20)}, "70 frames asked for, the data set has 60"),
        ({"by": "molecule"}, "unknown way to split 'molecule'"),
        ({"by": "group", "group": "nothing"}, r"a0#0: no 'nothing' to split by; .*\['group'\]"),
        ({"by": "block", "block": 0}, "at least one frame"),
        ({"by": "block", "gap": -1}, "at least no frames"),
        ({"gap": 5}, "are of a split by block, not by frame"),
        ({"by": "group", "block": 5}, "are of a split by block, not by group"),
        ({"group": "phase"}, "'phase' is of a split by group, not by frame"),
        ({"by": "block", "block": 60}, "the valid part would be empty: 60 frames in 1 blocks"),
        ({"by": "block", "block": 5, "gap": 60}, "would be empty: .* with a gap of 60"),
    ],
)
def test_what_cannot_be_split(options, message):
    data = made([options.pop("frames", 60)], ["x", "y"])
    data = Dataset(tuple(replace(f, source=f"a0#{k}") for k, f in enumerate(data)))
    with pytest.raises(ValueError, match=message):
        split(data, **options)
