"""``huozi train`` and ``huozi test`` as a user meets them."""

import json
import re
from types import SimpleNamespace

import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from typer.testing import CliRunner

import huozi.potential
from huozi.arrays import jax
from huozi.cli.main import app
from huozi.potential import Model, MomentConfig, evaluate
from huozi.potential.moment import init
from huozi.systems import read

NOTE = "note: {}: energy from key 'energy', forces from key 'forces' (2 frames in all)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model with random parameters, two frames with labels, and one without."""
    folder = tmp_path_factory.mktemp("potential")
    settings = MomentConfig(cutoff=4.5, radial=4, channels=4, partners=2, hidden=(8,))
    model = Model(settings, (18,), (-1.0,), init(jax.random.key(3), settings, 1))
    model.save(folder / "model.safetensors")
    frames = [Atoms("Ar2", positions=[[0, 0, 0], [0, 0, d]]) for d in (3.5, 3.8)]
    write(folder / "bare.extxyz", frames[0])
    for atoms in frames:
        atoms.calc = SinglePointCalculator(atoms, energy=-2.0, forces=atoms.positions * 0)
    write(folder / "labelled.extxyz", frames)
    return folder


def run(*words):
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_test_says_which_keys_it_used(folder):
    path = folder / "labelled.extxyz"
    result = run("test", folder / "model.safetensors", path)
    assert NOTE.format(path) in result.stderr.splitlines()
    assert "note:" not in result.stdout
    numbers = json.loads(run("test", folder / "model.safetensors", path, "--json").stdout)
    assert numbers["frames"] == 2


def test_test_of_frames_without_labels_is_an_error(folder):
    path = folder / "bare.extxyz"
    hint = re.escape(f"huozi data convert {path} --key energy=KEY")
    with pytest.raises(ValueError, match=rf"no frame has an energy, forces or a virial.*{hint}"):
        run("test", folder / "model.safetensors", path)


def test_train_says_which_keys_it_used(folder, monkeypatch, tmp_path):
    path = folder / "labelled.extxyz"
    metrics = evaluate(huozi.potential.load_model(folder / "model.safetensors"), read(path))

    def train(dataset, out, settings, held_out, report):
        return SimpleNamespace(path=tmp_path, steps=1, seconds=1.0, metrics=metrics)

    monkeypatch.setattr("huozi.potential.train", train)
    words = ("train", path, "--valid", path, "--out", tmp_path)
    result = run(*words)
    assert result.stderr.splitlines().count(NOTE.format(path)) == 2
    assert "note:" not in result.stdout
    notes = json.loads(run(*words, "--json").stdout)["notes"]
    assert [f"note: {note}" for note in notes] == [NOTE.format(path)] * 2


def test_a_budget_takes_the_place_of_the_steps_of_a_file(folder, monkeypatch, tmp_path):
    path, found = folder / "labelled.extxyz", []
    (tmp_path / "settings.yaml").write_text("steps: 7\n")

    def train(dataset, out, settings, held_out, report):
        found.append((settings.steps, settings.budget))
        raise ValueError("seen enough")

    monkeypatch.setattr("huozi.potential.train", train)
    words = ("train", path, "--config", tmp_path / "settings.yaml", "--out", tmp_path / "run")
    for options in ((), ("--budget", "1h")):
        with pytest.raises(ValueError, match="seen enough"):
            run(*words, *options)
    assert found == [(7, 300.0), (None, 3600.0)]
    with pytest.raises(ValueError, match="contradict each other"):
        run(*words, "--budget", "1h", "--steps", 5)
