"""What a user may choose in a simulation; the descriptions serve the command line as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from huozi.workflow import read_settings


class MDConfig(BaseModel):
    """Settings of one molecular dynamics run.

    The default thermostat, stochastic velocity rescaling, samples the canonical distribution
    and hardly disturbs diffusion and vibrations. Langevin dynamics equilibrates faster, also
    single molecules in the open, but slows diffusion down. A Nosé–Hoover chain is
    deterministic and reversible, but slow to equilibrate stiff or small systems.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    ensemble: Literal["nve", "nvt", "npt"] = Field(
        "nvt", description="Constant energy (nve), temperature (nvt), or both it and pressure."
    )
    steps: int = Field(20000, ge=0, description="Number of time steps.")
    timestep: float = Field(
        0.5, gt=0, description="Time step, fs: 0.5 where hydrogen moves, 2 for heavy atoms."
    )
    temperature: float = Field(
        300.0, ge=0, description="Temperature of the bath and of the first velocities, K."
    )
    thermostat: Literal["csvr", "langevin", "nose-hoover"] = Field(
        "csvr",
        description="nvt: csvr (stochastic velocity rescaling), langevin (slows diffusion down) or "
        "nose-hoover.",
    )
    thermostat_time: float = Field(
        100.0, gt=0, description="Time constant of the thermostat, fs (langevin: 1/friction)."
    )
    pressure: float = Field(0.0, description="Pressure (npt), GPa.")
    barostat_time: float = Field(1000.0, gt=0, description="Time constant of the volume (npt), fs.")
    compressibility: float = Field(
        0.45,
        gt=0,
        description="Rough compressibility (npt), 1/GPa: 0.45 for water, 0.01 for a metal. It sets "
        "the pace of the volume, not its mean.",
    )
    cell: Literal["isotropic", "full"] = Field(
        "isotropic",
        description="npt: isotropic scales the cell; full changes its shape too, for crystals "
        "alone: nothing holds the shape of a liquid's cell.",
    )
    seed: int = Field(0, ge=0, description="Seed of the velocities and of the noise.")
    trajectory_every: int = Field(20, ge=1, description="Steps between saved frames.")
    thermo_every: int = Field(10, ge=1, description="Steps between rows of thermo.csv.")
    checkpoint_every: int = Field(
        2000, ge=1, description="Steps between checkpoints; a kill loses the work since the last."
    )
    save_velocities: bool = Field(
        True, description="Save velocities with every frame (for spectra)."
    )
    skin: float = Field(
        0.6, gt=0, description="Neighbours are searched this far beyond the cutoff, Å."
    )
    max_temperature: float = Field(
        10000.0, gt=0, description="Stop when the temperature passes this, K."
    )
    max_force: float = Field(
        200.0, gt=0, description="Stop when the force on an atom passes this, eV/Å."
    )
    max_displacement: float = Field(
        0.25, gt=0, description="Stop when an atom moves further in one step, Å (below skin/2)."
    )
    max_volume_ratio: float = Field(
        3.0, gt=1, description="Stop when the volume grows or shrinks by this factor (npt)."
    )

    deviation_every: int = Field(
        100, ge=1, description="Steps between lines of model_devi.out (with several models)."
    )
    deviation_limit: float | None = Field(
        None,
        gt=0,
        description="Keep frames in which the models' deviation of the force on an atom passes "
        "this, eV/Å.",
    )
    deviation_frames: int = Field(
        1, ge=1, description="Stop when so many frames beyond deviation_limit are kept."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.ensemble != "nve" and self.temperature == 0:
            raise ValueError(f"{self.ensemble} needs a temperature above 0 K")
        if self.ensemble == "npt" and self.thermostat != "csvr":
            raise ValueError(
                f"npt works with the csvr thermostat alone; found thermostat {self.thermostat}"
            )
        if self.ensemble != "npt" and self.pressure != 0:
            raise ValueError(f"a pressure needs ensemble npt; found {self.ensemble}")
        if self.ensemble != "npt" and self.cell != "isotropic":
            raise ValueError(f"cell {self.cell} needs ensemble npt; found {self.ensemble}")
        if self.ensemble == "nve" and self.thermostat != "csvr":
            raise ValueError(f"nve has no thermostat; found thermostat {self.thermostat}")
        if self.max_displacement >= self.skin / 2:
            raise ValueError(
                f"max_displacement ({self.max_displacement} Å) must be below half the skin "
                f"({self.skin} Å)"
            )
        return self

    @classmethod
    def read(cls, path: str | Path | None, overrides: dict[str, Any] | None = None) -> Self:
        """Read a configuration from a YAML or JSON file, or from overrides alone.

        Parameters
        ----------
        path : path or None
        overrides : dict, optional
            Settings that replace those of the file.

        Raises
        ------
        ValueError
            In one sentence, if a setting is unknown or out of range.
        """
        return read_settings(cls, path, overrides)
