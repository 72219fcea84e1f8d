"""Settings of a training run: one description per field feeds defaults, checks and help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from huozi.potential.architectures import Architecture
from huozi.potential.moment import MomentConfig
from huozi.workflow import Duration, read_settings


def name_architecture(value: Any) -> Any:
    """Take the architecture ``moment`` where settings name no other."""
    return {"name": "moment", **value} if isinstance(value, dict) else value


class TrainConfig(BaseModel):
    """How to train; the defaults are meant to be right, `budget` is the one to set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: Annotated[Architecture, BeforeValidator(name_architecture)] = MomentConfig()
    budget: Duration = Field(
        300.0, gt=0, description="Wall time of the whole run, set-up included (5min, 1h, ...)."
    )
    steps: int | None = Field(
        None, ge=1, description="Train this many steps instead of filling the budget."
    )
    seed: int = Field(0, ge=0, description="Seed of the parameters, the order and the split.")
    valid_fraction: float = Field(
        0.05, gt=0, lt=1, description="Frames held out when no validation data are given."
    )
    batch_atoms: int = Field(192, ge=1, description="Atoms a batch, on average.")
    devices: int = Field(
        1, ge=1, description="Devices that share each batch; of several processes, all of theirs."
    )
    learning_rate: float = Field(4e-3, gt=0, description="Largest learning rate.")
    weight_decay: float = Field(1.0, ge=0, description="Decay of the weight matrices.")
    descriptor_noise: float | None = Field(
        None,
        ge=0,
        description="Noise on the descriptors (moment) when the training begins, in their own "
        "deviations; it falls to zero at the end. Without it, the fewer forces, the more, up to 1.",
    )
    energy_weight: tuple[float, float] | None = Field(
        None,
        description="Energy prefactor at start and end, per eV^2/atom; without it, the wider the "
        "energies of the data spread, the larger.",
    )
    force_weight: float = Field(1.0, ge=0, description="Force prefactor, per (eV/Å)^2.")
    virial_weight: tuple[float, float] = Field(
        (2e-5, 2e-3), description="Virial prefactor at start and end, per eV^2/atom."
    )
    ema: float = Field(
        0.02, ge=0, lt=1, description="Memory of averaged weights, as a fraction of the run."
    )
    clip: float = Field(10.0, gt=0, description="Largest norm of the gradient.")
    patience: int | None = Field(
        None, ge=1, description="Stop after this many validations without improvement."
    )
    trunk: Path | None = Field(
        None,
        description="Model file, or its run folder, that is kept but for its last hidden layer and "
        "readout, which alone are trained: further members of an ensemble, or fine-tuning.",
    )
    e0: dict[str, float] | None = Field(
        None, description="Energy of an isolated atom by symbol, eV; fitted when absent."
    )
    checkpoint_every: Duration = Field(20.0, ge=0, description="Time between checkpoints.")

    @model_validator(mode="after")
    def _noise_of_moments(self) -> TrainConfig:
        if self.descriptor_noise and not isinstance(self.architecture, MomentConfig):
            raise ValueError(
                "descriptor_noise is for the architecture moment; "
                f"{self.architecture.name} has none"
            )
        if self.descriptor_noise and self.trunk is not None:
            raise ValueError("descriptor_noise does nothing behind a trunk; leave out one of them")
        return self

    @classmethod
    def read(cls, path: str | Path | None, overrides: dict[str, Any] | None = None) -> TrainConfig:
        """Read settings from a YAML or JSON file, from options that override it, or both.

        Raises
        ------
        ValueError
            In one sentence, with every unknown or invalid setting.
        """
        return read_settings(cls, path, overrides)
