"""The code in README and handbook runs, and their links lead somewhere."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from huozi.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "README.zh.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]

QUICK = {
    'budget="5min"': 'budget="4s"',
    "--budget 5min": "--budget 4s",
    "temperature=300, steps=20000": "temperature=30, timestep=2, steps=400",
    "--temperature 300 --steps 20000": "--temperature 30 --timestep 2 --steps 400",
    "skip=1.0": "skip=0.2",
    "--skip 1": "--skip 0.2",
}
"""Shorter runs of what the README shows: argon for seconds in place of water for minutes."""


def blocks(page, language):
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def quick(text):
    """Replace lengths; every one must be found, or the README has changed."""
    for long, short in QUICK.items():
        text = text.replace(long, short)
    assert "20000" not in text
    assert "5min" not in text
    return text


@pytest.fixture
def folder(tmp_path, monkeypatch, crystal_file):
    shutil.copy(crystal_file, tmp_path / "my_frames.extxyz")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_and_the_commands_of_the_readme_do_the_same(folder, capsys):
    """The commands, run after the Python, find the same runs: nothing is left to do."""
    (code,) = blocks("README.md", "python")
    assert len([line for line in code.splitlines() if line]) <= 10, "ten lines"
    exec(compile(quick(code), "README.md", "exec"), {})
    assert "force_rmse_mev_per_A" in capsys.readouterr().out
    analysis = json.loads((folder / "my-run" / "analysis" / "analysis.json").read_text())
    assert analysis["radial_distribution"]["Ar-Ar"]["deviation"]["largest"] > 0
    model = (folder / "my-model" / "model.safetensors").read_bytes()

    (commands,) = blocks("README.md", "sh")
    verbs = [shlex.split(line)[1:] for line in quick(commands).splitlines()]
    assert [verb[0] for verb in verbs] == ["data", "data", "train", "test", "md", "analyse"]
    for verb in verbs:
        done = CliRunner().invoke(app, verb, catch_exceptions=False)
        assert done.exit_code == 0, f"{verb}: {done.output}"
        if verb[0] == "md":
            assert "nothing left to do" in done.output
    assert (folder / "my-model" / "model.safetensors").read_bytes() == model
    again = json.loads((folder / "my-run" / "analysis" / "analysis.json").read_text())
    assert again["radial_distribution"] == analysis["radial_distribution"]


def test_both_readmes_show_the_same_code():
    for language in ("python", "sh"):
        assert blocks("README.md", language) == blocks("README.zh.md", language)


def test_the_settings_are_those_of_the_code(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    table = importlib.import_module("settings_table")
    for settings in table.SETTINGS.values():
        assert "\n".join(table.rows(settings)) in page, "run: python docs/settings_table.py"


def test_the_example_of_the_handbook_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("docs/handbook.md", "python")
    found = {}
    exec(compile(code, "handbook.md", "exec"), found)
    assert "meV/atom/ps" in capsys.readouterr().out
    assert found["error"] < 5
    assert abs(found["drift"].value) < 0.05 + 5 * found["drift"].error


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_files_that_pages_name_exist(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (page.parent / target).exists(), target
    for name in re.findall(
        r"`((?:potential|dynamics|neighbors|systems|workflow)/[\w/]+\.py)`", text
    ):
        assert (ROOT / "src" / "huozi" / name).is_file(), name
