"""Several processes that share each batch, against one that has all of it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from huozi.arrays import device_mesh
from huozi.potential import TrainConfig, train
from huozi.potential.parallel import join_processes
from huozi.systems import Dataset, read, write
from tests.potential.conftest import morse_frames

SETTINGS = """
architecture: {name: moment, radial: 6, channels: 8, partners: 4, hidden: [16, 16], cutoff: 2.4}
batch_atoms: 32
descriptor_noise: 0
steps: 12
"""


def start(folder: Path, out: str, *options: str) -> subprocess.Popen[str]:
    command = [
        Path(sys.executable).with_name("huozi"), "train", folder / "data.extxyz",
        "--valid", folder / "valid.extxyz", "--config", folder / "config.yaml",
        "--out", folder / out, "--json", *options,
    ]  # fmt: skip
    return subprocess.Popen(
        list(map(str, command)), env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def losses(folder: Path) -> list[dict[str, float]]:
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    keys = ("train_loss", "force_rmse_mev_per_A", "energy_rmse_mev_per_atom")
    return [{k: e[k] for k in keys} for e in events if e["event"] == "validation"]


def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    # Frames of one size, two full batches an epoch: the same frames meet in both runs.
    large = [f for f in morse_frames(16) if len(f.system.species) == 8]
    write(Dataset(tuple(large)), tmp_path / "data.extxyz")
    write(morse_frames(3, seed=1), tmp_path / "valid.extxyz")
    (tmp_path / "config.yaml").write_text(SETTINGS)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    runs = [
        start(tmp_path, "two", "--devices", "2", "--join", f"localhost:{port},{i}/2")
        for i in range(2)
    ]
    data, valid = (read(tmp_path / f"{name}.extxyz") for name in ("data", "valid"))
    train(data, tmp_path / "one", TrainConfig.read(tmp_path / "config.yaml"), valid)
    said = [run.communicate(timeout=240) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], "\n".join(e for _, e in said)
    assert json.loads(said[0][0])["steps"] == 12
    assert said[1][0] == ""  # one of them reports
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == 12
    for a, b in zip(one, two, strict=True):
        assert b == pytest.approx(a, rel=1e-4)


@pytest.mark.parametrize("place", ["node", "node:1,2/2", "node:1", "node:x,0/2"])
def test_bad_place(place: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT,INDEX/COUNT"):
        join_processes(place)


def test_too_many_devices() -> None:
    with pytest.raises(ValueError, match="devices: 99 are asked for"):
        device_mesh(99)
