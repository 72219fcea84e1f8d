"""``huozi md`` and ``huozi relax``: move atoms with a model; ``huozi analyse`` comes along."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer.core import TyperCommand, TyperOption

from huozi.cli import analyse
from huozi.cli.threads import one_thread_for_small_matrices

if TYPE_CHECKING:
    from ase import Atoms

    from huozi.dynamics import MDConfig, MDResult
    from huozi.potential.model import Engine

MODEL_HELP = "Model file, or the run folder of `huozi train`."
STRUCTURE_HELP = "Any structure ASE reads; FILE@3 is its fourth frame, the last is the default."
OTHER_MASS = 0.01
"""Masses that differ by a larger part from the standard are not rounding: isotopes, for one."""
JSON_HELP = "Print one JSON object and nothing else."


class MDCommand(TyperCommand):
    """Takes the help of its options from `MDConfig`, when somebody asks for it."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Fill in descriptions and defaults."""
        from huozi.dynamics import MDConfig

        for option in self.params:
            field = MDConfig.model_fields.get(option.name or "")
            if field is not None and isinstance(option, TyperOption):
                option.help = f"{field.description} [default: {field.default}]"
        super().format_help(ctx, formatter)


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    app.command(cls=MDCommand)(md)
    app.command()(relax)
    analyse.register(app)


