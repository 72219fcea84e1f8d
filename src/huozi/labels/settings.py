"""Levels of theory: everything that decides a label, one model for each engine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_serializer, model_validator

from huozi.files import digest as file_digest


class _Level(BaseModel):
    """What all engines have: net charge and spin, which a frame's own info may replace."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    charge: int = Field(0, description="Net charge of the frame, e.")
    multiplicity: int = Field(1, ge=1, description="Spin multiplicity, 2 S + 1.")


class PyscfLevel(_Level):
    """Gaussian orbitals by PySCF: molecules, and cells at the Gamma point."""

    engine: Literal["pyscf"] = "pyscf"
    method: str = Field(
        "pbe",
        description="hf, mp2, ccsd, ccsd(t), or any functional by its name in libxc: pbe, pbe0, "
        "wb97x-v, ...",
    )
    basis: str = Field("def2-svp", description="Basis set; for cells one of the gth family.")
    pseudo: str | None = Field(None, description="Pseudopotential, e.g. gth-pbe; cells need one.")
    dispersion: Literal["none", "d3bj", "d3zero", "d4"] = Field(
        "none", description="Dispersion correction to HF or a functional."
    )
    smearing: float = Field(
        0.0, ge=0, description="Fermi–Dirac width of the occupations, eV; 0 for none."
    )
    density_fit: bool = Field(False, description="Approximate integrals by density fitting.")
    grid: int = Field(3, ge=0, le=9, description="Level of the integration grid.")
    cell_cutoff: float = Field(
        200.0, gt=0, description="Cells: kinetic energy cutoff of the density, hartree."
    )
    convergence: float = Field(1e-9, gt=0, description="SCF threshold, hartree.")
    max_steps: int = Field(100, ge=1, description="SCF steps before a frame counts as failed.")


class XtbLevel(_Level):
    """Extended tight binding by tblite: fast, all elements up to radon, Gamma point in cells."""

    engine: Literal["xtb"] = "xtb"
    method: Literal["GFN1-xTB", "GFN2-xTB", "IPEA1-xTB"] = Field(
        "GFN2-xTB", description="Parametrisation; GFN1-xTB is the one made for cells too."
    )
    smearing: float = Field(
        0.02585, gt=0, description="Fermi–Dirac width of the occupations, eV (0.02585: 300 K)."
    )
    accuracy: float = Field(1.0, gt=0, description="Factor on all thresholds; smaller is tighter.")
    max_steps: int = Field(250, ge=1, description="SCF steps before a frame counts as failed.")


class GpawLevel(_Level):
    """Projector augmented waves by GPAW: metals, semiconductors, surfaces; k-points, stress."""

    engine: Literal["gpaw"] = "gpaw"
    method: str = Field("PBE", description="Functional: LDA, PBE, RPBE, revPBE, or libxc's name.")
    cutoff: float = Field(400.0, gt=0, description="Plane-wave cutoff, eV.")
    kpoint_density: float = Field(
        4.0, ge=0, description="k-points per 1/Å of reciprocal length; 0 for the Gamma point."
    )
    gamma: bool = Field(
        True,
        description="Grid of k-points with the Gamma point in it, which hexagonal cells need; "
        "without it cubic cells need fewer points (Monkhorst and Pack).",
    )
    smearing: float = Field(
        0.1, ge=0, description="Fermi–Dirac width of the occupations, eV; 0 for fixed ones."
    )
    spin: bool = Field(
        False,
        description="Spin-polarised; always so when multiplicity > 1. Metals start ferromagnetic, "
        "from the moments of free atoms, and their moment is found.",
    )
    vacuum: float = Field(
        6.0, gt=0, description="Room added on either side along open directions, Å."
    )
    convergence: float = Field(1e-6, gt=0, description="Energy threshold, eV per electron.")
    max_steps: int = Field(200, ge=1, description="SCF steps before a frame counts as failed.")


