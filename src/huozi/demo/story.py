"""What a demo found, gathered for its report."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from huozi import __version__
from huozi.arrays import jax
from huozi.demo.config import DemoConfig
from huozi.dynamics import MDConfig
from huozi.dynamics.observables import Analysis, Drift, RunData, energy_drift
from huozi.files import without_nan
from huozi.potential import Metrics, TrainResult
from huozi.systems import System
from huozi.workflow import RunFolder


@dataclass(frozen=True, eq=False)
class Story:
    """Everything the report tells.

    Parameters
    ----------
    out : Path
    config : DemoConfig
    data : sequence of paths or None
        As the user gave them.
    summary : dict
        From `huozi.demo.data.prepare_data`.
    trained : TrainResult
    metrics : Metrics
        On the test frames.
    analysis : Analysis
        Of the run at constant temperature.
    energies : RunData
        The run at constant energy.
    stages : dict
        Seconds of each stage.
    """

    out: Path
    config: DemoConfig
    data: Sequence[str | Path] | None
    summary: dict[str, Any]
    trained: TrainResult
    metrics: Metrics
    analysis: Analysis
    energies: RunData
    stages: dict[str, float]

    @cached_property
    def system(self) -> System:
        """The simulated system."""
        return System.from_atoms(self.analysis.run.trajectory[0])

    @cached_property
    def runs(self) -> tuple[MDConfig, MDConfig]:
        """Settings of the runs at constant temperature and at constant energy."""
        return self.config.constant_temperature(self.system), self.config.constant_energy(
            self.system
        )

    @property
    def seconds(self) -> dict[str, float]:
        """Wall time of each stage; the training knows that of interrupted sessions too."""
        longest = max(self.stages["training"], self.trained.seconds)
        return {**self.stages, "training": longest}

    @cached_property
    def speed(self) -> float | None:
        """Speed of the simulation, ns/day."""
        events = [
            event.get("ns_per_day")
            for name in ("nvt", "nve")
            for event in RunFolder(self.out / name).events("finished")
        ]
        return max((speed for speed in events if speed), default=None)

    @cached_property
    def drift(self) -> Drift | None:
        """Drift of the energy at constant energy."""
        thermo = self.energies.thermo
        if thermo is None or len(thermo["step"]) < 16:
            return None
        return energy_drift(thermo["time_fs"], thermo["conserved_eV"], len(self.system))

    @cached_property
    def validations(self) -> list[dict[str, Any]]:
        """Errors in the course of the training, one entry a validation."""
        events = RunFolder(self.trained.path).events("validation")
        return list({event["step"]: event for event in events}.values())

    @cached_property
    def commands(self) -> list[str]:
        """The demo as one command, and the same work verb by verb."""
        hot, cold = self.runs
        out, budget = self.out, f"{self.config.train_budget:g}s"
        demo: list[Any] = ["demo", *(f"--data={path}" for path in self.data or [])]
        demo += ["--train-budget", budget, "--picoseconds", f"{self.config.picoseconds:g}"]
        demo += ["--temperature", f"{self.config.temperature:g}", "--out", out]
        analyse: list[Any] = [
            "analyse",
            out / "nvt",
            "--skip",
            f"{self.config.skipped(self.system):g}",
        ]
        if "reference_frames" in self.analysis.numbers:
            analyse += ["--reference", out / "data" / "reference.extxyz"]
        verbs: list[list[Any]] = [
            demo,
            ["train", out / "data" / "train.extxyz", "--budget", budget, "--out", out / "train"],
            ["test", out / "train", out / "data" / "test.extxyz"],
            [*md(out / "train", out / "data" / "start.extxyz", hot), "--out", out / "nvt"],
            [
                *md(out / "train", out / "nve-start.extxyz", cold),
                *("--keep-velocities", "--out", out / "nve"),
            ],
            analyse,
        ]
        whole, *steps = [shlex.join(["huozi", *map(str, verb)]) for verb in verbs]
        return [whole, "", "# the same, verb by verb", *steps]

    @cached_property
    def numbers(self) -> dict[str, Any]:
        """Every number, ready for JSON."""
        drift = None if self.drift is None else self.drift._asdict()
        return dict(
            without_nan(
                {
                    "settings": self.config.model_dump(mode="json"),
                    "data": self.summary,
                    "training": {
                        "steps": self.trained.steps,
                        "seconds": self.trained.seconds,
                        "validation": self.trained.metrics.to_dict(),
                    },
                    "test": self.metrics.to_dict(),
                    "constant_temperature": self.analysis.numbers,
                    "constant_energy": {
                        "ps": self.runs[1].steps * self.runs[1].timestep / 1e3,
                        "drift_meV_per_atom_per_ps": drift,
                    },
                    "ns_per_day": self.speed,
                    "seconds": self.seconds,
                    "machine": machine(),
                    "report": str(self.out / "report.html"),
                    "model": str(self.out / "train" / "model.safetensors"),
                }
            )
        )


def md(model: Path, structure: Path, config: MDConfig) -> list[Any]:
    """Arguments of ``huozi md`` that differ from the defaults."""
    arguments: list[Any] = ["md", model, structure]
    for name, field in MDConfig.model_fields.items():
        value = getattr(config, name)
        if value != field.default or name in ("steps", "temperature"):
            arguments += [
                f"--{name.replace('_', '-')}",
                f"{value:g}" if isinstance(value, float) else value,
            ]
    return arguments


def machine() -> dict[str, Any]:
    """Processor, cores this process may use, and versions."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
        models = [line.partition(":")[2] for line in text.splitlines() if "model name" in line]
        name = models[0].strip() if models else name
    usable = getattr(os, "sched_getaffinity", None)
    return {
        "processor": name,
        "cores": len(usable(0)) if usable else os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "huozi": __version__,
    }