def md(
    ctx: typer.Context,
    model: Annotated[Path, typer.Argument(help=MODEL_HELP)],
    structure: Annotated[str, typer.Argument(help=STRUCTURE_HELP)],
    out: Annotated[Path, typer.Option(help="Run folder; run again to resume.")] = Path("md"),
    ensemble: str | None = None,
    steps: int | None = None,
    timestep: float | None = None,
    temperature: float | None = None,
    thermostat: str | None = None,
    thermostat_time: float | None = None,
    pressure: float | None = None,
    barostat_time: float | None = None,
    compressibility: float | None = None,
    cell: str | None = None,
    seed: int | None = None,
    trajectory_every: Annotated[
        int | None, typer.Option("--trajectory-every", "--save-every")
    ] = None,
    thermo_every: int | None = None,
    checkpoint_every: int | None = None,
    save_velocities: Annotated[
        bool | None, typer.Option("--save-velocities/--no-save-velocities")
    ] = None,
    skin: float | None = None,
    max_temperature: float | None = None,
    max_force: float | None = None,
    max_displacement: float | None = None,
    max_volume_ratio: float | None = None,
    deviation_every: int | None = None,
    deviation_limit: float | None = None,
    deviation_frames: int | None = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file with any of these settings; options win.")
    ] = None,
    engine: Annotated[
        str, typer.Option(help="auto (the fastest), kernel (compiled) or xla (JAX alone).")
    ] = "auto",
    keep_velocities: Annotated[
        bool, typer.Option("--keep-velocities", help="Start from the velocities in STRUCTURE.")
    ] = False,
    extxyz: Annotated[
        bool, typer.Option("--extxyz", help="Write OUT/trajectory.extxyz at the end.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """Run molecular dynamics with a model.

    OUT holds thermo.csv (energies, temperature, pressure, density), trajectory/*.h5 (H5MD),
    events.jsonl and a checkpoint. Killed at any time, the same command goes on from the last
    checkpoint to the very same result; with more --steps a finished run is continued. An ensemble
    (`huozi ensemble`) adds model_devi.out; with --deviation-limit, frames on which its models
    differ by more are kept, and the run stops after --deviation-frames of them.

    Example: huozi md water/model.safetensors start.extxyz --temperature 300 --steps 20000 --out nvt
    """
    from huozi.dynamics import MDConfig, md_progress_bar, run_md, write_extxyz
    from huozi.potential import load_ensemble
    from huozi.systems import System

    given = {name: ctx.params[name] for name in MDConfig.model_fields}
    settings = MDConfig.read(config, {k: v for k, v in given.items() if v is not None})
    atoms = read_structure(structure)
    refuse_constraints(atoms, structure)
    refuse_masses(atoms, structure)
    velocities = structure_velocities(atoms, structure) if keep_velocities else None
    chosen = parse_engine(engine)
    first, *others = [replace(m, engine=chosen) for m in load_ensemble(model).members]
    system = System.from_atoms(atoms)
    with md_progress_bar() as report:
        result = run_md(first, system, settings, out, velocities, report, others)
    if extxyz:
        write_extxyz(result.trajectory, out / "trajectory.extxyz")
    _report_md(result, settings, as_json)


def relax(
    model: Annotated[Path, typer.Argument(help=MODEL_HELP)],
    structure: Annotated[str, typer.Argument(help=STRUCTURE_HELP)],
    out: Annotated[Path, typer.Option(help="Relaxed structure, in any format ASE writes.")],
    cell: Annotated[bool, typer.Option("--cell", help="Relax the cell too.")] = False,
    pressure: Annotated[float, typer.Option(help="External pressure with --cell, GPa.")] = 0.0,
    fmax: Annotated[float, typer.Option(help="Largest force that counts as relaxed, eV/Å.")] = 0.01,
    steps: Annotated[int, typer.Option(help="Give up after so many steps.")] = 1000,
    optimizer: Annotated[
        str, typer.Option(help="lbfgs (fewer steps) or fire (robust far from a minimum).")
    ] = "lbfgs",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file of --out.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """Relax positions, and the cell if wanted, to the nearest minimum of the energy.

    The structure is written even when it is not relaxed after all steps; the exit code is then 1.

    Example: huozi relax model.safetensors silicon.cif --cell --fmax 0.001 --out relaxed.extxyz
    """
    one_thread_for_small_matrices()
    from rich.console import Console

    from huozi.dynamics import relax as run
    from huozi.potential import load_model
    from huozi.systems import System

    atoms = read_structure(structure)
    refuse_constraints(atoms, structure)
    _refuse_output(atoms, out, overwrite)
    system, force_field = System.from_atoms(atoms), load_model(model)
    with Console(stderr=True).status("relaxing") as status:

        def show(step: int, energy: float, force: float) -> None:
            status.update(f"step {step}: {energy:.6f} eV, largest force {force:.4f} eV/Å")

        result = run(force_field, system, cell, fmax, steps, optimizer, pressure, show)
    _write_structure(result, out)
    numbers = {
        "converged": result.converged,
        "steps": result.steps,
        "energy_eV": result.energy,
        "max_force_eV_A": result.max_force,
        "pressure_GPa": _number(result.pressure),
        "volume_A3": result.system.volume,
        "out": str(out),
    }
    if as_json:
        typer.echo(json.dumps(numbers))
    else:
        verdict = "relaxed" if result.converged else "NOT relaxed"
        typer.echo(f"{verdict} after {result.steps} steps: {out}")
        typer.echo(f"energy {result.energy:.6f} eV, largest force {result.max_force:.5f} eV/Å")
        if system.pbc.all():
            cell_text = f"volume {result.system.volume:.4f} Å^3"
            typer.echo(f"{cell_text}, pressure {result.pressure:.4f} GPa")
    if not result.converged:
        raise typer.Exit(1)


def read_structure(text: str) -> Atoms:
    """Read one structure: ``FILE`` or ``FILE@INDEX``.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file or frame, or ASE cannot read it.
    """
    from ase import Atoms
    from ase.io import read

    whole = Path(text).exists() or "@" not in Path(text).name  # an @ may be part of the name
    path, _, index = (text, "", "") if whole else text.rpartition("@")
    if not Path(path).exists():
        raise FileNotFoundError(f"no structure file {path}")
    try:
        atoms = read(text, do_not_split_by_at_sign=whole)
    except (StopIteration, IndexError) as error:
        missing = f"frame {index}" if index else "structure"
        raise ValueError(f"{path} has no {missing}") from error
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"ASE cannot read a structure from {text} ({reason})") from error
    if not isinstance(atoms, Atoms):
        raise ValueError(f"{text} is {len(atoms)} frames; choose one, e.g. {path}@0")
    return atoms


def refuse_constraints(atoms: Atoms, source: str) -> None:
    """Refuse a structure with constraints, which would be dropped."""
    if not atoms.constraints:
        return
    listed = [c.get_indices() for c in atoms.constraints if hasattr(c, "get_indices")]
    held = {int(i) for indices in listed for i in indices}
    count = f"{len(held)} of its {len(atoms)} atoms" if held else f"its {len(atoms)} atoms"
    kinds = ", ".join(sorted({type(c).__name__ for c in atoms.constraints}))
    raise ValueError(
        f"{source} puts constraints ({kinds}) on {count}, which `huozi md` and `huozi relax` do "
        "not keep: remove them from the file (selective dynamics, the column move_mask), or use "
        "ASE's optimisers and dynamics with huozi.dynamics.ForceFieldCalculator, which keep them"
    )


def refuse_masses(atoms: Atoms, source: str) -> None:
    """Refuse a structure with masses of its own, which would be dropped."""
    import numpy as np
    from ase.data import atomic_masses

    given, standard = atoms.get_masses(), atomic_masses[atoms.numbers]
    other = np.flatnonzero(np.abs(given - standard) > OTHER_MASS * standard)
    if len(other):
        first = int(other[0])
        raise ValueError(
            f"{source} gives {len(other)} atoms masses of their own (atom {first}, "
            f"{atoms.symbols[first]}: {given[first]:.4g} u), but `huozi md` moves all atoms with "
            "the standard masses of their elements: remove the masses from the file, or use ASE's "
            "dynamics with huozi.dynamics.ForceFieldCalculator"
        )


def parse_engine(text: str) -> Engine:
    """Refuse what is no engine."""
    if text not in ("auto", "kernel", "xla"):
        raise ValueError(f"--engine is auto, kernel or xla; found {text!r}")
    return cast("Engine", text)


def structure_velocities(atoms: Atoms, source: str) -> Any:
    """Velocities of a structure, Å/fs.

    Raises
    ------
    ValueError
        If the file has none.
    """
    from huozi.units import ASE_TIME

    if not atoms.has("momenta"):
        raise ValueError(f"{source} has no velocities (or momenta); leave out --keep-velocities")
    return atoms.get_velocities() / ASE_TIME


def _refuse_output(atoms: Atoms, out: Path, overwrite: bool) -> None:
    """Refuse a file that cannot be written, before the work is done that it is to hold."""
    from ase.io import write
    from ase.io.formats import UnknownFileTypeError, filetype, get_ioformat

    if out.is_dir():
        raise ValueError(f"{out} is a folder; name a file in it, e.g. {out / 'relaxed.extxyz'}")
    if out.exists() and not overwrite:
        raise ValueError(f"{out} exists; give --overwrite to replace all of it")
    advice = "name it *.extxyz, *.cif, *.vasp or by another format that ASE writes"
    try:
        get_ioformat(filetype(str(out), read=False))
    except UnknownFileTypeError:
        raise ValueError(f"cannot tell the format of {out}; {advice}") from None
    with TemporaryDirectory() as folder:
        try:
            write(Path(folder) / out.name, atoms)
        except Exception as error:  # writers raise whatever they trip over
            reason = f"cannot write this structure ({type(error).__name__}: {error})"
            raise ValueError(f"{out}: ASE {reason}; {advice}") from error


def _write_structure(result: Any, out: Path) -> None:
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    from huozi.files import atomic_path

    atoms = result.system.to_atoms()
    atoms.calc = SinglePointCalculator(atoms, energy=result.energy, forces=result.forces)
    with atomic_path(out) as temporary:
        write(temporary, atoms)


def _report_md(result: MDResult, config: MDConfig, as_json: bool) -> None:
    """Print the averages over the run."""
    from huozi.dynamics.observables import block_average
    from huozi.report import value_with_error

    labels = {
        "temperature_K": "temperature, K",
        "pressure_GPa": "pressure, GPa",
        "density_g_cm3": "density, g/cm^3",
        "potential_eV": "potential energy, eV",
    }
    numbers: dict[str, Any] = {
        "out": str(result.out),
        "atoms": len(result.system),
        "steps": config.steps,
        "steps_done_now": result.steps_done,
        "time_ps": config.steps * config.timestep / 1000,
        "ns_per_day": _number(result.ns_per_day),
    }
    short: list[str] = []
    for name in labels:
        values = result.thermo[name]
        if len(values) >= 16 and math.isfinite(values[0]):
            average = block_average(values)
            numbers[name], numbers[f"{name}_error"] = average.mean, average.error
            if not average.converged:
                short.append(name)
    if short:
        numbers["too_short_for_the_error"] = short
    if as_json:
        typer.echo(json.dumps(numbers))
        return
    done = f"{result.steps_done} steps" if result.steps_done else "nothing left to do"
    typer.echo(f"{done}; {numbers['time_ps']:g} ps of {len(result.system)} atoms in {result.out}")
    for name, label in labels.items():
        if name in numbers:
            value = value_with_error(numbers[name], numbers[f"{name}_error"])
            mark = " (run too short for the error)" if name in short else ""
            typer.echo(f"{label:<24}{value}{mark}")
    typer.echo(f"next: huozi analyse {result.out}")


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
