"""What the demo learns from, starts from, and compares with."""

from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from ase.build import bulk, molecule

from huozi.demo import embedded_water
from huozi.demo.data import (
    choose_start,
    is_water,
    label_temperature,
    prepare_data,
    substance,
)
from huozi.systems import Dataset, Frame, Labels, System, read, write
from tests.demo.conftest import cluster, crystal


def warm(dataset, temperatures):
    return Dataset(
        tuple(
            replace(frame, info={"temperature_K": t})
            for frame, t in zip(dataset, temperatures, strict=True)
        )
    )


def test_a_fifth_of_the_frames_is_kept_for_testing_in_blocks(tmp_path, crystal_file):
    summary = prepare_data(tmp_path / "data", [crystal_file], 40.0)
    train, test = read(tmp_path / "data" / "train.extxyz"), read(tmp_path / "data" / "test.extxyz")
    assert (len(train), len(test)) == (summary["train_frames"], summary["test_frames"]) == (48, 12)
    tested = {frame.system.positions.tobytes() for frame in test}
    assert tested.isdisjoint(frame.system.positions.tobytes() for frame in train)
    whole = [frame.system.positions.tobytes() in tested for frame in read(crystal_file)]
    assert (np.diff(np.flatnonzero(whole)) == 1).sum() >= 6, "blocks of two frames"


def test_data_are_prepared_once(tmp_path, crystal_file):
    first = prepare_data(tmp_path / "data", [crystal_file], 40.0)
    written = (tmp_path / "data" / "train.extxyz").stat().st_mtime_ns
    assert prepare_data(tmp_path / "data", ["not there"], 40.0) == first
    assert prepare_data(tmp_path / "data", [crystal_file], 40.0) == first
    assert (tmp_path / "data" / "train.extxyz").stat().st_mtime_ns == written


def test_frames_that_have_changed_since_are_refused(tmp_path):
    data = tmp_path / "argon.extxyz"
    write(crystal(20, 1), data)
    first = prepare_data(tmp_path / "out" / "data", [data], 40.0)
    write(crystal(20, 2), data, overwrite=True)
    with pytest.raises(ValueError, match=r"other frames than .*argon\.extxyz now has"):
        prepare_data(tmp_path / "out" / "data", [data], 40.0)
    data.unlink()
    assert prepare_data(tmp_path / "out" / "data", [data], 40.0) == first


def test_the_reference_has_the_density_of_the_start(tmp_path, crystal_file):
    summary = prepare_data(tmp_path / "data", [crystal_file], 40.0)
    reference = read(tmp_path / "data" / "reference.extxyz")
    start = read(tmp_path / "data" / "start.extxyz")[0].system.density
    found = [frame.system.density for frame in reference]
    np.testing.assert_allclose(found, start, rtol=1e-6)
    assert summary["reference"]["frames"] == len(reference) == 45
    assert summary["reference"]["temperature_K"] is None


def test_frames_that_sample_no_state_are_no_reference(tmp_path):
    frames = [
        replace(frame, info={"equilibrium": index % 2 == 0})
        for index, frame in enumerate(crystal(40, 3))
    ]
    write(Dataset(tuple(frames)), tmp_path / "mixed.extxyz")
    prepare_data(tmp_path / "data", [tmp_path / "mixed.extxyz"], 40.0)
    reference = read(tmp_path / "data" / "reference.extxyz")
    assert {frame.info["equilibrium"] for frame in reference} == {True}


def test_the_start_and_the_reference_are_as_hot_as_the_simulation(tmp_path):
    dataset = warm(crystal(40, 3), 30.0 + 10.0 * (np.arange(40) % 8))
    write(dataset, tmp_path / "warm.extxyz")
    summary = prepare_data(tmp_path / "out", [tmp_path / "warm.extxyz"], 60.0)
    heats = [frame.info["temperature_K"] for frame in read(tmp_path / "out" / "test.extxyz")]
    assert abs(summary["start"]["temperature_K"] - 60) == min(abs(t - 60) for t in heats)
    assert summary["reference"]["temperature_K"] == [40.0, 80.0]


def test_the_start_is_of_the_most_frequent_composition():
    dataset = crystal(4, 4) + cluster(2, 4)
    start = choose_start(dataset, 40.0)
    assert len(start) == 32
    assert start.system.density == pytest.approx(np.median([f.system.density for f in dataset[:4]]))


def test_open_systems_have_no_density_and_no_reference(tmp_path, cluster_file):
    summary = prepare_data(tmp_path / "data", [cluster_file], 20.0)
    assert summary["start"]["density_g_cm3"] is None
    assert summary["reference"]["frames"] == 0
    assert not (tmp_path / "data" / "reference.extxyz").exists()


def test_water_is_recognised():
    water = molecule("H2O", cell=[4, 4, 4], pbc=True) * (2, 2, 1)
    assert is_water(System.from_atoms(water))
    assert substance(System.from_atoms(water)) == "4 water molecules"
    assert not is_water(System.from_atoms(molecule("H2O2")))
    assert substance(System.from_atoms(bulk("Si"))) == "Si2"


def test_temperature_is_read_under_either_name():
    system = System.from_atoms(bulk("Si"))
    assert label_temperature(Frame(system, info={"temperature": 300})) == 300.0
    assert label_temperature(Frame(system, info={"temperature_K": 310.5})) == 310.5
    assert label_temperature(Frame(system, info={"temperature": "hot"})) is None


def test_the_embedded_set_is_water_in_parts_without_overlap():
    if not files("huozi.demo").joinpath("data/water_train.extxyz.gz").is_file():
        with pytest.raises(FileNotFoundError, match="no embedded data"):
            embedded_water()
        pytest.skip("this copy has no embedded data")
    train, test = embedded_water()
    assert len(train) > len(test) > 0
    assert all(is_water(frame.system) for frame in train + test)
    seen = {frame.system.positions.tobytes() for frame in train}
    assert all(frame.system.positions.tobytes() not in seen for frame in test)
    assert all(frame.labels.forces is not None for frame in train + test)


def test_data_without_labels_are_refused_and_nothing_is_written(tmp_path):
    bare = Dataset(tuple(replace(frame, labels=Labels()) for frame in crystal(10, 5)))
    write(bare, tmp_path / "bare.extxyz")
    with pytest.raises(ValueError, match="no frame of the data set has an energy or forces"):
        prepare_data(tmp_path / "out", [tmp_path / "bare.extxyz"], 40.0)
    assert not (tmp_path / "out").exists()
