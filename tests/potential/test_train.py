"""Training: it learns, resumes bitwise, keeps its numbers straight, and refuses bad input."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from safetensors.numpy import load_file

from huozi.arrays import jax
from huozi.potential import Model, TrainConfig, TrainResult, evaluate, load_model, train
from huozi.potential.architectures import init
from huozi.potential.batch import assemble, choose_capacity, prepare
from huozi.potential.deeppot_settings import DeepPotConfig, SeAConfig
from huozi.potential.optimize import energy_weight_from_data, noise_from_data, unit_noise
from huozi.potential.problem import hold_out
from huozi.systems import Dataset, Frame, Labels, System
from huozi.workflow import RunFolder
from tests.potential.conftest import SMALL, morse_frames, random_model

RANGE = SMALL.model_copy(update={"cutoff": 2.4})
"""Sees as far as the energy of `morse_frames` reaches."""

QUICK = TrainConfig(architecture=RANGE, steps=60, batch_atoms=16, checkpoint_every=0.0)

DEEPPOT = QUICK.model_copy(
    update={
        "architecture": DeepPotConfig(
            descriptors=(SeAConfig(cutoff=2.4, neuron=(4, 8), axis=4),), hidden=(16, 16)
        )
    }
)

RESUMABLE = """
import sys
from tests.potential.conftest import morse_frames
from tests.potential.test_train import QUICK
from huozi.potential import train
train(morse_frames(12), sys.argv[1], QUICK)
"""


def test_learns_and_reports_what_evaluate_finds(tmp_path: Path) -> None:
    config = QUICK.model_copy(update={"steps": 400, "checkpoint_every": 60.0})
    events: list[dict[str, object]] = []
    valid = morse_frames(6, seed=9)
    result = train(morse_frames(40), tmp_path, config, valid, events.append)
    forces = np.concatenate([f.labels.forces for f in valid])
    assert result.metrics.force_rmse_mev_per_A < 0.25 * 1e3 * np.sqrt(np.mean(forces**2))
    again = evaluate(load_model(tmp_path), valid)
    assert again.to_dict() == result.metrics.to_dict()
    logged = [e for e in RunFolder(tmp_path).events("validation") if e["best"]][-1]
    for name in ("force_rmse_mev_per_A", "energy_rmse_mev_per_atom", "virial_rmse_mev_per_atom"):
        assert logged[name] == getattr(again, name)
    assert load_model(tmp_path).metadata["step"] == config.steps


def test_an_early_end_keeps_the_best_until_then(tmp_path: Path) -> None:
    config = QUICK.model_copy(update={"patience": 1, "learning_rate": 1e-12})
    result = train(morse_frames(12), tmp_path, config)
    first, second = RunFolder(tmp_path).events("validation")
    assert (first["best"], second["best"]) == (True, False)
    assert result.steps < 0.2 * config.steps
    assert result.metrics.force_rmse_mev_per_A == first["force_rmse_mev_per_A"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainResult]:
    """A run to its end, which is read or refused but never changed."""
    folder = tmp_path_factory.mktemp("finished")
    return folder, train(morse_frames(12), folder, QUICK)


def test_killed_run_resumes_bitwise(finished: tuple[Path, TrainResult], tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", RESUMABLE, str(tmp_path)], cwd=root)
    checkpoint = tmp_path / "checkpoint.safetensors"
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    resumed = train(morse_frames(12), tmp_path, QUICK)
    whole = (finished[0] / "model.safetensors").read_bytes()
    assert (tmp_path / "model.safetensors").read_bytes() == whole
    assert resumed.steps == QUICK.steps
    assert 0 < next(RunFolder(tmp_path).events("resume"))["step"] < QUICK.steps


def test_finished_run_is_not_done_again(finished: tuple[Path, TrainResult]) -> None:
    folder, first = finished
    stamp = os.stat(folder / "model.safetensors").st_mtime_ns
    second = train(morse_frames(12), folder, QUICK)
    assert os.stat(folder / "model.safetensors").st_mtime_ns == stamp
    assert second.metrics.to_dict() == first.metrics.to_dict()


def test_another_run_in_the_folder_is_refused(finished: tuple[Path, TrainResult]) -> None:
    with pytest.raises(ValueError, match="other data or settings"):
        train(morse_frames(13), finished[0], QUICK)


@pytest.mark.parametrize("config", [QUICK, DEEPPOT], ids=["moment", "deeppot"])
def test_a_trunk_is_kept_and_the_rest_learns(tmp_path: Path, config: TrainConfig) -> None:
    data, valid = morse_frames(12), morse_frames(6, seed=9)
    base = train(data, tmp_path / "base", config, valid).model
    member = TrainConfig(trunk=tmp_path / "base", steps=60, batch_atoms=16, seed=1)
    result = train(data, tmp_path / "member", member, valid)
    assert result.model.config == base.config
    same = jax.tree.map(np.array_equal, result.model.params, base.params)
    assert not same["readout"]
    assert not any(same["layers"][-1].values())
    kept = {**same, "layers": same["layers"][:-1]}
    del kept["readout"]
    assert all(jax.tree.leaves(kept))
    first, *_, last = RunFolder(tmp_path / "member").events("validation")
    assert last["force_rmse_mev_per_A"] < 0.7 * first["force_rmse_mev_per_A"]
    replace(base, e0=(0.5,)).save(tmp_path / "base" / "model.safetensors")
    with pytest.raises(ValueError, match="other data or settings"):
        train(data, tmp_path / "member", member, valid)


@pytest.mark.parametrize("name", ["config.yaml", "model.safetensors"])
def test_a_folder_of_something_else_is_not_written_to(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("verb: md\n")
    with pytest.raises(ValueError, match=f"holds {name} of something else"):
        train(morse_frames(4), tmp_path, QUICK)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "verb: md\n"


def test_a_trunk_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    Model(SMALL, (18,), (0.0,), init(jax.random.key(0), SMALL, 1)).save(tmp_path / "base")
    with pytest.raises(FileNotFoundError, match="none"):
        train(morse_frames(12), tmp_path / "a", TrainConfig(trunk=tmp_path / "none"))
    with pytest.raises(ValueError, match="architecture"):
        train(
            morse_frames(12),
            tmp_path / "b",
            TrainConfig(trunk=tmp_path / "base", architecture={"name": "moment"}),
        )


def test_noise_behind_a_trunk_is_refused() -> None:
    with pytest.raises(ValueError, match="descriptor_noise does nothing behind a trunk"):
        TrainConfig.read(None, {"trunk": "base", "descriptor_noise": 0.1})


def test_noise_falls_with_the_root_of_the_number_of_labels() -> None:
    frames = prepare(morse_frames(10), (18,), (0.0,), SMALL)
    components = sum(3 * len(f.order) for f in frames)
    assert noise_from_data(frames) == 1.0
    many = -(-100_000 // components)
    assert noise_from_data(frames * many) == pytest.approx((25_000 / components / many) ** 0.5)


def test_noise_has_the_deviation_of_the_descriptors_and_is_new_at_every_step() -> None:
    deviation = np.array([np.linspace(1, 2, 50), np.full(50, 5.0)], np.float32)
    first, again, second = (
        np.asarray(unit_noise(3, step, deviation, (400, 800))) for step in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert abs(np.corrcoef(first[:400].ravel(), second[:400].ravel())[0, 1]) < 5 / 20000**0.5
    for rows, expected in ((first[:400], deviation[0]), (first[400:], deviation[1])):
        np.testing.assert_allclose(rows.std(0), expected, rtol=0.15)
        assert abs((rows / expected).mean()) < 5 / rows.size**0.5


@pytest.mark.parametrize(
    ("stretch", "expected"), [(0.0, 0.02), (50.0, None), (500.0, None), (1e4, 20.0)]
)
def test_energy_prefactor_follows_the_spread_of_the_energies(
    stretch: float, expected: float | None
) -> None:
    """Five times N var(e) / mean F^2, within bounds; e is the energy per atom above E0."""
    e0, frames = 0.7, []
    for frame in morse_frames(12):
        labels = frame.labels
        energy = len(frame) * e0 + stretch * (labels.energy - len(frame) * e0)
        frames.append(
            replace(frame, labels=replace(labels, energy=energy, forces=30 * labels.forces))
        )
    start, end = energy_weight_from_data(prepare(Dataset(tuple(frames)), (18,), (e0,), SMALL))
    per_atom = np.array([f.labels.energy / len(f) - e0 for f in frames])
    sizes = np.array([len(f) for f in frames])
    square = np.mean(np.concatenate([f.labels.forces for f in frames]) ** 2)
    by_hand = 5 * np.mean(sizes * (per_atom - per_atom.mean()) ** 2) / square
    assert end == pytest.approx(by_hand if expected is None else expected)
    assert start == pytest.approx(1e-3 * end)


@pytest.mark.parametrize("missing", ["energy", "forces", "virial"])
def test_any_subset_of_labels(tmp_path: Path, missing: str) -> None:
    """Frames that lack a label, beside frames that have it."""
    data = morse_frames(12)
    frames = [
        replace(f, labels=replace(f.labels, **{missing: None})) if i % 3 else f
        for i, f in enumerate(data)
    ]
    config = QUICK.model_copy(update={"steps": 4})
    result = train(Dataset(tuple(frames)), tmp_path, config)
    assert result.steps == 4
    items = prepare(Dataset(tuple(frames)), (18,), (0.0,), SMALL)
    batch = assemble(items, choose_capacity(items, 80))
    forces = [batch.force_weight[batch.frame == f].max() for f in range(12)]
    weights = {"energy": batch.energy_weight, "virial": batch.virial_weight, "forces": forces}
    assert [bool(w) for w in weights[missing][:12]] == [i % 3 == 0 for i in range(12)]


def test_budget_is_kept_and_fills_the_schedule(tmp_path: Path) -> None:
    """The schedule ends (learning rate zero) whatever number of steps the budget allowed."""
    config = QUICK.model_copy(update={"steps": None, "budget": 1.0, "checkpoint_every": 60.0})
    result = train(morse_frames(12), tmp_path, config)
    last = list(RunFolder(tmp_path).events("validation"))[-1]
    assert last["done"] == 1.0
    assert last["learning_rate"] < 1e-3 * config.learning_rate
    assert result.steps > 1


def test_a_run_that_failed_at_its_start_may_begin_with_others(tmp_path: Path) -> None:
    data = morse_frames(3)
    config = QUICK.model_copy(update={"steps": 2})
    with pytest.raises(ValueError, match="give validation data"):
        train(data[:1], tmp_path / "run", config)
    train(data[:1], tmp_path / "run", config, valid=data[1:])
    with pytest.raises(ValueError, match="holds a run with other data"):
        train(data[:2], tmp_path / "run", config, valid=data[1:])


def test_unlabelled_data_are_refused(tmp_path: Path) -> None:
    data = Dataset(tuple(replace(f, labels=Labels()) for f in morse_frames(3)))
    with pytest.raises(ValueError, match="energy or forces"):
        train(data, tmp_path / "run", QUICK)
    assert not (tmp_path / "run").exists()


def test_empty_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no frames"):
        train(Dataset(()), tmp_path / "run", QUICK)


def test_one_structure_alone_is_refused(tmp_path: Path) -> None:
    """Moved and turned it is the same; nothing says how its energy changes."""
    frame = replace(morse_frames(1)[0], labels=Labels(-1.0))
    crystal = Dataset(tuple(replace(frame, system=s) for s in same_crystal()))
    with pytest.raises(ValueError, match="same surroundings"):
        train(crystal, tmp_path / "run", QUICK, morse_frames(1, seed=5))


def same_crystal() -> Iterator[System]:
    for shift in (0.0, 0.3):
        atoms = bulk("Ar", "fcc", a=3.0, cubic=True).repeat(2)
        atoms.positions += shift
        yield System.from_atoms(atoms)


def test_noise_that_would_do_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="descriptor_noise is for the architecture moment"):
        TrainConfig.read(None, {"architecture": {"name": "deeppot"}, "descriptor_noise": 0.1})


def test_settings_name_every_mistake(tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(json.dumps({"budget": "soon", "architecture": {"cutof": 5}}))
    with pytest.raises(ValueError, match=r"architecture\.cutof") as caught:
        TrainConfig.read(path)
    assert "budget" in str(caught.value)
    assert str(path) in str(caught.value)


def lone(element: int, energy: float) -> Frame:
    system = System(np.array([element]), np.zeros((1, 3)), np.zeros((3, 3)), np.zeros(3, bool))
    return Frame(system, Labels(energy), f"alone#{element}")


def test_frames_that_tell_of_an_element_are_not_held_out() -> None:
    """Isolated atoms, and the only frame with an element, whatever the seed."""
    argon = list(morse_frames(12))
    mixed = replace(argon[0].system, species=np.where(np.arange(len(argon[0])) == 0, 10, 18))
    data = Dataset((*argon, replace(argon[0], system=mixed), lone(18, -1.0), lone(10, -2.0)))
    for seed in range(20):
        parts = hold_out(data, TrainConfig(seed=seed, valid_fraction=0.4))
        assert (len(parts.train), len(parts.valid)) == (9, 6)
        assert set(parts.indices["valid"]) <= set(range(12))
        assert parts.train.elements == (10, 18)
    with pytest.raises(ValueError, match="every frame is needed for training"):
        hold_out(Dataset((lone(18, -1.0), lone(10, -2.0))), TrainConfig())


def test_isolated_atoms_do_not_make_the_energies_wide() -> None:
    frames = list(morse_frames(12))
    alone = energy_weight_from_data(prepare(Dataset(tuple(frames)), (18,), (0.7,), SMALL))
    beside = Dataset((*frames, lone(18, 0.7)))
    assert energy_weight_from_data(prepare(beside, (18,), (0.7,), SMALL)) == alone


def test_a_checkpoint_holds_the_coordinates_of_its_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine would whiten otherwise, by signs for one; the resumed run does not."""
    whole = train(morse_frames(12), tmp_path / "whole", QUICK)
    module = importlib.import_module("huozi.potential.train")

    class StoppedError(Exception):
        pass

    def stop(event: dict[str, object]) -> None:
        if event["event"] == "progress" and event["step"] == 40:
            raise StoppedError

    with pytest.raises(StoppedError):
        train(morse_frames(12), tmp_path / "run", QUICK, report=stop)
    found = module.scaling_from_data

    def mirrored(*given: object) -> dict[str, object]:
        scaling = found(*given)
        return scaling | {"whitening": -scaling["whitening"]}

    monkeypatch.setattr(module, "scaling_from_data", mirrored)
    train(morse_frames(12), tmp_path / "run", QUICK)
    resumed = load_model(tmp_path / "run")
    assert jax.tree.all(jax.tree.map(np.array_equal, resumed.params, whole.model.params))


