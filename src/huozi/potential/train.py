"""Train a potential within a wall-time budget; interrupted at any moment, it resumes."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from huozi import __version__
from huozi.arrays import device_mesh, jax, jnp
from huozi.files import atomic_path, model_digest, write_json
from huozi.potential.architectures import fold, fold_tail, init, tail
from huozi.potential.batch import assemble, choose_capacity, pack
from huozi.potential.metrics import Metrics
from huozi.potential.model import Model, load_model
from huozi.potential.optimize import (
    Learner,
    Schedule,
    descriptor_noise,
    energy_weight_from_data,
    make_optimizer,
    make_step,
    scaling_from_data,
    schedule_at,
)
from huozi.potential.parallel import (
    agreed,
    distribute,
    gather,
    is_first,
    own_parts,
    replicate,
    wait_for_all,
)
from huozi.potential.problem import (
    Problem,
    check_labels,
    check_trunk,
    fit_architecture,
    hold_out,
    prepare_problem,
)
from huozi.potential.settings import TrainConfig
from huozi.systems import Dataset, data_digest
from huozi.workflow import RunFolder

VALIDATIONS = 40
REPLAN_STEPS = 20

Report = Callable[[dict[str, Any]], None]


@dataclass
class Progress:
    """Where a run stands; stored with every checkpoint.

    Parameters
    ----------
    step, epoch, position : int
        Steps done; the epoch and the batch in it that come next.
    done : float
        Completed part of the schedule, 0 to 1.
    pace : float
        Part of the schedule that one step completes.
    seconds : float
        Wall time used, earlier sessions of the run included.
    best : float
        Lowest validation score.
    stale : int
        Validations since then.
    next_validation : int
        Number of the validation to come, of VALIDATIONS.
    """

    step: int = 0
    epoch: int = 0
    position: int = 0
    done: float = 0.0
    pace: float = 0.0
    seconds: float = 0.0
    best: float = float("inf")
    stale: int = 0
    next_validation: int = 1


@dataclass(frozen=True)
class TrainResult:
    """A finished run: the best model, its errors on the validation frames, the run folder."""

    model: Model
    metrics: Metrics
    path: Path
    steps: int
    seconds: float


def train(
    dataset: Dataset,
    out: str | Path,
    config: TrainConfig | None = None,
    valid: Dataset | None = None,
    report: Report | None = None,
) -> TrainResult:
    """Train a potential and leave the best model as ``out/model.safetensors``.

    The best one is that at the end of the schedule; of a run that was interrupted, or ended by
    `patience`, the one with the least product of force and energy error on the validation frames.

    Running the same call again resumes an interrupted run and returns a finished one. With
    `steps` given, an interrupted and resumed run is bitwise the same as an uninterrupted one;
    with a budget, the number of steps depends on the speed of the machine.

    Parameters
    ----------
    dataset : Dataset
        Training frames, with energies or forces or both; virials where present.
    out : path
        Run folder.
    config : TrainConfig, optional
    valid : Dataset, optional
        Validation frames; without them a random part of `dataset` is held out.
    report : callable, optional
        Called with each logged event, and with the progress between them, for a display.

    Returns
    -------
    TrainResult

    Raises
    ------
    ValueError
        If the data cannot be trained on, the folder holds another run or another process works in
        it, or the loss diverges.
    """
    started = time.perf_counter()
    config = config or TrainConfig()
    folder = RunFolder(Path(out))
    check_labels(dataset)
    mesh = device_mesh(config.devices)
    trunk = load_model(config.trunk) if config.trunk else None
    identity = identify(config, dataset, valid, trunk)
    check_folder(folder, identity)  # before a lock is left in the folder of something else
    # Of several processes the first one writes.
    with folder.alone() if is_first() else nullcontext():
        if is_first():
            check_folder(folder, identity)
            write_json(folder.path / "run.json", identity)
            folder.write_config(identity["config"])
        wait_for_all("folder")
        check_folder(folder, identity, begun=True)  # the first process has written its own
        if valid is None:
            parts = hold_out(dataset, config)
            if is_first():
                parts.save(folder.path / "split.json")
            dataset, valid = parts.train, parts.valid
        if trunk is not None:
            check_trunk(trunk, config, dataset)
        config = fit_architecture(config, dataset, valid, trunk)
        problem = prepare_problem(dataset, valid, config, trunk)
        trainer = Trainer(problem, config, folder, report, started, mesh, trunk)
        trainer.restore()
        trainer.run()
        return trainer.result()


def identify(
    config: TrainConfig, dataset: Dataset, valid: Dataset | None, trunk: Model | None
) -> dict[str, Any]:
    """Return what a run is made from."""
    return {
        "config": config.model_dump(mode="json"),
        "train_sha256": data_digest(dataset),
        "valid_sha256": None if valid is None else data_digest(valid),
        "trunk_sha256": None if trunk is None else model_digest(*trunk.file_parts()),
    }


def check_folder(folder: RunFolder, identity: dict[str, Any], begun: bool = False) -> None:
    """Refuse a folder that holds something else, or a run with other data or settings.

    A run that has not begun, which failed before its first checkpoint, may begin anew with others.
    """
    record = folder.path / "run.json"
    made = ("checkpoint.safetensors", "model.safetensors")
    begun = begun or any((folder.path / name).exists() for name in made)
    if record.exists():
        if begun and json.loads(record.read_text(encoding="utf-8")) != identity:
            raise ValueError(
                f"{folder.path} holds a run with other data or settings; choose another folder, "
                "or remove this one"
            )
        return
    for name in ("config.yaml", "model.safetensors"):
        if (folder.path / name).exists():
            raise ValueError(f"{folder.path} holds {name} of something else; choose another folder")


class Trainer:
    """The loop of one run: step, validate, checkpoint, keep to the budget.

    Parameters
    ----------
    problem : Problem
    config : TrainConfig
    folder : RunFolder
    report : callable or None
        Called with the values of each logged event.
    started : float
        ``time.perf_counter()`` when the budget began to run.
    mesh : jax.sharding.Mesh or None
        Devices that share each batch; of several processes, the first one writes and reports.
    trunk : Model or None
        Of which all but the last hidden layer and the readout is kept.
    """

    def __init__(
        self,
        problem: Problem,
        config: TrainConfig,
        folder: RunFolder,
        report: Report | None,
        started: float,
        mesh: Any,
        trunk: Model | None,
    ) -> None:
        self.problem, self.config, self.folder, self.report = problem, config, folder, report
        self.started, self.mesh = started, mesh
        elements = len(problem.elements)
        raw = init(jax.random.key(config.seed), config.architecture, elements)
        weight = config.energy_weight or energy_weight_from_data(problem.frames)
        self.basis = self.stored_basis(
            {
                "scaling": scaling_from_data(raw, problem.frames, config, elements),
                "energy_weight": np.array(weight),
                "noise": np.array(descriptor_noise(config, problem.frames)),
            }
        )
        scaling, architecture = self.basis["scaling"], config.architecture
        self.energy_weight = tuple(self.basis["energy_weight"].tolist())
        self.noise = float(self.basis["noise"])
        if trunk is None:
            self.fold = jax.jit(lambda raw: fold(raw, architecture, scaling))
        else:
            raw, kept = tail(raw), trunk.params
            self.fold = jax.jit(lambda raw: fold_tail(raw, kept, scaling))
        optimizer = make_optimizer(config)
        # Copies, because the step consumes its arguments.
        learner = Learner(raw, jax.tree.map(jnp.copy, raw), optimizer.init(raw))
        self.learner = replicate(learner, mesh)
        self.progress = Progress(pace=1.0 / config.steps if config.steps else 0.0)
        self.capacity = choose_capacity(problem.frames, config.batch_atoms // config.devices)
        self.counts = np.array([f.counts for f in problem.frames])
        self.step_function = make_step(
            config,
            self.fold,
            scaling["deviation"] if self.noise else None,
            optimizer,
            self.capacity.segments,
            mesh,
        )
        self.losses: list[Any] = []
        self.earlier = 0.0

    @property
    def checkpoint_path(self) -> Path:
        """Last state of the optimiser."""
        return self.folder.path / "checkpoint.safetensors"

    @property
    def model_path(self) -> Path:
        """Best model so far."""
        return self.folder.path / "model.safetensors"

    def seconds(self) -> float:
        """Wall time used by this run, earlier sessions included."""
        return self.earlier + time.perf_counter() - self.started

    def stored_basis(self, basis: dict[str, Any]) -> dict[str, Any]:
        """Return what the data gave when the run began; other machines would round it otherwise.

        The parameters are in whitened coordinates and mean nothing in others.
        """
        if not self.checkpoint_path.exists():
            return basis
        old, structure = jax.tree.flatten(basis)
        tensors = load_file(self.checkpoint_path)
        try:
            leaves = [tensors[f"basis-{i:02d}"] for i in range(len(old))]
        except KeyError:
            if json.loads(tensors["progress"].tobytes())["done"] >= 1:
                return basis  # of no use any more
            raise ValueError(
                f"{self.checkpoint_path} is of an earlier version of Huozi; choose another folder, "
                "or remove this one"
            ) from None
        restored: dict[str, Any] = jax.tree.unflatten(structure, leaves)
        return restored | {"scaling": jax.tree.map(jnp.asarray, restored["scaling"])}

    def restore(self) -> None:
        """Continue from the last checkpoint, if there is one."""
        if not self.checkpoint_path.exists():
            return
        tensors = load_file(self.checkpoint_path)
        self.progress = Progress(**json.loads(tensors.pop("progress").tobytes()))
        self.earlier = self.progress.seconds
        old, structure = jax.tree.flatten(self.learner)
        leaves = [jnp.asarray(tensors[f"{i:04d}"]) for i in range(len(old))]
        self.learner = replicate(jax.tree.unflatten(structure, leaves), self.mesh)
        self.log("resume", step=self.progress.step)

    def checkpoint(self) -> None:
        """Store everything that the next step depends on, whole or not at all."""
        self.progress.seconds = self.seconds()
        self.saved = time.perf_counter()
        if not is_first():
            return
        self.finite_losses()
        leaves = jax.tree.leaves(self.learner)
        tensors = {f"{i:04d}": np.asarray(x) for i, x in enumerate(leaves)}
        basis = jax.tree.leaves(self.basis)
        tensors |= {f"basis-{i:02d}": np.asarray(x) for i, x in enumerate(basis)}
        state = json.dumps(vars(self.progress)).encode()
        tensors["progress"] = np.frombuffer(state, np.uint8)
        with atomic_path(self.checkpoint_path) as temporary:
            save_file(tensors, temporary)

    def log(self, event: str, **values: Any) -> None:
        """Append to the run's events and tell the display."""
        if not is_first():
            return
        self.folder.log(event, **values)
        if self.report:
            self.report({"event": event, **values})

    def run(self) -> None:
        """Train to the end of the schedule."""
        progress = self.progress
        self.saved = time.perf_counter()
        self.timer = (self.saved, progress.step)
        while progress.done < 1.0:
            rng = np.random.default_rng([self.config.seed, 2, progress.epoch])
            packed = pack(self.counts, self.capacity, rng.permutation(len(self.counts)))
            # A last batch that is too short for all devices is filled up with the first ones.
            share = self.config.devices
            parts = [packed[i % len(packed)] for i in range(-(-len(packed) // share) * share)]
            batches = [parts[i : i + share] for i in range(0, len(parts), share)]
            for members in batches[progress.position :]:
                self.step(members)
                progress.position += 1
                if progress.done * VALIDATIONS >= progress.next_validation:
                    self.validate()
                if progress.done >= 1.0:
                    break
                if time.perf_counter() - self.saved > self.config.checkpoint_every:
                    self.checkpoint()
            else:
                progress.epoch, progress.position = progress.epoch + 1, 0
            if progress.done >= 1.0:
                self.checkpoint()

    def step(self, members: list[list[int]]) -> None:
        """One update from the frames `members` of each device."""
        progress, config, frames = self.progress, self.config, self.problem.frames
        mine = [members[part] for part in own_parts(self.mesh)]
        parts = [assemble([frames[i] for i in part], self.capacity) for part in mine]
        batch = distribute(parts, self.mesh)
        schedule = self.schedule()
        self.learner, value = self.step_function(self.learner, batch, schedule)
        self.losses.append(value)
        progress.step += 1
        since = progress.step - self.timer[1]
        if since == 1 or since % REPLAN_STEPS == 0:
            jax.block_until_ready(value)
            if not config.steps:
                self.keep_to_budget(since)
            if self.report and is_first():
                self.report({"event": "progress", "step": progress.step, "done": progress.done})
        if config.steps:
            progress.done = progress.step / config.steps
        else:
            progress.done = min(1.0, progress.done + progress.pace)

    def schedule(self) -> Schedule:
        """Learning rate and prefactors of the next step."""
        now = self.progress
        return schedule_at(
            self.config, self.energy_weight, self.noise, now.done, now.pace, now.step
        )

    def keep_to_budget(self, since: int) -> None:
        """Set the pace so that the schedule ends with the budget.

        The first step of a session compiles, so the clock starts after it; from then on the
        time per step includes validation and checkpoints.
        """
        progress = self.progress
        if since == 1:
            self.timer = (time.perf_counter(), progress.step - 1)
            return
        per_step = (time.perf_counter() - self.timer[0]) / (since - 1)
        left = max(self.config.budget - self.seconds(), per_step)
        progress.pace = agreed((1.0 - progress.done) * per_step / left)

    def finite_losses(self) -> np.ndarray:
        """Losses since the last validation.

        Raises
        ------
        ValueError
            If one is not finite; the last checkpoint is from before it.
        """
        self.losses = [float(x) for x in self.losses]  # those seen before are numbers already
        values = np.array(self.losses)
        if not np.isfinite(values).all():
            raise ValueError(
                f"the loss is not finite near step {self.progress.step}; look at the data with "
                "`huozi data check`, or lower learning_rate"
            )
        return values

    def validate(self) -> None:
        """Errors of the averaged weights on all validation frames; keep the best model."""
        progress, config = self.progress, self.config
        values = self.finite_losses()
        self.losses.clear()
        params = self.fold(gather(self.learner.averaged, self.mesh))
        metrics = self.problem.evaluator(params, config.architecture)
        score = self.score(metrics)
        progress.next_validation = int(progress.done * VALIDATIONS) + 1
        progress.stale += 1
        # The last model is kept whatever its score: a few validation frames may have preferred one
        # of high learning rate by chance.
        if score < progress.best or progress.done >= 1.0:
            progress.best, progress.stale = score, 0
            self.save_model(metrics, params)
        if config.patience and progress.stale >= config.patience:
            progress.done = 1.0
        self.log(
            "validation",
            step=progress.step,
            done=round(progress.done, 4),
            seconds=round(self.seconds(), 2),
            train_loss=float(values.mean()),
            best=progress.stale == 0,
            learning_rate=float(self.schedule().learning_rate),
            **{k: v for k, v in metrics.to_dict().items() if k.endswith(("atom", "_A"))},
        )

    def score(self, metrics: Metrics) -> float:
        """Logarithm of force error times energy error: a per cent of either counts the same.

        The loss would do if it were the same frames' that are minimised; on few validation
        frames its terms differ by orders of magnitude, and one of them would decide alone.
        """
        errors = (metrics.force_rmse_mev_per_A, metrics.energy_rmse_mev_per_atom)
        return sum(math.log(max(error, 1e-9)) for error in errors if error is not None)

    def save_model(self, metrics: Metrics, params: Any) -> None:
        """Write the model with its validation errors."""
        if not is_first():
            return
        problem = self.problem
        metadata = {
            "validation": metrics.to_dict(),
            "step": self.progress.step,
            "train_frames": len(problem.frames),
            "train_sha256": problem.digest,
            "settings": self.config.model_dump(mode="json")
            | {"energy_weight": self.energy_weight, "descriptor_noise": self.noise},
            "versions": {"huozi": __version__, "jax": jax.__version__, "numpy": np.__version__},
        }
        Model(self.config.architecture, problem.elements, problem.e0, params, metadata).save(
            self.model_path
        )

    def result(self) -> TrainResult:
        """Load the best model and compute its errors once more."""
        wait_for_all("model")
        model = load_model(self.model_path)
        metrics = self.problem.evaluator(model.params, model.config)
        if is_first():
            write_json(self.folder.path / "metrics.json", metrics.to_dict())
        return TrainResult(
            model, metrics, self.folder.path, self.progress.step, self.progress.seconds
        )
