"""Several models in one file: the same models, their deviation, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from huozi.arrays import jax
from huozi.cli.main import app
from huozi.potential import Ensemble, Model, calibrate, evaluate, load_ensemble, load_model
from huozi.potential.calibration import fit_scale
from huozi.systems import Dataset, Frame, Labels, System, write
from tests.potential.conftest import SMALL, random_model


def varied(seed: int) -> Model:
    """A float32 model of hydrogen and oxygen, a little different for each seed."""
    rng, first = np.random.default_rng(seed), random_model((1, 8))
    params = jax.tree.map(lambda x: x * (1 + 0.05 * rng.normal(size=x.shape)), first.params)
    return replace(first, params=params, metadata={"seed": seed}).astype("float32")


@pytest.fixture(scope="module")
def members() -> tuple[Model, ...]:
    return tuple(varied(seed) for seed in range(3))


@pytest.fixture
def saved(members: tuple[Model, ...], tmp_path: Path) -> Path:
    Ensemble(members).save(tmp_path / "ensemble.safetensors")
    return tmp_path / "ensemble.safetensors"


def labelled(members: tuple[Model, ...], water: Atoms, frames: int = 4) -> Dataset:
    """Shaken water whose forces are those of the first model, and noise."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(frames):
        atoms = water.copy()
        atoms.rattle(0.02, seed=i)
        system = System.from_atoms(atoms)
        energy, forces, _ = members[0].evaluate(system)
        labels = Labels(float(energy), forces + rng.normal(size=forces.shape))
        found.append(Frame(system, labels, f"water#{i}"))
    return Dataset(tuple(found))


def test_the_file_gives_back_every_model(members: tuple[Model, ...], saved: Path) -> None:
    """Bitwise: a member written alone is the file that it was."""
    loaded = load_ensemble(saved)
    assert [m.to_bytes() for m in loaded.members] == [m.to_bytes() for m in members]
    assert load_model(saved).to_bytes() == members[0].to_bytes()


def test_a_file_of_one_model_is_an_ensemble_of_one(
    members: tuple[Model, ...], tmp_path: Path
) -> None:
    members[0].save(tmp_path / "one.safetensors")
    one = load_ensemble(tmp_path / "one.safetensors")
    one.save(tmp_path / "again.safetensors")
    assert len(one.members) == 1
    alone = (tmp_path / "one.safetensors").read_bytes()
    assert (tmp_path / "again.safetensors").read_bytes() == alone
    assert b"members" not in alone


def test_the_deviation_is_that_of_the_separate_models(
    members: tuple[Model, ...], saved: Path, water: Atoms
) -> None:
    system, loaded = System.from_atoms(water), load_ensemble(saved)
    forces = np.stack([m.evaluate(system).forces for m in members])
    expected = [
        np.sqrt(np.mean([np.sum((f[i] - forces[:, i].mean(0)) ** 2) for f in forces]))
        for i in range(len(water))
    ]
    np.testing.assert_array_equal(loaded.forces(system), forces)
    np.testing.assert_allclose(loaded.deviation(system), expected, 1e-12)
    np.testing.assert_array_equal(loaded.evaluate(system).forces, forces[0])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (random_model((1, 6)), "model 2 knows H C, model 1 H O"),
        (random_model((1, 8, 6)), "must know the same elements"),
        (random_model((1, 8), SMALL.model_copy(update={"cutoff": 5.0})), "cutoff of 5.0 Å"),
        (varied(0), "models 1 and 2 are the same"),
    ],
)
def test_models_that_do_not_belong_together(
    members: tuple[Model, ...], other: Model, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Ensemble((members[0], other))


def test_elements_may_be_in_another_order(members: tuple[Model, ...], water: Atoms) -> None:
    swapped = random_model((8, 1)).astype("float32")
    system = System.from_atoms(water)
    forces = Ensemble((members[0], swapped)).forces(system)
    np.testing.assert_array_equal(forces[1], swapped.evaluate(system).forces)


def test_truncated(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-100])
    for read in (load_model, load_ensemble):
        with pytest.raises(ValueError, match="not a whole safetensors file"):
            read(saved)


