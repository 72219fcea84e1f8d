"""Errors, loss and schedule by hand, and Muon's iterations as they are published."""

from __future__ import annotations

import numpy as np
import pytest

from huozi.arrays import jnp
from huozi.potential import TrainConfig, evaluate
from huozi.potential.batch import assemble, choose_capacity, prepare
from huozi.potential.loss import Weights, loss
from huozi.potential.muon import COEFFICIENTS, orthogonalize
from huozi.potential.optimize import schedule_at
from huozi.systems import Dataset, Frame, Labels, System
from tests.potential.conftest import SMALL, random_model


@pytest.fixture
def shaken(water):
    """Three frames with labels at random; the second has no energy, the third no forces."""
    rng, frames = np.random.default_rng(0), []
    for index in range(3):
        atoms = water[: 24 - 3 * index].copy()
        atoms.rattle(0.02, seed=index)
        system = System.from_atoms(atoms)
        labels = Labels(
            None if index == 1 else float(rng.normal()),
            None if index == 2 else rng.normal(size=(len(atoms), 3)),
            rng.normal(size=(3, 3)),
        )
        frames.append(Frame(system, labels, f"water#{index}"))
    return Dataset(tuple(frames))


def errors(model, data):
    """Differences of energies per atom, forces (each frame) and virials per atom."""
    energy, forces, virial = {}, {}, []
    for index, frame in enumerate(data):
        found, labels = model.evaluate(frame.system), frame.labels
        if labels.energy is not None:
            energy[index] = (found.energy - labels.energy) / len(frame)
        if labels.forces is not None:
            forces[index] = np.asarray(found.forces) - labels.forces
        virial.append((np.asarray(found.virial) - labels.virial) / len(frame))
    return energy, forces, np.array(virial)


def test_errors_are_those_of_single_frames(shaken):
    model = random_model((1, 8)).astype("float32")
    found = evaluate(model, shaken)
    energy, forces, virial = errors(model, shaken)
    every = np.concatenate(list(forces.values()))
    oxygen = np.concatenate([f.system.species == 8 for f in shaken.frames[:2]])
    rms = lambda x: 1e3 * np.sqrt(np.mean(np.square(x)))  # noqa: E731
    exact = {
        "energy_rmse_mev_per_atom": rms(list(energy.values())),
        "energy_mae_mev_per_atom": 1e3 * np.mean(np.abs(list(energy.values()))),
        "force_rmse_mev_per_A": rms(every),
        "force_mae_mev_per_A": 1e3 * np.mean(np.abs(every)),
        "virial_rmse_mev_per_atom": rms(virial),
    }
    for name, value in exact.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-4)
    assert found.force_rmse_by_element_mev_per_A == pytest.approx(
        {"H": rms(every[~oxygen]), "O": rms(every[oxygen])}, rel=1e-4
    )
    worst = max(forces, key=lambda i: rms(forces[i]))
    assert found.worst_frames[0]["frame"] == f"water#{worst}"
    assert found.worst_frames[0]["force_rmse_mev_per_A"] == pytest.approx(
        rms(forces[worst]), rel=1e-4
    )


def test_the_loss_counts_labels_that_are_there(shaken):
    model = random_model((1, 8)).astype("float32")
    items = prepare(shaken, model.elements, model.e0, model.config)
    capacity = choose_capacity(items, 80)
    batch = assemble(items, capacity)
    found = loss(model.params, model.config, capacity.segments, Weights(0.3, 2.0, 0.7), batch)
    energy, forces, virial = errors(model, shaken)
    sizes = np.array([len(frame) for frame in shaken])
    terms = (
        np.mean([sizes[i] * error**2 for i, error in energy.items()]),
        np.mean(np.concatenate(list(forces.values())) ** 2),
        np.mean(sizes[:, None, None] * virial**2),
    )
    assert found == pytest.approx(np.dot((0.3, 2.0, 0.7), terms), rel=1e-4)


def test_the_schedule_has_the_ends_it_says():
    config = TrainConfig(learning_rate=0.02, virial_weight=(0.0, 1.0), architecture=SMALL)

    def at(done):
        return schedule_at(config, (0.01, 4.0), 0.8, done, 1e-3, 100)

    assert at(0.0).learning_rate == pytest.approx(0.002)  # a tenth, to warm up
    assert at(0.5).learning_rate == pytest.approx(0.01)
    assert at(1.0).learning_rate == pytest.approx(0.0, abs=1e-9)
    assert [at(x).weights.energy for x in (0, 0.5, 1)] == pytest.approx([0.01, 0.2, 4.0])
    assert at(0.5).weights.virial == pytest.approx(0.5)  # from nothing in a straight line
    assert at(0.5).noise == pytest.approx(0.8 / np.sqrt(2))
    assert at(1.0).noise == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (2, 4, 4)])
def test_muon_makes_the_published_iterations(shape):
    """Five times X <- a X + b (X X^T) X + c (X X^T)^2 X, from X / |X| (Jordan et al. 2024)."""
    matrix = np.random.default_rng(0).normal(size=shape)
    found = np.asarray(orthogonalize(jnp.asarray(matrix)))
    a, b, c = COEFFICIENTS
    for given, result in zip(matrix.reshape(-1, *shape[-2:]), found.reshape(-1, *shape[-2:])):
        x = given / np.linalg.norm(given)
        for _ in range(5):
            gram = x @ x.T
            x = a * x + b * gram @ x + c * gram @ gram @ x
        np.testing.assert_allclose(result, x, rtol=1e-9, atol=1e-11)
