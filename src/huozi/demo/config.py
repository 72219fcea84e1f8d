"""What a user may choose in the demo."""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict, Field

from huozi.dynamics import MDConfig
from huozi.potential import TrainConfig
from huozi.systems import System
from huozi.workflow import Duration

EQUILIBRATION = 0.1
"""First part of the run at constant temperature that is left out, as a share of the rest."""

CONSTANT_ENERGY = 0.2
"""Length of the run at constant energy, as a share of that at constant temperature."""

LEAST_STEPS = 400
"""Shortest run at constant energy: 40 rows of the log, enough for a slope with an error."""


class DemoConfig(BaseModel):
    """Settings of the demo: how long to train, how long to simulate, how hot."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    train_budget: Duration = Field(300.0, gt=0, description="Wall time of the training.")
    picoseconds: float = Field(
        10.0, gt=0, description="Length of the simulation after equilibration, ps."
    )
    temperature: float = Field(300.0, gt=0, description="Temperature of the simulation, K.")

    def training(self) -> TrainConfig:
        """Return the settings of the training."""
        return TrainConfig(budget=self.train_budget)

    def constant_temperature(self, system: System) -> MDConfig:
        """Return the settings of the run that structure and motion are taken from."""
        timestep = time_step(system)
        return MDConfig(
            temperature=self.temperature,
            timestep=timestep,
            steps=self.steps(timestep) + math.ceil(EQUILIBRATION * self.steps(timestep)),
            trajectory_every=frame_interval(timestep),
        )

    def constant_energy(self, system: System) -> MDConfig:
        """Return the settings of the run that shows how well the energy is conserved."""
        timestep = time_step(system)
        return MDConfig(
            ensemble="nve",
            temperature=self.temperature,
            timestep=timestep,
            steps=max(LEAST_STEPS, math.ceil(CONSTANT_ENERGY * self.steps(timestep))),
            trajectory_every=frame_interval(timestep),
        )

    def skipped(self, system: System) -> float:
        """Equilibration at the start of the run at constant temperature, ps."""
        timestep = time_step(system)
        return math.ceil(EQUILIBRATION * self.steps(timestep)) * timestep / 1000

    def steps(self, timestep: float) -> int:
        """Count the steps after equilibration."""
        return max(1, round(self.picoseconds * 1000 / timestep))


def time_step(system: System) -> float:
    """Time step that resolves the fastest vibration, fs: 0.5 with hydrogen, else 1 or 2."""
    lightest = int(system.species.min())
    return 0.5 if lightest == 1 else 1.0 if lightest < 11 else 2.0


def frame_interval(timestep: float) -> int:
    """Return the steps between frames that resolve vibrations: 4, 6 or 8 fs (`time_step`)."""
    return {0.5: 8, 1.0: 6}.get(timestep, 4)