@pytest.mark.parametrize("change", ["tensor", "missing", "header"])
def test_a_changed_member_is_refused(saved: Path, change: str) -> None:
    """The digest covers all members, also where the first alone is read."""
    with safe_open(saved, framework="numpy") as stream:
        header = json.loads(stream.metadata()["huozi"])
    tensors = {k: v.copy() for k, v in load_file(saved).items()}
    if change == "tensor":
        tensors["members.2.readout"][0, 0] += 1
    elif change == "missing":
        del tensors["members.2.readout"]
    else:
        header["members"][1]["e0_eV"][0] += 1
    save_file(tensors, saved, metadata={"huozi": json.dumps(header)})
    for read in (load_model, load_ensemble):
        with pytest.raises(ValueError, match="do not match the digest"):
            read(saved)


def test_calibration_against_plain_sums(members: tuple[Model, ...], water: Atoms) -> None:
    data = labelled(members, water)
    metrics, found = calibrate(Ensemble(members), data)
    assert metrics.to_dict() == evaluate(members[0], data).to_dict()
    forces = np.array([evaluate(m, data).parity.forces[1] for m in members])
    deviation = 1e3 * np.sqrt(np.var(forces, axis=0).sum(axis=1))
    error = 1e3 * np.linalg.norm(forces[0] - evaluate(members[0], data).parity.forces[0], axis=1)
    assert (found.members, found.atoms) == (3, 4 * len(water))
    assert found.deviation_mev_per_A == pytest.approx(deviation.mean())
    assert found.scale == pytest.approx(np.sqrt(np.sum(error**2) / np.sum(deviation**2)))
    assert sum(b.atoms for b in found.bins) == found.atoms
    curve = [b.deviation_mev_per_A for b in found.bins]
    assert curve == sorted(curve)
    lowest = np.argsort(deviation)[: found.bins[0].atoms]
    assert found.bins[0].error_mev_per_A == pytest.approx(np.sqrt(np.mean(error[lowest] ** 2)))


def test_the_scale_and_its_error_are_right_on_average() -> None:
    """Errors that are three times the deviation; the error bar is the scatter over data sets."""
    rng = np.random.default_rng(1)
    scales, errors = [], []
    for _ in range(200):
        deviation = rng.uniform(1, 2, size=600)
        error = 3 * deviation * np.linalg.norm(rng.normal(size=(600, 3)), axis=1) / np.sqrt(3)
        scale, scale_error = fit_scale(deviation, error, [30] * 20)
        scales.append(scale)
        errors.append(scale_error)
    assert np.mean(scales) == pytest.approx(3, abs=0.02)
    assert np.mean(errors) == pytest.approx(np.std(scales), rel=0.15)


def test_calibration_needs_several_models_and_forces(
    members: tuple[Model, ...], water: Atoms
) -> None:
    data = labelled(members, water, 1)
    with pytest.raises(ValueError, match="two models or more"):
        calibrate(Ensemble(members[:1]), data)
    bare = Dataset(tuple(replace(f, labels=Labels(f.labels.energy)) for f in data))
    with pytest.raises(ValueError, match="no frame has forces"):
        calibrate(Ensemble(members), bare)


def invoke(*words: object) -> str:
    """Run a verb that must succeed."""
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_commands(members: tuple[Model, ...], water: Atoms, tmp_path: Path) -> None:
    paths = [tmp_path / f"m{i}.safetensors" for i in range(3)]
    for member, path in zip(members, paths):
        member.save(path)
    out, data = tmp_path / "all.safetensors", tmp_path / "water.extxyz"
    frames = labelled(members, water)
    write(frames, data)
    assert json.loads(invoke("ensemble", *paths, "--out", out, "--json"))["members"] == 3
    found = json.loads(invoke("test", out, data, "--plots", tmp_path / "plots", "--json"))
    assert found["calibration"]["scale"] == pytest.approx(
        calibrate(Ensemble(members), frames)[1].scale, rel=1e-4
    )
    assert (tmp_path / "plots" / "deviation.png").exists()
    assert "calibration" not in json.loads(invoke("test", paths[0], data, "--json"))
    assert "× deviation" in invoke("test", out, data)
    with pytest.raises(ValueError, match="exists"):
        invoke("ensemble", *paths, "--out", out)
    with pytest.raises(ValueError, match="two models or more"):
        invoke("ensemble", paths[0], "--out", tmp_path / "one.safetensors")
