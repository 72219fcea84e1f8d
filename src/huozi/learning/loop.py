"""The loop: a plain `for` over iterations that replays through the cache of its tasks.

Nothing but finished tasks is remembered between sessions. A run that was interrupted, at whatever
place, walks the same way again, finds what had finished, and goes on with the rest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np

from huozi.files import digest, write_json, write_text
from huozi.labels import Labelled, isolated_atoms, label
from huozi.learning.descriptor import describe
from huozi.learning.ensemble import member_files, test_ensemble, test_member, train_ensemble
from huozi.learning.explore import (
    Seen,
    State,
    explore_tasks,
    gather,
    in_physics,
    states,
)
from huozi.learning.generate import distorted, evenly, random_boxes
from huozi.learning.page import learning_page
from huozi.learning.select import (
    decide,
    fractions,
    in_turn,
    reason_to_stop,
    set_bounds,
    widened,
)
from huozi.learning.settings import LearnSettings
from huozi.learning.status import costs
from huozi.potential import Ensemble, TrainConfig, load_model
from huozi.systems import Dataset, Frame, read, write
from huozi.workflow import Outcome, RunFolder, Runner, Task, open_executor
from huozi.workflow.stage import Report


@dataclass(frozen=True)
class LearnResult:
    """A finished run: its folder, with data set, model and report, and its numbers."""

    path: Path
    results: dict[str, Any]


@dataclass
class _Learner:
    """A run in progress: settings, where the tasks run, and what is known so far."""

    settings: LearnSettings
    runner: Runner
    starts: list[Frame]
    data: list[Frame] = field(default_factory=list)
    random: list[Frame] = field(default_factory=list)
    e0: dict[str, float] | None = None
    models: list[Path] = field(default_factory=list)
    pairs: list[list[float]] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """Folder of the run."""
        return self.runner.folder.path

    @property
    def elements(self) -> list[int]:
        """Atomic numbers of the run."""
        return list(Dataset(tuple(self.starts)).elements)

    def rng(self, *purpose: int) -> np.random.Generator:
        """Random numbers for one purpose, the same in every session."""
        return np.random.default_rng([self.settings.seed, *purpose])

    def training(self, config: TrainConfig) -> TrainConfig:
        """Return the settings of a training, with the energies of isolated atoms if known."""
        return config.model_copy(update={"e0": self.e0}) if self.e0 else config

    def label(self, frames: Sequence[Frame], stage: str) -> Labelled:
        """Label frames and remember what failed."""
        found = label(frames, self.settings.level, self.runner, self.settings.quorum, stage)
        self.failures += [
            {"frame": source, "reason": outcome.reason, "folder": str(outcome.folder)}
            for source, outcome in found.failures
        ]
        return found

    def begin(self) -> None:
        """Label what the first models learn from."""
        settings, explore = self.settings, self.settings.explore
        count = max(0, settings.initial - len(self.starts))
        more = distorted(self.starts, count, explore.rattle, explore.strain, self.rng(0))
        chosen = evenly(self.starts, settings.initial) + more
        self.data = list(self.label(chosen, "initial labels").dataset)
        self.random = list(self.data)
        if settings.isolated_atoms:
            symbols = Dataset(tuple(self.starts)).symbols
            alone = self.label(isolated_atoms(symbols), "isolated atoms").dataset
            self.e0 = {frame.source.split()[1]: float(frame.labels.energy or 0) for frame in alone}

    def iterate(self, number: int, starts: list[tuple[Path, State]]) -> list[tuple[Path, State]]:
        """Train, explore, test, select, label; return where the walkers go on."""
        settings = self.settings
        folder = self.path / f"iter-{number:03d}"
        name = f"iteration {number}"
        data = save(self.data, folder / "data.extxyz")
        models = train_ensemble(
            self.runner, data, self.training(settings.train), settings.models, f"{name}: train"
        )
        walks = self.explore(number, starts, models, folder)
        seen = gather(walks)
        # The bounds so far only keep what is no matter out of the test. What the deviations of
        # these very models are worth is known once the test is labelled.
        high = widened(set_bounds(settings.select, self.pairs), seen, settings.select).high
        drawn, rest = self.draw(number, seen, high, [state for _, state in starts])
        control = list(self.label([seen.frames[i] for i in drawn], f"{name}: label test").dataset)
        if not control:
            raise ValueError(f"{name}: none of the control frames has a label; look at the logs")
        errors = self.test(control, models, folder, name)
        bounds = widened(set_bounds(settings.select, self.pairs), seen, settings.select)
        cutoff = settings.train.architecture.cutoff
        known = np.array(
            [describe(f.system, self.elements, cutoff) for f in [*self.data, *control]]
        )
        decisions, chosen = decide(seen, bounds, settings.select.batch, known, drawn)
        random = rest[: len(chosen)] if settings.random_control else []
        found = self.label([seen.frames[i] for i in [*chosen, *random]], f"{name}: label")
        selected, at_random = split_labels(found, [len(chosen), len(random)])
        lines = [json.dumps(d.to_dict(), ensure_ascii=False) for d in decisions]
        write_text(folder / "decisions.jsonl", "\n".join(lines) + "\n")
        record: dict[str, Any] = {
            "iteration": number,
            "training_frames": len(self.data),
            "frames_seen": len(seen.frames),
            "fractions": fractions(decisions),
            "low_eV_A": bounds.low,
            "high_eV_A": bounds.high,
            "bounds": bounds.reason,
            "chosen": len(chosen),
            "selected": len(selected),
            "control_frames": len(control),
            "walks_ended_early": sum(bool(o.done and o.result["ended"]) for o in walks),
            **errors,
        }
        if settings.random_control:
            record |= self.test_random(control, folder, name)
            self.random += [*at_random[: len(selected)], *control]
        self.data += selected
        self.models = models
        self.records.append(record)
        write_json(folder / "report.json", record)
        self.runner.folder.log("iteration", **record)
        return self.next_starts(starts, walks, bounds.high, folder)

    def explore(
        self, number: int, starts: list[tuple[Path, State]], models: list[Path], folder: Path
    ) -> list[Outcome]:
        """Let the walkers walk, and look at generated structures."""
        tasks = explore_tasks(
            self.settings.explore,
            number,
            starts,
            self.generated(number, folder),
            models,
            self.elements,
            self.settings.seed,
        )
        return self.runner.run(f"iteration {number}: explore", tasks, self.settings.quorum)

    def generated(self, number: int, folder: Path) -> Path | None:
        """Write the rattled and strained structures of an iteration."""
        explore = self.settings.explore
        if not explore.generated:
            return None
        rng = self.rng(number, 1)
        made = distorted(self.data, explore.generated, explore.rattle, explore.strain, rng)
        return save(made, folder / "generated.extxyz")

    def draw(
        self, number: int, seen: Seen, high: float, states: list[State]
    ) -> tuple[list[int], list[int]]:
        """Draw the test set from all physical frames of the walks, before anything is selected.

        The states of the walkers take turns. The rest, in random order, is what a rival without an
        ensemble would choose from.
        """
        free = np.flatnonzero(in_physics(seen, high) & (seen.walker < len(states)))
        if not len(free):
            raise ValueError(
                f"iteration {number}: no walk saw a physical structure; begin with more or other "
                "frames (initial), a shorter time step, or lower temperatures"
            )
        order = [int(i) for i in self.rng(number, 2).permutation(free)]
        order = in_turn(order, [states[w] for w in seen.walker[order]])
        return order[: self.settings.control], order[self.settings.control :]

    def test(
        self, control: list[Frame], models: list[Path], folder: Path, name: str
    ) -> dict[str, Any]:
        """Errors on fresh control frames; they calibrate the bounds, too."""
        found = self.errors(control, models, folder / "control.extxyz", f"{name}: test")
        self.pairs = found["deviation_and_error"]
        return {
            "control_force_rmse_mev_per_A": found["force_rmse_mev_per_A"],
            "control_energy_rmse_mev_per_atom": found["energy_rmse_mev_per_atom"],
        }

    def test_random(self, control: list[Frame], folder: Path, name: str) -> dict[str, Any]:
        """Error of a model from frames chosen at random, on the same control frames."""
        data = save(self.random, folder / "random.extxyz")
        config = self.training(self.settings.train)
        models = train_ensemble(self.runner, data, config, 1, f"{name}: train random")
        found = self.errors(control, models, folder / "control.extxyz", f"{name}: test random")
        return {
            "random_training_frames": len(self.random),
            "random_force_rmse_mev_per_A": found["force_rmse_mev_per_A"],
        }

    def errors(
        self, control: list[Frame], models: list[Path], path: Path, stage: str
    ) -> dict[str, Any]:
        """Compare models with labelled frames."""
        files = {"data": save(control, path), **member_files(models)}
        (outcome,) = self.runner.run(stage, [Task(test_member, {}, files, name="test")])
        result: dict[str, Any] = outcome.result
        return result

    def next_starts(
        self, starts: list[tuple[Path, State]], walks: list[Outcome], high: float, folder: Path
    ) -> list[tuple[Path, State]]:
        """Let walkers go on from where they are; those that left physics begin anew."""
        following = []
        for number, ((_, state), outcome) in enumerate(zip(starts, walks)):
            seen = gather([outcome])
            sound = len(seen.frames) > 0 and bool(in_physics(seen, high).all())
            if sound and not outcome.result["ended"]:
                path = save([seen.frames[-1]], folder / "walkers" / f"w{number:03d}.extxyz")
            else:
                path = self.path / "start" / f"{number % len(self.starts):03d}.extxyz"
            following.append((path, state))
        return following

    def finish(self) -> dict[str, Any]:
        """Train the model that is delivered and test it on the last control frames.

        The last models of the loop, which have not seen these frames either, make an ensemble of
        it, so that its deviation can warn wherever it is used.
        """
        data = save(self.data, self.path / "data.extxyz")
        config = self.training(self.settings.final or self.settings.train)
        (model,) = train_ensemble(self.runner, data, config, 1, "final: train")
        # With nothing selected and the same settings, the final model is one of the last.
        members = [model, *(m for m in self.models if m != model)]
        control = list(read(self.path / f"iter-{len(self.records):03d}" / "control.extxyz"))
        files = {"data": save(control, self.path / "control.extxyz"), **member_files(members)}
        task = Task(test_ensemble, {}, files, name="test")
        (outcome,) = self.runner.run("final: test", [task])
        copyfile(model, self.path / "model.safetensors")
        Ensemble(tuple(load_model(m) for m in members)).save(self.path / "ensemble.safetensors")
        result: dict[str, Any] = outcome.result
        return result

    def results(self, verdict: str, final: dict[str, Any] | None = None) -> dict[str, Any]:
        """Numbers of the run so far, or with the final model's errors those of the whole."""
        return {
            "converged": bool(verdict),
            "verdict": verdict or f"not converged after {len(self.records)} iterations",
            "training_frames": len(self.data),
            "labels": len(self.data) + sum(r["control_frames"] for r in self.records[-1:]),
            "failed_labels": self.failures,
            "final": final,
            "iterations": self.records,
            "cost": costs(self.runner.folder),
        }

    def report(self, results: dict[str, Any]) -> None:
        """Write the report, of a run that goes on, too."""
        save(self.data, self.path / "data.extxyz")
        page = learning_page(self.runner.folder, self.settings, results)
        page.write(self.path / "report.html")


