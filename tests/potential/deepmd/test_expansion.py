"""The expansion of the embedding against the network that it expands; training with both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from huozi.arrays import jax, jnp
from huozi.potential import TrainConfig, evaluate, load_model, train
from huozi.potential.deepmd_convert import convert
from huozi.potential.deeppot import element_energies
from huozi.potential.deeppot_table import element_energies as expanded_energies
from huozi.potential.deeppot_table import moments, trainable_pull
from tests.potential.conftest import morse_frames

HERE = Path(__file__).parent


@pytest.mark.parametrize("name", ["se_a.yaml", "dpa1_strip.yaml", "hybrid.yaml"])
def test_expansion(name: str) -> None:
    model = convert(HERE / name)
    if name == "dpa1_strip.yaml":  # faded types are expanded for a zero mean, which training has
        (part,) = model.params["descriptors"]
        part["mean"] = np.zeros_like(part["mean"])
    rng = np.random.default_rng(2)
    direction = rng.normal(size=(4, 9, 3))
    distance = rng.uniform(0.8, 4.5, size=(4, 9, 1))
    vectors = distance * direction / np.linalg.norm(direction, axis=-1, keepdims=True)
    elements = len(model.elements)
    species = rng.integers(-1, elements, size=(4, 9))
    config = model.config.model_copy(update={"nodes": 120, "closest": 0.7})
    rows = moments(vectors, species, config, elements)
    found = expanded_energies(model.params, config, 1, rows)
    expected = element_energies(model.params, config, 1, vectors, species)
    np.testing.assert_allclose(found, expected, atol=1e-7)


@pytest.mark.parametrize("name", ["se_a.yaml", "dpa1_strip.yaml", "hybrid.yaml"])
def test_pull_is_the_derivative_of_the_moments(name: str) -> None:
    model = convert(HERE / name)
    config = model.config.model_copy(update={"nodes": 30, "closest": 0.7})
    elements = len(model.elements)
    rng = np.random.default_rng(3)
    vectors = jnp.asarray(rng.uniform(-3, 3, size=(3, 7, 3)))
    species = jnp.asarray(rng.integers(-1, elements, size=(3, 7)))
    rows, back = jax.vjp(lambda v: moments(v, species, config, elements), vectors)
    gradient, tangent = (jnp.asarray(rng.normal(size=x.shape)) for x in (rows, vectors))

    def pull(gradient: Any) -> Any:
        return trainable_pull(vectors, species, config, elements, gradient)

    pulled, transposed = jax.vjp(pull, gradient)
    np.testing.assert_allclose(pulled, back(gradient)[0], atol=1e-12)
    change = jax.jvp(lambda v: moments(v, species, config, elements), (vectors,), (tangent,))[1]
    np.testing.assert_allclose(transposed(tangent)[0], change, atol=1e-12)


def test_training(tmp_path: Path) -> None:
    data, valid = morse_frames(8), morse_frames(4, seed=1)
    config = TrainConfig(
        steps=80,
        batch_atoms=32,
        architecture={
            "name": "deeppot",
            "descriptors": [{"name": "se_e2_a", "cutoff": 2.4, "neuron": [4, 8], "axis": 4}],
            "hidden": [16, 16],
            "nodes": 48,
        },
    )
    expanded = train(data, tmp_path / "run", config, valid).metrics
    exact = evaluate(load_model(tmp_path / "run"), valid)
    forces = np.concatenate([f.labels.forces for f in data])
    learnt = evaluate(load_model(tmp_path / "run"), data)
    assert learnt.force_rmse_mev_per_A < 0.5e3 * np.sqrt(np.mean(forces**2))
    for name in ("force_rmse_mev_per_A", "energy_rmse_mev_per_atom", "virial_rmse_mev_per_atom"):
        assert getattr(exact, name) == pytest.approx(getattr(expanded, name), rel=1e-2)
