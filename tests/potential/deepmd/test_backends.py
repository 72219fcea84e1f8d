"""Files of deepmd-kit's PyTorch and TensorFlow backends, read without either.

`make.py` made them from the models of the other fixtures, so that both must be the same number for
number; test_convert.py compares `excluded.pb` with energies of TensorFlow.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from huozi.arrays import jax
from huozi.cli.main import app
from huozi.potential.deepmd_convert import convert
from huozi.potential.deepmd_file import read_deepmd_file
from huozi.potential.torchscript import read_torchscript

HERE = Path(__file__).parent
FILES = sorted(path.name for path in HERE.iterdir() if path.suffix in (".pth", ".pb"))
no_dp = pytest.mark.skipif(shutil.which("dp") is not None, reason="deepmd-kit is installed here")


@pytest.mark.parametrize("name", [name for name in FILES if name != "excluded.pb"])
def test_the_same_model(name: str) -> None:
    (neutral,) = HERE.glob(f"{Path(name).stem}.[yd][ap]*")
    expected, found = convert(neutral), convert(HERE / name)
    assert found.config == expected.config
    assert found.elements == expected.elements
    assert found.e0 == expected.e0
    jax.tree.map(np.testing.assert_array_equal, found.params, expected.params)
    script = found.metadata["model_def_script"]
    assert script["type_map"] == list(expected.symbols)
    assert found.metadata["converted_from"] == name


def put(target: Path, pickled: bytes, numbers: bytes = b"") -> Path:
    """TorchScript file of one pickle and one storage."""
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("model/data.pkl", pickled)
        archive.writestr("model/data/0", numbers)
    return target


class Harmful:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", [2, 4])
def test_nothing_in_a_pickle_is_run(tmp_path: Path, protocol: int) -> None:
    pickled = pickle.dumps(Harmful(f"touch {tmp_path / 'run'}"), protocol)
    with pytest.raises(
        ValueError, match=r"bad\.pth: not a whole TorchScript file.*(system|PyTorch)"
    ):
        convert(put(tmp_path / "bad.pth", pickled))
    assert not (tmp_path / "run").exists()
    pickle.loads(pickled)  # the file is harmful
    assert (tmp_path / "run").exists()


def tensor(offset: int, shape: tuple[int, ...], strides: tuple[int, ...], count: int) -> bytes:
    """Pickle of a module with one tensor, as PyTorch writes it."""

    def text(value: str) -> bytes:
        return b"X" + struct.pack("<i", len(value)) + value.encode()

    def numbers(*values: int) -> bytes:
        return b"".join(b"J" + struct.pack("<i", value) for value in values)

    storage = (
        text("storage") + b"ctorch\nDoubleStorage\n" + text("0") + text("cpu") + numbers(count)
    )
    arguments = b"(" + storage + b"tQ" + numbers(offset)
    arguments += b"(" + numbers(*shape) + b"t(" + numbers(*strides) + b"t"
    made = b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"
    return b"\x80\x02c__torch__.deepmd\nNet\n)\x81}(" + text("w") + made + b"ub."


def test_a_tensor(tmp_path: Path) -> None:
    numbers = np.arange(12.0)
    made = tensor(1, (2, 3), (1, 4), 12)
    root, extra = read_torchscript(put(tmp_path / "good.pth", made, numbers.tobytes()))
    assert root["@class"] == "Net"
    np.testing.assert_array_equal(root["w"], [[1, 5, 9], [2, 6, 10]])
    assert not extra


@pytest.mark.parametrize(
    ("offset", "shape", "strides", "count", "size"),
    [
        (0, (3, 4), (4, 1), 12, 11),  # fewer bytes than the pickle says
        (0, (3, 4), (4, 1), 11, 11),
        (1, (3, 4), (4, 1), 12, 12),
        (0, (3, 4), (5, 1), 12, 12),
        (-1, (3,), (1,), 12, 12),
        (5, (3,), (-1,), 12, 12),
        (0, (-3, 4), (4, 1), 12, 12),
        (0, (2**30, 2**30), (0, 0), 12, 12),
        (0, (3, 4), (1,), 12, 12),
        (2**30, (1,), (1,), 12, 12),
    ],
)
def test_tensors_beyond_their_numbers(
    tmp_path: Path, offset: int, shape: Any, strides: Any, count: int, size: int
) -> None:
    made = tensor(offset, shape, strides, count)
    with pytest.raises(
        ValueError, match=r"bad\.pth: not a whole TorchScript file \(.*(tensor|bytes)"
    ):
        read_torchscript(put(tmp_path / "bad.pth", made, bytes(8 * size)))


def test_compressed_entries_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", bytes(10**7))
    with pytest.raises(ValueError, match=r"bomb\.pth: .*data\.pkl is compressed"):
        convert(tmp_path / "bomb.pth")


@pytest.mark.parametrize("name", ["se_a.pth", "se_a.pb"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.7, 0.999])
def test_truncated_files_write_nothing(tmp_path: Path, name: str, share: float) -> None:
    whole = (HERE / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
    arguments = ["convert", str(tmp_path / name), str(tmp_path / "model.safetensors")]
    error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, ValueError)
    assert name in str(error)
    assert sorted(tmp_path.iterdir()) == [tmp_path / name]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([".pth", ".pb"]))
def test_random_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes, suffix: str) -> None:
    path = tmp_path_factory.mktemp("random") / f"random{suffix}"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"random\{suffix}: "):
        convert(path)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_random_pickles(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    with pytest.raises(ValueError, match=r"random\.pth: "):
        convert(put(tmp_path_factory.mktemp("random") / "random.pth", data))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_changed_bytes(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A changed file is another model, or refused by its name."""
    name = data.draw(st.sampled_from(["se_a.pb", "se_a.pth", "dpa1_concat.pth"]))
    source = HERE / name
    whole = bytearray(source.read_bytes() if source.suffix == ".pb" else entry(source, "data.pkl"))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("changed") / name
    if source.suffix == ".pb":
        path.write_bytes(whole)
    else:
        copy(source, path, bytes(whole))
    with contextlib.suppress(ValueError):
        assert "model" in read_deepmd_file(path)
        return
    with pytest.raises(ValueError, match=name):
        read_deepmd_file(path)


