"""Models of deepmd-kit in the compiled kernel: its expansion gives what the network gives."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from huozi import kernels
from huozi.arrays import jax, jnp
from huozi.cli.main import app
from huozi.potential import Model, load_model
from huozi.potential.deepmd_convert import convert
from huozi.potential.deeppot import init
from huozi.potential.deeppot_kernel import kernel_part, table_error
from huozi.potential.deeppot_settings import DeepPotConfig, Dpa1Config, SeAConfig, SeRConfig
from huozi.systems import System
from tests.kernels.conftest import random_system
from tests.kernels.test_fuzz import by_ghosts, close
from tests.potential.deepmd.test_convert import HERE, REFERENCE, system_of

pytestmark = pytest.mark.skipif(
    not kernels.is_available(), reason="the compiled kernel was not built"
)


@pytest.mark.parametrize("name", ["se_a.yaml", "dpa1_concat_plain.yaml"])
def test_equals_the_network_in_double_precision(name: str, tmp_path: Path) -> None:
    """Reference is deepmd-kit's own for crystal and cluster; the model has been in a file."""
    convert(HERE / name).astype("float32").save(tmp_path / "model.safetensors")
    kernel = replace(load_model(tmp_path / "model.safetensors"), engine="kernel")
    for case in REFERENCE[name][:2]:
        found = kernel.evaluate(system_of(case))
        for value, expected in (
            (found.energy, case["energy"]),
            (found.forces, case["forces"]),
            (found.virial, case["virial"]),
        ):
            error = np.abs(np.asarray(value) - expected).max()
            assert error <= 1e-5 * np.abs(expected).max() + 1e-6


def test_radial_descriptor_equals_the_network() -> None:
    """`se_e2_r` of usual widths (deepmd-kit's small one is refused), against JAX in float64."""
    config = DeepPotConfig(
        descriptors=(SeRConfig(cutoff=4.0, onset=1.0, sel=(1, 1), neuron=(8, 16)),),
        hidden=(24, 24),
        closest=0.5,
    )
    params = init(jax.random.key(5), config, 2)
    params["readout"] = 100 * params["readout"]
    params["descriptors"][0]["mean"] = jnp.asarray([0.1, 0.2], "float32")
    params["descriptors"][0]["deviation"] = jnp.full((2, 2), 0.2, "float32")
    kernel = Model(config, (1, 8), (0.0, 0.0), params, engine="kernel")
    network = replace(kernel.astype("float64"), engine="jax")
    system = random_system(np.random.default_rng(5), (1, 8), 30, 3.0)
    found, expected = kernel.evaluate(system), network.evaluate(system)
    for name in ("energy", "forces", "virial"):
        value, exact = np.asarray(getattr(found, name)), np.asarray(getattr(expected, name))
        assert np.abs(exact).max() > 1e-2
        # Energies are small differences of the network's values, a thousand times as large.
        assert np.abs(value - exact).max() <= 1e-4 * np.abs(exact).max()


@pytest.mark.parametrize(
    "part",
    [
        SeAConfig(cutoff=4.0, onset=1.0, sel=(1, 1), neuron=(8, 16), axis=4),
        Dpa1Config(cutoff=4.0, onset=1.0, sel=(60,), neuron=(8, 16, 32), axis=6, mode="strip"),
    ],
    ids=["se_e2_a", "types that fade in"],
)
def test_both_interfaces_equal_the_network(part: SeAConfig | Dpa1Config) -> None:
    """More than one block of atoms, ghosts and shuffled lists, against JAX in float64."""
    rng = np.random.default_rng(7)
    config = DeepPotConfig(descriptors=(part,), hidden=(24, 24, 48), closest=0.5)
    params = init(jax.random.key(7), config, 2)
    params["readout"] = 100 * params["readout"]
    if isinstance(part, SeAConfig):
        params["descriptors"][0]["mean"] = jnp.asarray([0.1, 0.2], "float32")
    params["descriptors"][0]["deviation"] = jnp.full((2, 2), 0.1, "float32")
    model = Model(config, (1, 8), (0.0, 0.0), params).astype("float64")
    # Random places could be closer than the expansion begins.
    sites = np.array(list(np.ndindex(4, 4, 5)))
    cell = np.diag([8.8, 8.8, 11.0]) + rng.uniform(-0.5, 0.5, size=(3, 3))
    places = (sites + rng.uniform(-0.25, 0.25, sites.shape)) / (4, 4, 5)
    system = System(rng.choice((1, 8), 80), places @ cell, cell, np.array([True, False, True]))
    right = replace(model, engine="xla").evaluate(system)
    table = replace(model.astype("float32"), engine="kernel").evaluate(system)
    ghosts = by_ghosts(model, system, rng, 2)
    size, force = abs(float(right.energy)), np.abs(right.forces).max()
    assert size > 0.1
    assert force > 0.1
    close(table.energy, right.energy, size)
    close(ghosts["energy"][0], right.energy, size)
    close(table.forces, right.forces, force)
    close(ghosts["forces"], right.forces, force)
    virial = np.asarray(right.virial)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    # JAX in float32 is 3e-5 off in this sum of large terms.
    close(ghosts["virial"], virial, 3 * np.abs(virial).max())


def test_few_functions_give_the_whole_embedding() -> None:
    """Of 100 outputs; energies of pairs stay those of the network."""
    part = SeAConfig(cutoff=6.0, onset=0.5, sel=(46, 92), neuron=(25, 50, 100), axis=16)
    config = DeepPotConfig(descriptors=(part,), hidden=(240, 240), closest=0.5)
    params = init(jax.random.key(0), config, 2)
    params["descriptors"][0]["deviation"] = jnp.full((2, 2), 0.1, "float32")
    made = kernel_part(config, params)
    assert made is not None
    header, tensors = made
    assert header["channels"] < 60
    assert tensors["weight"].shape[1] == sum(map(len, header["products"])) < 100 * 16 / 2
    found = table_error(config, params)
    assert found is not None
    assert found < 1e-7


def test_models_that_it_cannot_run_are_refused_with_the_reason() -> None:
    for name, reason in (
        ("hybrid.yaml", "not hybrids"),
        ("zbl.dp", "a pair table"),
        ("dpa1_strip_attention.yaml", "attention"),
        ("se_r.yaml", "a shortcut around the first layer"),
        ("se_a_one_side.dp", "excluded pairs and statistics of non-zero mean"),
    ):
        model = replace(convert(HERE / name).astype("float32"), engine="kernel")
        assert table_error(model.config, model.params) is None
        with pytest.raises(ValueError, match=reason):
            model.evaluate(system_of(REFERENCE[name][0]))


def test_the_command_converts_and_measures_the_table(tmp_path: Path) -> None:
    out = tmp_path / "model.safetensors"

    def run(*options: str) -> Any:
        command = ["convert", str(HERE / "se_a.yaml"), str(out), *options]
        return CliRunner().invoke(app, command, catch_exceptions=True)

    done = run("--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    model = load_model(out)
    assert found["table_error_eV"] == pytest.approx(table_error(model.config, model.params))
    assert found["table_error_eV"] < 1e-6
    again = run()
    assert isinstance(again.exception, ValueError)
    assert "exists; choose another name" in str(again.exception)