def test_a_loss_that_is_not_finite_spares_the_last_checkpoint(tmp_path: Path) -> None:
    """The step after the divergence writes no checkpoint, or the run could never go on."""
    config = QUICK.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(ValueError, match="the loss is not finite near step"):
        train(morse_frames(12), tmp_path, config)
    checkpoint = tmp_path / "checkpoint.safetensors"
    if checkpoint.exists():
        tensors = load_file(checkpoint)
        assert all(np.isfinite(x).all() for x in tensors.values() if x.dtype.kind == "f")


def test_two_trainings_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        RunFolder(tmp_path).alone(),
        pytest.raises(ValueError, match=f"another process is at work in {tmp_path}"),
    ):
        train(morse_frames(12), tmp_path, QUICK)


def test_a_trunk_may_have_its_elements_in_another_order(tmp_path: Path) -> None:
    """As models of deepmd-kit have them."""
    frames = []
    for frame in morse_frames(12):
        species = np.where(np.arange(len(frame)) % 2, 18, 10)
        frames.append(replace(frame, system=replace(frame.system, species=species)))
    model = random_model((18, 10), RANGE).astype("float32")
    model.save(tmp_path / "base.safetensors")
    config = TrainConfig(trunk=tmp_path / "base.safetensors", steps=2, batch_atoms=16)
    result = train(Dataset(tuple(frames)), tmp_path / "run", config)
    assert result.model.elements == (18, 10)
    np.testing.assert_array_equal(result.model.params["mix"], model.params["mix"])


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ({"name": "deeppot", "descriptors": [{"name": "se_e2_a", "neuron": [4, 8]}]}, "axis"),
        (
            {"name": "deeppot", "descriptors": [{"name": "se_e2_r", "cutoff": 4, "onset": 4}]},
            "below the cutoff",
        ),
        ({"name": "deeppot", "nodes": 3}, "0 or more than 5"),
        ({"name": "moment", "hidden": [0]}, "hidden"),
    ],
)
def test_impossible_sizes_are_refused(architecture: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig.read(None, {"architecture": architecture})


def test_there_are_no_more_partners_than_channels(tmp_path: Path) -> None:
    few = RANGE.model_copy(update={"channels": 3, "partners": 8})
    config = QUICK.model_copy(update={"architecture": few, "steps": 2})
    assert train(morse_frames(6), tmp_path, config).steps == 2