def entry(source: Path, end: str) -> bytes:
    with zipfile.ZipFile(source) as archive:
        return archive.read(next(n for n in archive.namelist() if n.endswith(end)))


def copy(source: Path, target: Path, pickled: bytes) -> None:
    """Archive with another pickle."""
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w") as changed:
        for name in archive.namelist():
            changed.writestr(name, pickled if name.endswith("data.pkl") else archive.read(name))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b" DescrptSeA", b" DescrptSeT", "the descriptor DescrptSeT; Huozi reads se_e2_a"),
        (b" DPEnergyAtomicModel", b" DPDipoleAtomicModel", "a model of type 'DPDipoleAtomicModel'"),
        (b" EnergyFittingNet", b" DipoleFittingNet", "a model of 'energy' instead of energies"),
    ],
)
def test_other_modules_are_named(tmp_path: Path, old: bytes, new: bytes, message: str) -> None:
    old, new = old.replace(b" ", b"\n"), new.replace(b" ", b"\n")
    pickled = entry(HERE / "se_a.pth", "data.pkl")
    assert old in pickled
    copy(HERE / "se_a.pth", tmp_path / "other.pth", pickled.replace(old, new))
    with pytest.raises(ValueError, match=rf"other\.pth: .*{message}"):
        convert(tmp_path / "other.pth")


@no_dp
def test_other_names_of_attributes_need_dp(tmp_path: Path) -> None:
    pickled = entry(HERE / "se_a.pth", "data.pkl").replace(b"rcut_smth", b"rcut_soft")
    copy(HERE / "se_a.pth", tmp_path / "other.pth", pickled)
    with pytest.raises(ValueError, match=r"rcut_smth.*dp convert-backend other\.pth model\.dp"):
        convert(tmp_path / "other.pth")


def node(name: bytes, operation: bytes) -> bytes:
    inside = b"".join(bytes([k, len(v)]) + v for k, v in ((0x0A, name), (0x12, operation)))
    return bytes([0x0A, len(inside)]) + inside


def test_compressed_graphs(tmp_path: Path) -> None:
    whole = (HERE / "se_a.pb").read_bytes()
    (tmp_path / "small.pb").write_bytes(whole + node(b"filter", b"TabulateFusionSeA"))
    with pytest.raises(ValueError, match=r"small\.pb: a compressed model.*convert the model that"):
        convert(tmp_path / "small.pb")


# Parts of the settings in se_a.pb that do not matter, to write others over them.
DESCRIPTOR, FITTING, MODEL = (
    b'"type_one_side":false', b'"resnet_dt":true,"seed":3', b'"type_map":["O","H"]',
)  # fmt: skip


def graph_with(path: Path, old: bytes, new: bytes) -> Path:
    """se_a.pb with a change of equal length."""
    whole = (HERE / "se_a.pb").read_bytes()
    assert whole.count(old) == 1
    assert len(new) <= len(old)
    path.write_bytes(whole.replace(old, new.ljust(len(old))))
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"se_e2_a"', b'"se_e3"', "the descriptor se_e3; Huozi reads"),
        (b'"sel":[15,17]', b'"sel":[15,18]', "reshape"),
        (b'"sel":[15,17]', b'"sel":[17,15]', "sel was changed"),
        (b'"rcut_smth"', b'"rcut_soft"', "not the graph that deepmd-kit writes .*rcut_smth"),
        (DESCRIPTOR, b'"exclude_types":[[0]]', "excluded pairs of types together"),
        (FITTING, b'"atom_ener":[null,-2.0]', "isolated atoms have set energies"),
        (FITTING, b'"tot_ener_zero":true', "tot_ener_zero"),
        (FITTING, b'"type":"dipole"', "a model of 'dipole' instead of energies"),
        (FITTING, b'"numb_fparam":2', "frame parameters"),
        (MODEL, b'"type":"linear_ener"', "a model of type 'linear_ener'"),
        (MODEL, b'"modifier":{"a":1}', "modified by a second model"),
        (MODEL, b'"spin":{"a":1}', "a model with spin"),
    ],
)
def test_other_settings_of_a_graph(tmp_path: Path, old: bytes, new: bytes, message: str) -> None:
    path = graph_with(tmp_path / "other.pb", old, new)
    with pytest.raises(ValueError, match=rf"other\.pb: .*{message}"):
        convert(path)


@no_dp
@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (b'"se_e2_a",' + DESCRIPTOR, b'"se_atten"', "the descriptor se_atten"),
        (MODEL, b'"use_srtab":"t.txt"', "the setting use_srtab"),
    ],
)
def test_other_graphs_need_dp(tmp_path: Path, old: bytes, new: bytes, what: str) -> None:
    path = graph_with(tmp_path / "other.pb", old, new)
    with pytest.raises(ValueError, match=rf"{what}; run `dp convert-backend other\.pb model\.dp`"):
        convert(path)


def test_a_graph_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "other.pb").write_bytes(node(b"x", b"Placeholder"))
    with pytest.raises(ValueError, match=r"other\.pb: a TensorFlow graph, but no model"):
        convert(tmp_path / "other.pb")