def learn(settings: LearnSettings, out: str | Path, report: Report | None = None) -> LearnResult:
    """Run the whole loop, or finish one that was interrupted.

    Parameters
    ----------
    settings : LearnSettings
    out : path
        Folder of the run: ``tasks``, ``iter-*``, ``data.extxyz``, ``model.safetensors``,
        ``ensemble.safetensors``, ``results.json``, and ``report.html``, which is brought up to
        date after each iteration.
    report : callable, optional
        Called with a stage and its tasks finished, failed and in all, for a display.

    Returns
    -------
    LearnResult

    Raises
    ------
    ValueError
        If the folder holds another run, another process is at work in it, or too many tasks fail.
    ImportError
        If the label engine or Parsl is missing.
    """
    folder = RunFolder(Path(out))
    # Each retraining compiles the same step again, in whichever process; XLA's cache saves that.
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str((folder.path / "jax-cache").resolve()))
    executor = (settings.executor, settings.workers, folder.path, settings.parsl_config)
    with folder.alone():
        starts = prepare_starts(settings, folder)
        with open_executor(*executor) as opened:
            runner = Runner(folder, opened, settings.timeout, report)
            learner = _Learner(settings, runner, starts)
            learner.begin()
            places = [
                (folder.path / "start" / f"{k:03d}.extxyz", state)
                for state in states(settings.explore)
                for k in range(len(starts))
            ]
            verdict = ""
            for number in range(1, settings.iterations + 1):
                places = learner.iterate(number, places)
                verdict = reason_to_stop(learner.records, settings.converge)
                learner.report(learner.results(verdict))
                if verdict or number == settings.iterations:
                    break
                learner.data += read_control(folder.path, number)
            final = learner.finish()
            results = learner.results(verdict, final)
            learner.report(results)
        write_json(folder.path / "results.json", results)
        folder.log("finished", converged=results["converged"])
    return LearnResult(folder.path, results)


