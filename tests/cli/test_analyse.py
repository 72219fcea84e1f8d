import json

import numpy as np
import pytest
import typer
from ase.build import bulk
from ase.io import write
from typer.testing import CliRunner

from huozi.cli.analyse import register, split_pair

app = typer.Typer()
register(app)


@app.callback()
def _keep_the_verb():
    pass


@pytest.fixture
def trajectory(tmp_path):
    rng = np.random.default_rng(0)
    frames = [bulk("Si", cubic=True) for _ in range(8)]
    for atoms in frames:
        atoms.rattle(0.05, rng=rng)
    write(tmp_path / "si.extxyz", frames)
    return tmp_path / "si.extxyz"


def test_json_is_one_object_and_the_files_are_beside_the_trajectory(trajectory):
    result = CliRunner().invoke(app, ["analyse", str(trajectory), "--json"])
    assert result.exit_code == 0, result.output
    numbers = json.loads(result.stdout)
    assert numbers["frames"] == 8
    assert numbers["radial_distribution"]["Si-Si"]["first_shell"]["neighbours"] == pytest.approx(4)
    assert (trajectory.parent / "si-analysis" / "report.html").exists()


def test_the_words_for_people_name_the_report(trajectory, tmp_path):
    arguments = ["analyse", str(trajectory), "--reference", str(trajectory), "--out"]
    result = CliRunner().invoke(app, [*arguments, str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "Si-Si neighbours within" in result.stdout
    assert "g(r) Si-Si, largest deviation from the reference" in result.stdout
    assert f"Report: {tmp_path / 'out' / 'report.html'}" in result.stdout


def test_pairs_are_two_symbols():
    assert split_pair("O-H") == ("O", "H")
    for text in ("OH", "O-", "-H", "O-H-O"):
        with pytest.raises(ValueError, match="--pair takes two chemical symbols such as O-H"):
            split_pair(text)
