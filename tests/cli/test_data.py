"""``huozi data`` as a user meets it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from tests.systems.conftest import make_alloy
from typer.testing import CliRunner

from huozi.cli.data import app
from huozi.systems import Dataset, Split, read, write


def run(*words):
    result = CliRunner().invoke(app, [str(w) for w in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def alloy():
    return make_alloy()


@pytest.fixture
def good(tmp_path, alloy):
    write(alloy, tmp_path / "good.extxyz")
    return tmp_path / "good.extxyz"


@pytest.fixture
def bad(tmp_path, alloy):
    forces = alloy[3].labels.forces.copy()
    forces[5] = np.nan
    broken = replace(alloy[3], labels=replace(alloy[3].labels, forces=forces))
    near = alloy[7].system.positions.copy()
    near[1] = near[0] + 0.3
    close = replace(alloy[7], system=replace(alloy[7].system, positions=near))
    frames = list(alloy)
    frames[3], frames[7] = broken, close
    write(Dataset(tuple([*frames, alloy[0], *alloy[10:15]])), tmp_path / "bad.extxyz")
    return tmp_path / "bad.extxyz"


def test_help_teaches():
    for verb in ("info", "check", "convert", "split"):
        text = run(verb, "--help").stdout
        assert f"Example: huozi data {verb}" in " ".join(text.split())


def test_info(good):
    text = run("info", good).stdout
    for words in ("60 with 1,920 atoms", "Cu Au", "Cu32 (30)", "g/cm^3", "meV/atom", "energy"):
        assert words in text
    record = json.loads(run("info", good, "--json").stdout)
    assert record["frames"] == 60
    assert record["compositions"] == {"Au16Cu16": 30, "Cu32": 30}


def test_info_of_few_labels(tmp_path):
    (tmp_path / "a.xyz").write_text('1\nenergy=-3 pbc="F F F"\nO 0 0 0\n1\n\nO 0 0 0\n')
    text = " ".join(run("info", tmp_path / "a.xyz").stdout.split())
    assert "energy -3.0000 eV/atom, in 1 of 2 frames" in text
    assert "O: energy of the isolated atom in the data" in text
    assert "none" in text
    (tmp_path / "b.xyz").write_text("3\nenergy=-30\nO 0 0 0\nH 0 0 1\nH 1 0 0\n")
    text = " ".join(run("info", tmp_path / "b.xyz").stdout.split())
    assert "not determined by the compositions" in text


def test_check_of_clean_data(good):
    result = run("check", good)
    assert result.exit_code == 0
    assert "60 frames checked: nothing suspicious found" in result.stdout
    record = json.loads(run("check", good, "--json").stdout)
    assert record["findings"] == []
    assert record["errors"] == 0


def test_check_of_damaged_data(bad):
    result = run("check", bad)
    assert result.exit_code == 1
    assert "bad.extxyz#3: the force on atom 5 (Cu) is [nan, nan, nan] eV/Å" in result.stdout
    assert "bad.extxyz#7: atoms 0 (" in result.stdout
    assert "duplicate (6)" in result.stdout
    assert "... and 3 more (--all lists them)" in result.stdout
    assert "remedy:" in result.stdout
    assert "... and" not in run("check", bad, "--all").stdout
    result = run("check", bad, "--json")
    assert result.exit_code == 1
    record = json.loads(result.stdout)
    first = record["findings"][0]
    assert (first["severity"], first["code"], first["frame"], first["atom"]) == (
        "error",
        "not-finite",
        3,
        5,
    )


def test_warnings_alone_are_no_failure(tmp_path, alloy):
    write(alloy + alloy[:1], tmp_path / "twice.extxyz")
    result = run("check", tmp_path / "twice.extxyz")
    assert result.exit_code == 0
    assert "0 errors, 1 warnings" in result.stdout


def test_check_of_unreadable_files(tmp_path, good):
    (tmp_path / "cut.extxyz").write_bytes(good.read_bytes()[:-500])
    result = run("check", good, tmp_path / "cut.extxyz", "--json")
    assert result.exit_code == 1
    record = json.loads(result.stdout)
    assert record["frames"] == 60
    assert [f["code"] for f in record["findings"]] == ["unreadable"]
    assert "truncated" in record["findings"][0]["message"]
    with pytest.raises(FileNotFoundError):
        run("check", "nowhere.xyz")


def test_convert_there_and_back(tmp_path, good, alloy):
    result = run("convert", good, "--out", tmp_path / "npy")
    assert "60 frames written" in result.stdout
    assert "deepmd/npy cannot hold 'group'" in result.stderr
    record = json.loads(
        run("convert", tmp_path / "npy", "--out", tmp_path / "b.xyz.gz", "--json").stdout
    )
    assert record["frames"] == 60
    assert sorted(f.labels.energy for f in read(tmp_path / "b.xyz.gz")) == sorted(
        f.labels.energy for f in alloy
    )
    with pytest.raises(ValueError, match="--overwrite"):
        run("convert", good, "--out", tmp_path / "npy")
    run("convert", good, "--out", tmp_path / "npy", "--overwrite")
    run("convert", good, "--out", tmp_path / "data", "--to", "extxyz")
    assert len(read(tmp_path / "data", format="extxyz")) == 60


def test_keys_and_types(tmp_path, good):
    two = good.read_text().replace("energy=", "REF_energy=1 energy=")
    (tmp_path / "two.extxyz").write_text(two)
    with pytest.raises(ValueError, match="--key energy="):
        run("info", tmp_path / "two.extxyz")
    record = json.loads(
        run("info", tmp_path / "two.extxyz", "--key", "energy=REF_energy", "--json").stdout
    )
    assert record["energy"]["mean"] == pytest.approx(1 / 32)
    with pytest.raises(ValueError, match="--key takes QUANTITY=KEY"):
        run("info", good, "--key", "energy")
    run("convert", good, "--out", tmp_path / "npy")
    for path in (tmp_path / "npy").rglob("type_map.raw"):
        path.unlink()
    assert "Cu Au" in run("info", tmp_path / "npy", "--type-map", "Cu, Au").stdout


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ((), (48, 6, 6)),
        (("--counts", "30,10,5"), (30, 10, 5)),
        (("--by", "group", "--fractions", "0.6,0.2,0.2"), (36, 12, 12)),
        (("--by", "block", "--block", "6", "--fractions", "0.8,0.2"), (48, 12, 0)),
    ],
)
def test_split(tmp_path, good, options, sizes):
    out = tmp_path / "parts"
    text = run("split", good, "--out", out, *options).stdout
    assert f"train   {sizes[0]:7} frames" in text
    for name, size in zip(("train", "valid", "test"), sizes):
        path = out / f"{name}.extxyz"
        assert path.exists() == bool(size)
        assert not size or len(read(path)) == size
    parts = Split.load(out / "split.json", read(good))
    assert tuple(len(p) for p in parts.indices.values()) == sizes
    with pytest.raises(ValueError, match="--overwrite"):
        run("split", good, "--out", out, *options)
    record = json.loads(run("split", good, "--out", out, "--overwrite", "--json", *options).stdout)
    assert record["frames"]["train"] == sizes[0]
    assert "energy from key" in record["notes"][0]


def test_convert_keeps_files_of_others(tmp_path, good):
    run("convert", good, "--out", tmp_path / "npy")
    (tmp_path / "npy" / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match=r"holds thesis.tex,.*choose another folder"):
        run("convert", good, "--out", tmp_path / "npy", "--overwrite")
    assert (tmp_path / "npy" / "thesis.tex").read_text() == "x"


def test_split_leaves_no_old_part(tmp_path, good):
    out = tmp_path / "parts"
    run("split", good, "--out", out, "--counts", "40,10,10")
    (out / "train.extxyz").unlink()
    (out / "valid.extxyz").unlink()
    words = ("split", good, "--out", out, "--counts", "55,5")
    with pytest.raises(ValueError, match=r"test.extxyz exists; give --overwrite"):
        run(*words)
    run(*words, "--overwrite")
    assert sorted(p.name for p in out.iterdir()) == ["split.json", "train.extxyz", "valid.extxyz"]
    with pytest.raises(ValueError, match=r"valid.extxyz is read, and would be replaced"):
        run("split", out / "valid.extxyz", "--out", out, "--counts", "3,0,2", "--overwrite")
    assert len(read(out / "valid.extxyz")) == 5
    with pytest.raises(ValueError, match=r"train.extxyz is read, and would be replaced"):
        run("split", out / "train.extxyz", "--out", out, "--counts", "9,1", "--overwrite")
    assert len(read(out / "train.extxyz")) == 55


def test_split_options_are_checked(tmp_path, good):
    with pytest.raises(ValueError, match="--fractions takes numbers"):
        run("split", good, "--out", tmp_path / "x", "--fractions", "most")
    with pytest.raises(ValueError, match=r"finite numbers; found \[nan, 0.5\]"):
        run("split", good, "--out", tmp_path / "x", "--fractions", "nan,0.5")
    with pytest.raises(ValueError, match="unknown way to split"):
        run("split", good, "--out", tmp_path / "x", "--by", "colour")
    assert not (tmp_path / "x").exists()