def read_control(path: Path, number: int) -> list[Frame]:
    """Control frames of an iteration: once they have served as a test, they are learnt from."""
    return list(read(path / f"iter-{number:03d}" / "control.extxyz"))


def split_labels(found: Labelled, sizes: Sequence[int]) -> list[list[Frame]]:
    """Sort labelled frames into the groups in which they were asked for."""
    groups: list[list[Frame]] = [[] for _ in sizes]
    ends = np.cumsum(sizes)
    for number, frame in zip(found.kept, found.dataset):
        groups[int(np.searchsorted(ends, number, side="right"))].append(frame)
    return groups


def save(frames: Sequence[Frame], path: Path) -> Path:
    """Write frames, if there are any."""
    if frames:
        write(Dataset(tuple(frames)), path, overwrite=True)
    return path


def prepare_starts(settings: LearnSettings, folder: RunFolder) -> list[Frame]:
    """Read and make the starting structures, and claim the folder for this run.

    Raises
    ------
    FileNotFoundError, ValueError
        If a structure cannot be read, or the folder holds another run.
    """
    frames = list(read(settings.structures)) if settings.structures else []
    for number, boxes in enumerate(settings.boxes):
        frames += random_boxes(boxes, np.random.default_rng([settings.seed, 100 + number]))
    identity = {
        "settings": settings.science(),
        "structures": {path: digest(path) for path in settings.structures if Path(path).is_file()},
    }
    folder.stored_config("learn")  # or it is another verb's
    record = folder.path / "run.json"
    if record.exists():
        before = json.loads(record.read_text(encoding="utf-8"))
        if before != json.loads(json.dumps(identity)):
            changed = [
                name
                for name, value in identity["settings"].items()
                if before["settings"].get(name) != json.loads(json.dumps(value))
            ]
            raise ValueError(
                f"{folder.path} holds a run with other {', '.join(changed) or 'structures'}; "
                "choose another folder with --out"
            )
    folder.write_config({"verb": "learn", **settings.model_dump(mode="json")})
    write_json(record, identity)
    for k, frame in enumerate(frames):
        save([frame], folder.path / "start" / f"{k:03d}.extxyz")
    return frames
