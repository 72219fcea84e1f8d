"""Models of deepmd-kit against the energies, forces and virials that deepmd-kit itself found.

`make.py` made models and reference with deepmd-kit 3.2; the tests need neither.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml
from ase import Atoms

from huozi.arrays import jax
from huozi.potential import load_model
from huozi.potential.deepmd_convert import convert
from huozi.systems import System

HERE = Path(__file__).parent
REFERENCE: dict[str, list[dict[str, Any]]] = json.loads((HERE / "reference.json").read_text())


def system_of(case: dict[str, Any]) -> System:
    cell = case["cell"]
    return System.from_atoms(
        Atoms(case["symbols"], positions=case["positions"], cell=cell, pbc=cell is not None)
    )


@pytest.mark.parametrize("name", REFERENCE)
def test_equal_to_deepmd(name: str) -> None:
    model = convert(HERE / name)
    crystal, _, single = REFERENCE[name]
    cases = (crystal, single) if name == "se_a.yaml" else (crystal,)
    for case in cases:
        found = model.evaluate(system_of(case))
        for value, expected in (
            (found.energy, case["energy"]),
            (found.forces, case["forces"]),
            (found.virial, case["virial"]),
        ):
            scale = max(float(np.abs(expected).max()), 1e-3)
            np.testing.assert_allclose(value, expected, rtol=0, atol=1e-10 * scale)
    assert model.e0[1] == pytest.approx(single["energy"], abs=1e-12)


def test_an_open_cluster() -> None:
    model, case = convert(HERE / "se_a_one_side.dp"), REFERENCE["se_a_one_side.dp"][1]
    found = model.evaluate(system_of(case))
    np.testing.assert_allclose(found.energy, case["energy"], rtol=1e-12)
    np.testing.assert_allclose(found.forces, case["forces"], atol=1e-12)


def test_the_converted_file_is_the_model(tmp_path: Path) -> None:
    model = convert(HERE / "hybrid.yaml")
    model.save(tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.config == model.config
    assert loaded.symbols == model.symbols == ("O", "H")
    jax.tree.map(np.testing.assert_array_equal, loaded.params, model.params)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "dpa2"}, "the descriptor dpa2; Huozi reads se_e2_a"),
        ({"spin": {"use_spin": [True]}}, "a model with spin"),
    ],
)
def test_other_descriptors_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    tree = yaml.safe_load((HERE / "se_r.yaml").read_text())
    tree["model"]["descriptor"].update(change)
    (tmp_path / "model.json").write_text(json.dumps(tree))
    with pytest.raises(ValueError, match=message):
        convert(tmp_path / "model.json")


def test_another_kind_of_model_is_named(tmp_path: Path) -> None:
    tree = yaml.safe_load((HERE / "se_r.yaml").read_text())
    tree["model"]["type"] = "spin_ener"
    (tmp_path / "model.json").write_text(json.dumps(tree))
    with pytest.raises(ValueError, match="a model of type 'spin_ener'"):
        convert(tmp_path / "model.json")


def test_types_that_are_no_elements(tmp_path: Path) -> None:
    tree = yaml.safe_load((HERE / "se_r.yaml").read_text())
    tree["model"]["type_map"] = ["OW", "HW"]
    (tmp_path / "model.json").write_text(json.dumps(tree))
    with pytest.raises(ValueError, match="'OW', which is no chemical symbol"):
        convert(tmp_path / "model.json")


@pytest.mark.parametrize("keep", [10, 3000])
@pytest.mark.parametrize("name", ["se_r.yaml", "zbl.dp"])
def test_truncated(tmp_path: Path, name: str, keep: int) -> None:
    (tmp_path / name).write_bytes((HERE / name).read_bytes()[:keep])
    with pytest.raises(ValueError, match="deepmd-kit"):
        convert(tmp_path / name)


def test_missing_parts(tmp_path: Path) -> None:
    tree = yaml.safe_load((HERE / "se_r.yaml").read_text())
    del tree["model"]["fitting"]
    (tmp_path / "model.json").write_text(json.dumps(tree))
    with pytest.raises(ValueError, match="not the model that deepmd-kit 3 writes"):
        convert(tmp_path / "model.json")


def test_hdf5_of_something_else(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.dp", "w") as stream:
        stream["x"] = np.zeros(3)
    with pytest.raises(ValueError, match="not a whole model file"):
        convert(tmp_path / "other.dp")


@pytest.mark.skipif(shutil.which("dp") is not None, reason="deepmd-kit is installed here")
def test_a_file_of_one_backend_needs_dp(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"anything")
    with pytest.raises(ValueError, match=r"dp convert-backend model\.pt model\.dp"):
        convert(tmp_path / "model.pt")


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such model file"):
        convert(tmp_path / "absent.dp")
