"""`huozi label --engine wavefunction`, and what its error bars do further on."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms
from typer.testing import CliRunner

from huozi.cli.main import app
from huozi.labels import LabelError, WaveFunctionLevel, make_labeller
from huozi.potential import MomentConfig
from huozi.potential.batch import assemble, choose_capacity, prepare
from huozi.systems import Dataset, Frame, Labels, System, read, weights_of_errors, write
from huozi.units import BOHR, HARTREE

HELIUM = -2.903724377 * HARTREE
"""eV; Pekeris, Phys. Rev. 115, 1216 (1959)."""


def test_helium_has_a_label_with_an_error_bar(tmp_path):
    pytest.importorskip("pyscf")
    write(Dataset((Frame(System.from_atoms(Atoms("He"))),)), tmp_path / "he.extxyz")
    config = tmp_path / "level.yaml"
    config.write_text(
        "{engine: wavefunction, steps: 60, walkers: 128, samples: 100, forces_error: 1}"
    )
    command = ["label", str(tmp_path / "he.extxyz"), "--config", str(config), "--json"]
    result = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "labels.extxyz")])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["labelled"] == 1
    labels = read(tmp_path / "labels.extxyz")[0].labels
    assert 0 < labels.energy_error < 0.03
    assert -4 * labels.energy_error < labels.energy - HELIUM < 0.03 + 4 * labels.energy_error
    assert np.abs(labels.forces).max() < 4 * labels.forces_error.max()  # of an atom alone, zero


def test_diffusion_gives_an_energy_without_forces():
    pytest.importorskip("pyscf")
    level = WaveFunctionLevel(steps=10, walkers=512, diffusion=60, energy_error=0.3)
    labeller = make_labeller(level)
    assert "DMC of 60 steps after VMC(psiformer, 10 steps" in labeller.level
    labels = labeller.label(Atoms("He"))
    assert labels.forces is None
    assert 0 < labels.energy_error < 0.15
    assert abs(labels.energy - HELIUM) < 0.3 + 4 * labels.energy_error  # what is left after 1/Ha


@pytest.mark.parametrize(
    ("settings", "atoms", "words"),
    [
        ({}, Atoms("He", cell=[9, 9, 9], pbc=True), "periodic"),
        ({"multiplicity": 2}, Atoms("He"), "cannot have multiplicity 2"),
        ({"energy_error": 1e-6}, Atoms("He"), r"standard error .* above energy_error"),
    ],
)
def test_what_is_no_label(settings, atoms, words):
    pytest.importorskip("pyscf")
    level = WaveFunctionLevel(steps=1, walkers=8, samples=2, **settings)
    with pytest.raises(LabelError, match=words):
        make_labeller(level).label(atoms)


def test_weights_fall_with_the_variance():
    assert weights_of_errors([None, None]) == [1, 1]
    found = weights_of_errors([None, 0.1, 0.2, 0.4])
    np.testing.assert_allclose(found, [1, 0.04 / 0.05, 0.5, 0.04 / 0.2])
    rows = weights_of_errors([np.array([[0.1, 0.2, 0.4]]), None])
    np.testing.assert_allclose(rows[0], [[0.8, 0.5, 0.2]])
    np.testing.assert_array_equal(weights_of_errors([0.0, None]), [1, 1])


def labelled(energy_error, forces_error=None):
    system = System.from_atoms(Atoms("H2", [[0, 0, 0], [0, 0, 0.8]]))
    return Frame(system, Labels(-31.0, np.ones((2, 3)), None, energy_error, forces_error))


def test_error_bars_are_read_as_written(tmp_path):
    errors = np.arange(6.0).reshape(2, 3) / 7
    write(Dataset((labelled(0.125, errors), labelled(None))), tmp_path / "a.extxyz")
    first, second = read(tmp_path / "a.extxyz")
    assert first.labels.energy_error == 0.125
    np.testing.assert_array_equal(first.labels.forces_error, errors)
    assert (second.labels.energy_error, second.labels.forces_error) == (None, None)
    text = (tmp_path / "a.extxyz").read_text()
    (tmp_path / "b.extxyz").write_text(text.replace("energy_error=0.125", "energy_error=-1"))
    with pytest.raises(ValueError, match=r"energy_error.* standard errors, finite and >= 0"):
        read(tmp_path / "b.extxyz")


def test_a_potential_learns_less_from_uncertain_labels():
    frames = [labelled(0.1, np.full((2, 3), 0.1)), labelled(0.3, np.full((2, 3), 0.3))]
    prepared = prepare(Dataset(tuple(frames)), (1,), (0.0,), MomentConfig())
    batch = assemble(prepared, choose_capacity(prepared, 4))
    middle = np.median([0.1**2, 0.3**2])
    expected = [middle / (middle + error**2) for error in (0.1, 0.3)]
    np.testing.assert_allclose(batch.energy_weight[:2], expected, rtol=1e-6)
    rows = [batch.force_weight[batch.frame == f] for f in (0, 1)]
    np.testing.assert_allclose(rows, [[w, w] for w in expected], rtol=1e-6)


def test_a_functional_learns_less_from_uncertain_labels(tmp_path):
    pytest.importorskip("pyscf")
    from huozi.functional.data import read_references

    write(Dataset((labelled(0.125),)), tmp_path / "a.extxyz")
    reference = read_references([tmp_path / "a.extxyz"])[0]
    assert reference.energy_error == pytest.approx(0.125 / HARTREE)
    assert reference.positions[1, 2] == pytest.approx(0.8 / BOHR)
