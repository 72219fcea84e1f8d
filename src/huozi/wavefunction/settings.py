"""Settings of a wave function and its optimisation: one description per field."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from huozi.workflow import Duration, read_settings

FEW_ELECTRONS = 6
"""For more, the noise of 512 walkers would slow the optimisation down."""


class AnsatzConfig(BaseModel):
    """Form and size of the wave function."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["psiformer", "ferminet", "lapnet", "pairproduct"] = Field(
        "psiformer", description="Ansatz."
    )
    width: int = Field(16, ge=4, description="Width of the network; a multiple of heads.")
    layers: int = Field(2, ge=0, description="Layers of the network.")
    heads: int = Field(4, ge=1, description="Attention heads, of psiformer and lapnet.")
    pairing: Literal["geminals", "determinants"] | None = Field(
        None,
        description="Products of functions of two electrons, or of orbitals; pairproduct has its "
        "own. [geminals; determinants for several states and for electrons of one spin]",
    )
    determinants: int = Field(
        4,
        ge=1,
        description="Determinants; with geminals, orbitals for each pair of electrons; of "
        "pairproduct, terms of each pair function.",
    )
    pair_width: int = Field(16, ge=1, description="Width of the networks for pairs of electrons.")
    precision: Literal["float32", "float64"] = Field(
        "float32", description="Of the network; orbitals, determinants and sums are float64."
    )
    states: int = Field(
        1, ge=1, description="Lowest states of the given spin projection, found at once."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.kind in ("psiformer", "lapnet") and self.width % self.heads:
            raise ValueError(
                f"a width of {self.width} cannot be shared by {self.heads} heads; take a multiple"
            )
        for choice in (self.kind, self.pairing):
            if self.states > 1 and choice in ("pairproduct", "geminals"):
                raise ValueError(f"several states start from determinants, which {choice} have not")
        return self


class TrainConfig(BaseModel):
    """How to optimise; the defaults are meant to be right, `budget` is the one to set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ansatz: AnsatzConfig = AnsatzConfig()
    budget: Duration = Field(
        600.0, gt=0, description="Wall time of the whole run, set-up included (5min, 1h, ...)."
    )
    steps: int | None = Field(
        None, ge=1, description="Make this many steps instead of filling the budget."
    )
    seed: int = Field(0, ge=0, description="Seed of parameters and walkers.")
    walkers: int | None = Field(
        None,
        ge=8,
        description="Configurations sampled at once. [512; beyond six electrons 1024]",
    )
    moves: int = Field(10, ge=1, description="Metropolis moves of every walker between steps.")
    learning_rate: float = Field(
        0.1,
        gt=0,
        description="First step in imaginary time, 1/hartree, for charges to 3; 3/Z of it beyond.",
    )
    damping: float = Field(
        0.01, gt=0, description="Added to the Gram matrix per variance of the local energy."
    )
    momentum: float = Field(0.98, ge=0, lt=1, description="Part of a step that the next one keeps.")
    step_limit: float = Field(
        0.1, gt=0, description="Largest root mean square change of log|psi| by a step."
    )
    clip: float = Field(
        10.0, gt=0, description="Mean deviations from the median beyond which energies are clipped."
    )
    chunk: int | None = Field(
        None, ge=1, description="Walkers whose local energy is computed at once. [by electrons]"
    )
    devices: int = Field(
        1, ge=1, description="Devices that share the walkers; divides the walkers of a geometry."
    )
    checkpoint_every: Duration = Field(20.0, ge=0, description="Time between checkpoints.")

    def walkers_for(self, electrons: int) -> int:
        """Count the configurations to sample; of several states the electrons of all copies."""
        return self.walkers or (512 if electrons <= FEW_ELECTRONS else 1024)

    @classmethod
    def read(cls, path: str | Path | None, overrides: dict[str, Any] | None = None) -> TrainConfig:
        """Read settings from a YAML or JSON file, from options that override it, or both.

        Raises
        ------
        ValueError
            In one sentence, with every unknown or invalid setting.
        """
        return read_settings(cls, path, overrides)
