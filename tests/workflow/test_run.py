"""Files are whole or absent; event logs survive a kill in the middle of a line."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest

from huozi.files import atomic_path, digest, without_nan, write_json, write_text
from huozi.workflow import RunFolder


def test_failure_leaves_the_old_file_and_no_debris(tmp_path: Path) -> None:
    target = tmp_path / "result.txt"
    write_text(target, "old")

    def stop_half_way() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("ne")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        stop_half_way()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.txt"]


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_json(tmp_path / "a.json", {"Å": 1})
    finally:
        os.umask(old)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o640


def test_digest_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"huozi")
    assert digest(tmp_path / "x") == hashlib.sha256(b"huozi").hexdigest()


def test_events_round_trip_and_filter(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    assert list(folder.events()) == []
    folder.log("step", value=1)
    folder.log("other")
    folder.log("step", value=2)
    assert [e["value"] for e in folder.events("step")] == [1, 2]
    assert len(list(folder.events())) == 3


def test_events_after_a_line_that_was_cut_off(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.log("step", value=1)
    folder.log("step", value=2)
    whole = folder.events_path.read_bytes()
    folder.events_path.write_bytes(whole[:-9])
    assert [e["value"] for e in folder.events()] == [1]
    folder.log("step", value=3)
    assert [e["value"] for e in folder.events()] == [1, 3]


def test_json_never_holds_nan_or_infinity() -> None:
    values = {"a": [1, True, "inf", None, np.float64("inf")], "b": (np.float32(0.5), float("nan"))}
    text = json.dumps(without_nan(values), allow_nan=False)
    assert json.loads(text) == {"a": [1, True, "inf", None, None], "b": [0.5, None]}
