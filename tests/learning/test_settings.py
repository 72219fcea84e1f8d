"""Every mistake in a file of settings is said at once, with the way out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from huozi.cli.main import app
from huozi.learning import LearnSettings

GOOD = """
boxes: [{molecule: H2O, count: 4, number: 2}]
level: {engine: xtb}
"""


def test_a_short_file_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "learn.yaml"
    path.write_text(GOOD)
    settings = LearnSettings.read(path)
    assert settings.level.engine == "xtb"
    assert settings.boxes[0].count == 4


def test_every_mistake_is_named_with_place_and_nearest_name(tmp_path: Path) -> None:
    path = tmp_path / "learn.yaml"
    path.write_text(
        """
boxes: [{molecule: H2O, cuont: 4}]
level: {engine: xtb, mehtod: GFN1-xTB, charge: half}
explore: {temprature: [300], timestep: -1}
modles: 3
executor: slurm
quorum: 1.5
train: {budget: 5min, arhitecture: {}}
"""
    )
    with pytest.raises(ValueError, match="did you mean") as caught:
        LearnSettings.read(path)
    text = str(caught.value)
    for expected in (
        "boxes.0.cuont",
        "did you mean count?",
        "level.mehtod",
        "did you mean method?",
        "level.charge",
        "explore.temprature",
        "did you mean temperatures?",
        "explore.timestep",
        "greater than 0",
        "modles",
        "did you mean models?",
        "'local' or 'parsl'",
        "quorum",
        "less than or equal to 1",
        "train.arhitecture",
        "did you mean architecture?",
    ):
        assert expected in text, (expected, text)
    assert "\n" not in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("level: {engine: xtb}\n", "structures .* or boxes"),
        ("boxes: [{molecule: H2O}]\n", "level is missing"),
        ("boxes: [{molecule: H2O}]\nlevel: {engine: vasp}\n", "'pyscf', 'xtb', 'gpaw'"),
        ("- a\n- b\n", "name: value"),
    ],
)
def test_other_mistakes(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "learn.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        LearnSettings.read(path)


def test_a_dry_run_estimates_the_cost(tmp_path: Path) -> None:
    path = tmp_path / "learn.yaml"
    path.write_text(
        GOOD.replace("{engine: xtb}", "{engine: ase, calculator: 'ase.calculators.emt:EMT'}")
    )
    command = ["learn", str(path), "--dry-run", "--json", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["labels_at_most"] == 244
    # Eight rounds of three models on two workers, two minutes each, and the final one alone.
    training = (8 * 2 + 1) * 120 / 3600
    parts = found["seconds_at_most"]
    expected = training + (parts["labels"] + parts["exploration"] / 2) / 3600
    assert found["wall_hours_at_most"] == pytest.approx(expected)
    assert not (tmp_path / "run").exists()


def test_a_dry_run_says_what_the_engine_cannot_do(tmp_path: Path) -> None:
    path = tmp_path / "learn.yaml"
    path.write_text(
        "boxes: [{molecule: SiH4, count: 4}]\n"
        "level: {engine: ase, calculator: 'ase.calculators.emt:EMT'}\n"
    )
    result = CliRunner().invoke(
        app, ["learn", str(path), "--dry-run", "--out", str(tmp_path / "r")]
    )
    assert isinstance(result.exception, ValueError)
    assert "cannot be labelled: NotImplementedError: No EMT-potential" in str(result.exception)
