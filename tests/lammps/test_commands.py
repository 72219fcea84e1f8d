"""``huozi lammps install``, ``export`` and ``benchmark`` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.io import write
from typer.testing import CliRunner

from huozi import kernels
from huozi.benchmark import ENGINES, cost_per_atom, deeppot_cost_per_atom, replicate
from huozi.cli.main import app
from huozi.potential import MomentConfig


def invoke(*words: object) -> str:
    """Run a verb that must succeed."""
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def structure(tmp_path: Path) -> Path:
    """One molecule in a small periodic cell."""
    atoms = molecule("H2O", cell=[4.0, 5.0, 4.5], pbc=True)
    write(tmp_path / "water.extxyz", atoms)
    return tmp_path / "water.extxyz"


def test_export_builds_the_plugin_and_says_how_to_use_it(models: list[Path]) -> None:
    numbers = json.loads(invoke("export", models[0], "--json"))
    assert numbers["elements"] == ["H", "O"]
    assert Path(numbers["lammps_plugin"]).exists()
    said = invoke("export", models[0])
    assert f"pair_style huozi {models[0].resolve()}" in said
    assert "pair_coeff * * H O" in said
    for program in ("ASE", "i-PI"):
        assert program in said


def test_benchmark_times_every_engine(models: list[Path], structure: Path) -> None:
    output = invoke("benchmark", models[0], structure, "--atoms", "40", "--json")
    rows = json.loads(output)["engines"]
    assert [row["engine"] for row in rows] == list(ENGINES)
    for row in rows:
        assert row["atoms"] >= 40
        assert row["us_per_atom_step"] > 0
        assert row["peak_memory_MB"] > 10
        assert 0 < row["fraction_of_peak"] < 1
        seconds = 1e-6 * row["us_per_atom_step"] * row["atoms"]
        assert row["ns_per_day"] == pytest.approx(86400 * 0.5e-6 / seconds)


def test_mistakes_are_named(models: list[Path], structure: Path) -> None:
    for words, message in (
        (("--engine", "gpu"), "gpu"),
        ((str(structure.with_name("none.xyz")),), "no structure file"),
    ):
        result = CliRunner().invoke(app, ["benchmark", str(models[0]), *words])
        assert isinstance(result.exception, (ValueError, FileNotFoundError))
        assert message in str(result.exception)
    with pytest.raises(ValueError, match="periodic"):
        replicate(molecule("H2O"), 10)


def test_replicas_keep_the_density() -> None:
    small = bulk("Cu", cubic=True)
    large = replicate(small, 100)
    assert len(large) >= 100
    assert large.get_volume() / len(large) == pytest.approx(small.get_volume() / len(small))
    assert np.ptp(large.cell.lengths()) <= small.cell.lengths()[0] + 1e-9


def test_operations_by_hand() -> None:
    """A model so small that its network can be counted by hand."""
    config = MomentConfig(radial=4, degree=0, channels=1, partners=1, hidden=(1,))
    none, one = (cost_per_atom(config, 1, inside, inside).flops for inside in (0, 1))
    # Mixing 2 x 2 x 4; one product of one harmonic, three times; two invariants to one neuron,
    # forwards and backwards; its activation.
    assert none == 16 + 6 + 8 + 25
    assert one > none


def test_operations_of_deeppot_by_hand() -> None:
    """Two products of four harmonics, three times; two inputs to one neuron and back; its tanh."""
    kernel = {"sets": 1, "channels": 2, "products": [[0, 1]]}
    alone, near = (deeppot_cost_per_atom(kernel, (1,), reach, 0).flops for reach in (0, 3))
    assert alone == 48 + 8 + 25
    # Values one way, gradients of values and of slopes the other: products of 3 x 2 x 4.
    assert near - alone == 3 * 2 * 3 * 2 * 4


def test_the_peak_of_the_machine_is_measured() -> None:
    flops, copied = kernels.machine_peak(1)
    assert 0 < flops < np.inf
    assert 0 < copied < np.inf