class Cp2kLevel(_Level):
    """Gaussian and plane waves by CP2K: large periodic boxes, Goedecker pseudopotentials."""

    engine: Literal["cp2k"] = "cp2k"
    method: Literal["PBE", "BLYP", "PADE", "REVPBE", "PBESOL"] = Field(
        "PBE", description="Functional."
    )
    basis: str = Field("DZVP-MOLOPT-SR-GTH", description="Basis set of every element.")
    pseudo: str = Field("GTH-PBE", description="Pseudopotential of every element.")
    cutoff: float = Field(400.0, gt=0, description="Plane-wave cutoff of the density, Ry.")
    rel_cutoff: float = Field(50.0, gt=0, description="Cutoff of the Gaussians' grids, Ry.")
    dispersion: Literal["none", "d3bj"] = Field("none", description="Dispersion correction.")
    smearing: float = Field(
        0.0,
        ge=0,
        description="Fermi–Dirac width, eV; 0 for an insulator (orbital transformation).",
    )
    convergence: float = Field(1e-6, gt=0, description="SCF threshold, hartree.")
    max_steps: int = Field(
        20,
        ge=1,
        description="SCF steps of each of 10 outer loops before a frame counts as failed; with "
        "smearing, which has no such loops, ten times as many in all.",
    )
    command: ClassVar[tuple[str, ...]] = ("cp2k.psmp", "cp2k.popt", "cp2k.ssmp", "cp2k")


class AseLevel(_Level):
    """Any calculator of ASE, named as a function that makes it."""

    engine: Literal["ase"] = "ase"
    calculator: str = Field(
        pattern=r"^[\w.]+:\w+$",
        description="module:name of a calculator, e.g. ase.calculators.emt:EMT.",
    )
    parameters: dict[str, Any] = Field({}, description="Its keyword arguments.")
    method: str = Field("", description="Name of the level of theory, for the record.")


class FunctionalLevel(_Level):
    """A density functional that `huozi functional` has learned: molecules."""

    engine: Literal["huozi-functional"] = "huozi-functional"
    method: Path = Field(description="Model file, or the run folder that holds it.")
    digest: str = Field("", description="SHA-256 of the model file; found if not given.")
    self_consistent: bool = Field(
        True, description="Whether the density follows the correction (DeePKS) or not (DeePHF)."
    )
    density_fit: bool = Field(False, description="Approximate integrals by density fitting.")
    convergence: float = Field(1e-9, gt=0, description="SCF threshold, hartree.")
    max_steps: int = Field(100, ge=1, description="SCF steps before a frame counts as failed.")

    @model_validator(mode="before")
    @classmethod
    def _find_digest(cls, values: Any) -> Any:
        """Labels belong to the contents of a model file, wherever it lies."""
        if not isinstance(values, dict) or "method" not in values:
            return values
        path = Path(values["method"])
        path = path / "model.safetensors" if path.is_dir() else path
        if not path.is_file():
            raise ValueError(f"no functional at {path}")
        found = file_digest(path)
        if values.get("digest") not in (None, "", found):
            raise ValueError(f"{path} is not the model of these settings: its digest is {found}")
        return {**values, "method": path, "digest": found}

    @field_serializer("method")
    def _plain_path(self, value: Path) -> str:
        return str(value)


class WaveFunctionLevel(_Level):
    """A neural wave function of each frame (`huozi wavefunction`): small molecules, error bars."""

    engine: Literal["wavefunction"] = "wavefunction"
    method: Literal["psiformer", "ferminet", "lapnet", "pairproduct"] = Field(
        "psiformer", description="Ansatz."
    )
    steps: int = Field(2000, ge=1, description="Steps of the optimisation.")
    walkers: int | None = Field(
        None, ge=8, description="Configurations sampled at once. [by electrons]"
    )
    samples: int = Field(400, ge=2, description="Samples of every walker for the label.")
    diffusion: int | None = Field(
        None,
        ge=40,
        description="Steps of diffusion Monte Carlo in place of samples: a lower energy, no "
        "forces. [none]",
    )
    ecp: Literal["ccecp"] | None = Field(
        None, description="Core potential in place of core electrons; leaves forces out."
    )
    seed: int = Field(0, ge=0, description="Seed of the optimisation; samples have the next one.")
    energy_error: float = Field(
        0.03, gt=0, description="Largest standard error of an energy that is a label, eV."
    )
    forces_error: float = Field(
        0.1, gt=0, description="Forces with a larger standard error are left out, eV/Å."
    )


Level = Annotated[
    PyscfLevel | XtbLevel | GpawLevel | Cp2kLevel | AseLevel | FunctionalLevel | WaveFunctionLevel,
    Field(discriminator="engine"),
]
LEVEL: TypeAdapter[Level] = TypeAdapter(Level)
ENGINES: dict[str, type[_Level]] = {
    "pyscf": PyscfLevel,
    "xtb": XtbLevel,
    "gpaw": GpawLevel,
    "cp2k": Cp2kLevel,
    "ase": AseLevel,
    "huozi-functional": FunctionalLevel,
    "wavefunction": WaveFunctionLevel,
}
