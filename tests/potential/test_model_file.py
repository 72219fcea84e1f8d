"""Model files: exact round trip, and every way in which a file can be wrong."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from huozi.potential import Model, load_model
from huozi.systems import System
from tests.potential.conftest import random_model


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    random_model((1, 8)).astype("float32").save(tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_round_trip_is_exact(saved: Path) -> None:
    model, loaded = random_model((1, 8)).astype("float32"), load_model(saved)
    system = System.from_atoms(Atoms("OHH", positions=np.eye(3)))
    assert loaded.config == model.config
    assert loaded.symbols == ("H", "O")
    assert float(loaded.evaluate(system).energy) == float(model.evaluate(system).energy)


def test_a_run_folder_stands_for_its_model(saved: Path) -> None:
    assert isinstance(load_model(saved.parent), Model)


def test_truncated(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-100])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        load_model(saved)


def test_changed_parameter(saved: Path) -> None:
    with safe_open(saved, framework="numpy") as stream:
        metadata = stream.metadata()
    tensors = {k: v.copy() for k, v in load_file(saved).items()}
    tensors["readout"][0, 0] += 1
    save_file(tensors, saved, metadata=metadata)
    with pytest.raises(ValueError, match="do not match the digest"):
        load_model(saved)


def test_changed_header(saved: Path) -> None:
    """The digest covers the header too: E0 or the cutoff cannot be altered unnoticed."""
    with safe_open(saved, framework="numpy") as stream:
        header = json.loads(stream.metadata()["huozi"])
    header["e0_eV"][0] += 1.0
    save_file(load_file(saved), saved, metadata={"huozi": json.dumps(header)})
    with pytest.raises(ValueError, match="do not match the digest"):
        load_model(saved)


def test_foreign_safetensors(tmp_path: Path) -> None:
    save_file({"x": np.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="not a Huozi model"):
        load_model(tmp_path / "other.safetensors")


def test_newer_format(saved: Path) -> None:
    with safe_open(saved, framework="numpy") as stream:
        header = json.loads(stream.metadata()["huozi"])
    header["format"] = "huozi-potential-99"
    save_file(load_file(saved), saved, metadata={"huozi": json.dumps(header)})
    with pytest.raises(ValueError, match="huozi-potential-99"):
        load_model(saved)


def test_pickle_is_refused_unread(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return open, (str(tmp_path / "exploded"),)

    for protocol in (2, 4, 5):
        (tmp_path / "model.pt").write_bytes(pickle.dumps(Bomb(), protocol))
        with pytest.raises(ValueError, match="pickle"):
            load_model(tmp_path / "model.pt")


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such model file"):
        load_model(tmp_path / "absent.safetensors")
