"""`huozi label --engine huozi-functional`."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import write
from ase.units import Bohr, Hartree

from huozi.cli.label import read_level
from huozi.functional import NeuralKS
from huozi.functional.model import random_model
from huozi.functional.scf import orbital_digests
from huozi.labels import FunctionalLevel, LabelError, make_labeller
from huozi.labels.run import label_frame, label_task
from huozi.systems import read
from tests.functional.conftest import molecule as pyscf_molecule


@pytest.fixture
def model(tmp_path, water):
    model = random_model("hf", orbital_digests(water), seed=1, size=3e-3)
    model = type(model)(model.base, model.orbitals, model.params, model.basis, "6-31g")
    model.save(tmp_path / "model.safetensors")
    return model


@pytest.mark.parametrize("self_consistent", [True, False])
def test_labels_are_the_fields_of_the_functional(tmp_path, model, self_consistent):
    atoms = molecule("H2O")
    labeller = make_labeller(FunctionalLevel(method=tmp_path, self_consistent=self_consistent))
    found = labeller.label(atoms)
    mol = pyscf_molecule(list(zip(atoms.symbols, atoms.positions)))
    mf = NeuralKS(mol, "hf", model, self_consistent=self_consistent)
    assert found.energy == pytest.approx(mf.kernel() * Hartree, abs=1e-6)
    expected = -mf.nuc_grad_method().kernel() * Hartree / Bohr
    np.testing.assert_allclose(found.forces, expected, atol=1e-4)


def test_settings_survive_the_way_through_the_command(tmp_path, model):
    """The level that the command makes, as JSON to the task that labels a frame."""
    level = read_level(None, {"engine": "huozi-functional", "method": str(tmp_path)})
    write(tmp_path / "frame.extxyz", molecule("H2O"))
    frame = next(iter(read(tmp_path / "frame.extxyz")))
    task = label_task(frame, level)
    found = label_frame(tmp_path, json.loads(json.dumps(task.inputs)), task.files)
    direct = make_labeller(level).label(molecule("H2O"))
    assert found["energy"] == pytest.approx(direct.energy, abs=1e-6)
    np.testing.assert_allclose(found["forces"], direct.forces, atol=1e-4)
    key = task.key()
    (tmp_path / "moved").mkdir()
    (tmp_path / "model.safetensors").rename(tmp_path / "moved" / "model.safetensors")
    moved = read_level(None, {"engine": "huozi-functional", "method": str(tmp_path / "moved")})
    assert label_task(frame, moved).key() == key


def test_what_has_no_label_is_named(tmp_path, model):
    labeller = make_labeller(FunctionalLevel(method=tmp_path))
    with pytest.raises(LabelError, match="knows H, O, not N"):
        labeller.label(molecule("NH3"))
    with pytest.raises(LabelError, match="periodic"):
        labeller.label(Atoms("OH2", molecule("H2O").positions, cell=[9, 9, 9], pbc=True))
    with pytest.raises(LabelError, match="electrons"):
        labeller.label(molecule("OH"))
    with pytest.raises(LabelError, match="not converge"):
        make_labeller(FunctionalLevel(method=tmp_path, max_steps=1)).label(molecule("H2O"))
    with pytest.raises(ValueError, match="no functional at"):
        FunctionalLevel(method=tmp_path / "none")
    with pytest.raises(ValueError, match="not the model of these settings"):
        FunctionalLevel(method=tmp_path, digest="0" * 64)
