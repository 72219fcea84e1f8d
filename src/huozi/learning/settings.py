"""What a concurrent-learning run is made of: one file, ``learn.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from huozi.labels import Level
from huozi.potential import TrainConfig
from huozi.workflow import read_settings

Positive = Annotated[float, Field(gt=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Boxes(_Part):
    """Random boxes of one molecule."""

    molecule: str = Field(description="A name ASE knows (H2O, CH3OH, ...) or a structure file.")
    count: int = Field(32, ge=1, description="Molecules a box.")
    density: float = Field(1.0, gt=0, description="g/cm^3.")
    number: int = Field(10, ge=1, description="Boxes.")


class Explore(_Part):
    """Where candidates come from."""

    temperatures: list[Positive] = Field([300.0], min_length=1, description="K.")
    pressures: list[float] = Field(
        [], description="GPa; each with every temperature. Empty: constant volume."
    )
    picoseconds: list[Positive] = Field(
        [0.5, 1.0, 2.0, 5.0],
        min_length=1,
        description="Length of a walk in each iteration; the last value holds from then on.",
    )
    timestep: float = Field(0.5, gt=0, description="fs.")
    compressibility: float = Field(0.45, gt=0, description="Rough compressibility, 1/GPa.")
    frames: int = Field(20, ge=1, description="Frames of a walk that are looked at.")
    generated: int = Field(
        20, ge=0, description="Rattled and strained structures besides, in each iteration."
    )
    rattle: float = Field(0.1, ge=0, description="Standard deviation of rattled positions, Å.")
    strain: float = Field(0.03, ge=0, lt=0.5, description="Standard deviation of strained cells.")


class Select(_Part):
    """Which of them are labelled."""

    target: float = Field(
        0.06, gt=0, description="Force error that is good enough (root mean square), eV/Å."
    )
    low: float | None = Field(
        None,
        gt=0,
        description="Deviation below which a frame is accurate, eV/Å; without it, it follows from "
        "the target and from how errors and deviations go together on the control frames.",
    )
    high: float | None = Field(
        None,
        gt=0,
        description="Deviation from which a frame has left physics, eV/Å; without it 20 low.",
    )
    batch: int = Field(20, ge=1, description="Most frames to label in one iteration.")


class Converge(_Part):
    """When nothing is left to learn."""

    candidates: float = Field(0.05, ge=0, le=1, description="Part of the frames, at most.")
    change: float = Field(0.1, gt=0, description="Relative change of the control error, at most.")
    iterations: int = Field(2, ge=1, description="Iterations in a row for which both must hold.")


class LearnSettings(_Part):
    """A run of `huozi learn`."""

    structures: list[str] = Field([], description="Files of starting structures.")
    boxes: list[Boxes] = Field([], description="Random boxes to start from.")
    level: Level = Field(description="Level of theory of the labels; see docs/labels.md.")
    isolated_atoms: bool = Field(False, description="Label each element as an atom alone, too.")
    initial: int = Field(
        20, ge=4, description="Frames labelled before the first model, rattled from the start."
    )
    control: int = Field(
        8, ge=2, description="Frames drawn at random and labelled in each iteration, as a test."
    )
    explore: Explore = Explore()
    select: Select = Select()
    models: int = Field(3, ge=2, description="Members of the ensemble.")
    train: TrainConfig = Field(
        TrainConfig(budget=120.0), description="Training in each iteration, as of `huozi train`."
    )
    final: TrainConfig | None = Field(
        None, description="Training of the model that is delivered; without it that of `train`."
    )
    converge: Converge = Converge()
    iterations: int = Field(8, ge=1, description="Most iterations.")
    random_control: bool = Field(
        False, description="Learn from as many frames chosen at random, too, and compare."
    )
    seed: int = Field(0, ge=0, description="Seed of everything that is drawn.")
    quorum: float = Field(
        0.8, ge=0, le=1, description="Part of the labels and walks of a stage that must succeed."
    )
    executor: Literal["local", "parsl"] = Field("local", description="Who runs the tasks.")
    workers: int = Field(2, ge=1, description="Tasks at the same time on this machine.")
    parsl_config: Path | None = Field(
        None, description="Python file that defines `config`, a parsl.Config."
    )
    timeout: float | None = Field(None, gt=0, description="Seconds a task may take.")

    @model_validator(mode="after")
    def _has_a_start(self) -> Self:
        if not self.structures and not self.boxes:
            raise ValueError("give structures (files) or boxes (random ones) to start from")
        return self

    @model_validator(mode="after")
    def _makes_an_ensemble(self) -> Self:
        first, last = self.train.architecture, (self.final or self.train).architecture
        if first.cutoff != last.cutoff:
            raise ValueError(
                f"train has a cutoff of {first.cutoff} Å, final of {last.cutoff} Å; the models of "
                "an ensemble must have the same"
            )
        return self

    @classmethod
    def read(
        cls, path: str | Path | None, overrides: dict[str, Any] | None = None
    ) -> LearnSettings:
        """Read a YAML or JSON file, or overrides alone.

        Raises
        ------
        ValueError
            In one sentence, with every setting that is wrong, and the nearest right name.
        """
        return read_settings(cls, path, overrides)

    def science(self) -> dict[str, Any]:
        """Everything but where and how the tasks are run; this is what a run is identified by."""
        machine = {"executor", "workers", "parsl_config", "timeout", "quorum", "iterations"}
        return self.model_dump(mode="json", exclude=machine)
