"""The ``input.json`` of deepmd-kit: what is taken, what is said to be ignored or refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from huozi.cli.main import app
from huozi.potential.deepmd_input import is_deepmd_input, read_deepmd_input
from huozi.systems import Dataset, write
from tests.potential.conftest import morse_frames

EXAMPLE: dict[str, Any] = {
    "_comment": "no setting",
    "model": {
        "type_map": ["Ar"],
        "descriptor": {
            "type": "se_e2_a",
            "sel": [60],
            "rcut": 2.4,
            "rcut_smth": 0.4,
            "neuron": [4, 8],
            "axis_neuron": 3,
            "precision": "float32",
            "seed": 1,
        },
        "fitting_net": {"neuron": [16, 16], "resnet_dt": True, "precision": "float32"},
    },
    "learning_rate": {"type": "exp", "start_lr": 0.002, "stop_lr": 1e-8, "decay_steps": 500},
    "loss": {
        "start_pref_e": 0.02,
        "limit_pref_e": 2,
        "start_pref_f": 1000,
        "limit_pref_f": 1,
        "start_pref_v": 0,
        "limit_pref_v": 0.5,
    },
    "training": {
        "training_data": {"systems": ["data"], "batch_size": 2},
        "validation_data": {"systems": ["valid"], "batch_size": 1, "numb_btch": 3},
        "numb_steps": 12,
        "seed": 7,
        "disp_freq": 100,
    },
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Training and validation frames in the folders that the example names."""
    for name, count in (("data", 6), ("valid", 2)):
        write(morse_frames(count), tmp_path / name, "deepmd/npy")
    (tmp_path / "input.json").write_text(json.dumps(EXAMPLE))
    return tmp_path


def changed(folder: Path, place: str, value: Any) -> Path:
    """Write the example with one setting changed, or removed with None."""
    tree = json.loads(json.dumps(EXAMPLE))
    *path, last = place.split(".")
    node = tree
    for step in path:
        node = node[step]
    node[last] = value
    if value is None:
        del node[last]
    (folder / "other.json").write_text(json.dumps(tree))
    return folder / "other.json"


def test_settings_data_and_what_is_ignored(folder: Path) -> None:
    assert is_deepmd_input(folder / "input.json")
    config, data, valid, ignored = read_deepmd_input(folder / "input.json")
    (descriptor,) = config.architecture.descriptors
    assert descriptor.model_dump() == {
        "name": "se_e2_a", "cutoff": 2.4, "onset": 0.4, "neuron": (4, 8), "axis": 3, "sel": (60,),
        "activation": "tanh", "one_side": False, "exclude": (), "protection": 0.0,
    }  # fmt: skip
    assert config.architecture.hidden == (16, 16)
    assert config.architecture.precision == "float32"
    assert (config.learning_rate, config.steps, config.seed) == (0.002, 12, 7)
    assert config.energy_weight == (2e-5, 2.0)
    assert config.virial_weight == (0.0, 0.5)
    assert (len(data), len(valid)) == (6, 2)
    assert config.batch_atoms == 2 * sum(map(len, data)) / len(data)
    assert ignored == [
        'model.descriptor.precision = "float32"',
        "model.descriptor.seed = 1",
        "model.fitting_net.resnet_dt = true",
        'learning_rate.type = "exp"',
        "learning_rate.stop_lr = 1e-08",
        "learning_rate.decay_steps = 500",
        "training.validation_data.numb_btch = 3",
        "training.disp_freq = 100",
    ]


def test_the_command_trains_on_it(folder: Path) -> None:
    place, out = str(folder / "input.json"), str(folder / "run")
    result = CliRunner().invoke(
        app, ["train", place, "--out", out, "--json"], catch_exceptions=False
    )
    assert json.loads(result.stdout)["steps"] == 12
    assert json.loads(result.stdout)["validation"]["frames"] == 2
    assert "  training.disp_freq = 100" in result.stderr
    both = ["train", place, "--config", place, "--out", out]
    assert "no --config" in str(CliRunner().invoke(app, both).exception)


def test_attention_and_hybrids(folder: Path) -> None:
    parts = [{"type": "dpa1", "sel": 40, "attn_layer": 1}, {"type": "se_r", "sel": "auto"}]
    path = changed(folder, "model.descriptor", {"type": "hybrid", "list": parts})
    config, _, _, ignored = read_deepmd_input(path, {"steps": None, "budget": 60})
    first, second = config.architecture.descriptors
    assert (first.name, first.sel, first.mode) == ("se_atten", (40,), "concat")
    assert first.attention_layers == 1
    assert (second.name, second.neuron) == ("se_e2_r", (10, 20, 40))
    assert config.steps is None
    assert 'model.descriptor.list = [{}, {"sel": "auto"}]' in ignored


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        ("model.descriptor.type", "dpa3", "descriptor 'dpa3'"),
        ("model.descriptor", None, "not an input of deepmd-kit"),
        ("model.descriptor.rcut", -1, "cutoff"),
        ("model.fitting_net.type", "dipole", "energies"),
        ("model.fitting_net.precision", "bfloat16", "float32"),
        ("model.type", "pairtab", "standard"),
        ("loss.type", "dos", "loss"),
        ("training.training_data", None, "names no data"),
        ("training.training_data.batch_size", "mixed:4", "batch_size"),
    ],
)
def test_refusals_name_the_setting(folder: Path, place: str, value: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_deepmd_input(changed(folder, place, value))


def test_missing_data_and_other_files(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match="elsewhere"):
        read_deepmd_input(changed(folder, "training.training_data.systems", "elsewhere"))
    (folder / "list.json").write_text("[1]")
    (folder / "broken.json").write_text("{")
    for name in ("list.json", "broken.json", "absent.json", "data"):
        assert not is_deepmd_input(folder / name)


def test_excluded_types_are_those_of_the_input(tmp_path: Path) -> None:
    """Types of deepmd-kit follow type_map; elements of a model here, their atomic numbers."""
    frames = []
    for frame in morse_frames(4):
        species = np.where(np.arange(len(frame)) % 2, 1, 8)
        frames.append(replace(frame, system=replace(frame.system, species=species)))
    write(Dataset(tuple(frames)), tmp_path / "data", "deepmd/npy")
    tree = json.loads(json.dumps(EXAMPLE))
    tree["model"]["type_map"] = ["O", "H", "C"]
    tree["model"]["descriptor"]["exclude_types"] = [[0, 0], [1, 2]]
    del tree["training"]["validation_data"]
    (tmp_path / "input.json").write_text(json.dumps(tree))
    config, data, _, _ = read_deepmd_input(tmp_path / "input.json")
    assert data.symbols == ("H", "O"), "the system's own type_map.raw, H O, is no contradiction"
    (descriptor,) = config.architecture.descriptors
    assert descriptor.exclude == ((1, 1),), "O-O; there is no carbon"
