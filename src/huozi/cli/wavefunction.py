"""``huozi wavefunction train``, ``evaluate`` and ``diffuse``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from huozi.cli.threads import one_thread_for_small_matrices

app = typer.Typer(no_args_is_help=True, help="Solve the Schrödinger equation.")


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Run folder; run again to resume.")],
    molecule: Annotated[
        list[str] | None,
        typer.Option(
            help="Nuclei, e.g. 'Li 0 0 0; H 0 0 3.015', or an XYZ file. Several geometries, by "
            "repeating the option or by frames of the file, share one network."
        ),
    ] = None,
    cell: Annotated[
        str | None,
        typer.Option(
            help="Cell that repeats: three lengths or three vectors, as the coordinates in bohr or "
            "angstrom, e.g. '9 9 3.6'."
        ),
    ] = None,
    electron_gas: Annotated[
        int | None,
        typer.Option(
            min=1, help="So many electrons in a cube and a uniform background, no --molecule."
        ),
    ] = None,
    density_parameter: Annotated[
        float | None, typer.Option("--rs", help="Density parameter r_s of the electron gas, bohr.")
    ] = None,
    twist: Annotated[
        tuple[float, float, float],
        typer.Option(help="Of a cell, 0 or 0.5 in each direction: with 0.5 ψ turns its sign."),
    ] = (0.0, 0.0, 0.0),
    unit: Annotated[
        str, typer.Option(help="Of the coordinates: bohr or angstrom (always, for XYZ files).")
    ] = "bohr",
    charge: Annotated[int, typer.Option(help="Total charge.")] = 0,
    spin: Annotated[
        int | None,
        typer.Option(
            help="Unpaired electrons. [default: of a single atom its ground state; else 0 or 1]"
        ),
    ] = None,
    field: Annotated[
        tuple[float, float, float],
        typer.Option(help="Uniform electric field, three components, hartree/(e bohr)."),
    ] = (0.0, 0.0, 0.0),
    ecp: Annotated[
        str | None,
        typer.Option(help="Core potential in place of core electrons (PySCF's library): ccecp."),
    ] = None,
    states: Annotated[
        int | None,
        typer.Option(min=1, help="Lowest states of that spin projection at once. [default: 1]"),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Wall time of the run: 90s, 5min, 1h. [default: 10min]")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Make this many steps instead of filling a budget.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed. [default: 0]")] = None,
    devices: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Devices that share the walkers; a processor counts as several with "
            "XLA_FLAGS=--xla_force_host_platform_device_count=N. [default: 1]",
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML or JSON file of settings; see docs/wavefunction.md.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Optimise a neural wave function.

    The run folder holds checkpoint.safetensors, the settings as config.yaml, the course of the
    energy as events.jsonl and energy.png. An interrupted run continues where it was when the same
    command is given again.

    Example: huozi wavefunction train --molecule "Li 0 0 0; H 0 0 3.015" --budget 30min --out lih
    """
    one_thread_for_small_matrices()
    from huozi.wavefunction import Molecule, TrainConfig, build

    _refuse_both(budget, steps)
    given = {"budget": budget, "steps": steps, "seed": seed, "devices": devices}
    overrides: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
    if budget is not None:
        overrides["steps"] = None  # those of a file of settings
    settings = TrainConfig.read(config, overrides)
    if states is not None:
        ansatz = settings.ansatz.model_dump() | {"states": states}
        settings = TrainConfig.read(None, settings.model_dump() | {"ansatz": ansatz})
    if electron_gas is not None:
        others = molecule or charge or any(field) or ecp is not None or cell is not None
        if others or unit != "bohr" or density_parameter is None:
            raise ValueError(
                "--electron-gas goes with --rs, in bohr, and --spin and --twist; leave out "
                "--molecule, --cell, --unit, --charge, --field and --ecp"
            )
        geometries = [Molecule.electron_gas(electron_gas, density_parameter, spin, twist)]
    else:
        if not molecule or density_parameter is not None:
            raise ValueError("give --molecule, or --electron-gas with --rs")
        form = (charge, spin, field, ecp, cell, twist)
        geometries = [m for text in molecule for m in _molecules(text, unit, *form)]
    if spin is None:
        first = geometries[0]
        unpaired = first.up - first.down
        typer.echo(f"{first.name}: {unpaired} unpaired electrons (others: --spin)", err=True)
    with _display() as report:
        run = build(geometries, settings.ansatz).train(out, report, settings)
    course = _course(out)
    _plot(out, course, {})
    last = course[-1] if course else {}
    summary = {
        "run": str(out),
        "steps": run.steps,
        "seconds": round(run.seconds, 1),
        "energy_Ha": last.get("energy_Ha"),
        "variance_Ha2": last.get("variance"),
    }
    if as_json:
        typer.echo(json.dumps(summary))
        return
    count = settings.ansatz.states
    energy = "energy" if count == 1 else f"sum of {count} energies"
    typer.echo(
        f"{run.steps} steps in {run.seconds:.0f} s; {energy} now {summary['energy_Ha']:.5f} Ha, "
        f"variance {summary['variance_Ha2']:.2g} Ha²; next: huozi wavefunction evaluate {out}"
    )


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    budget: Annotated[
        str | None, typer.Option(help="Wall time, shared by geometries. [default: 1min]")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=2, help="Samples of every walker instead of a budget.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed. [default: a fresh one]")] = None,
    forces: Annotated[bool, typer.Option(help="Give the forces on the nuclei, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Sample a trained wave function: energy, spin, dipole moment, error bars, a verdict.

    Of several states: energies, excitations, spin and oscillator strengths.

    Example: huozi wavefunction evaluate lih --budget 5min
    """
    one_thread_for_small_matrices()
    from huozi.wavefunction import States, judge, load_run
    from huozi.workflow import parse_duration

    _refuse_both(budget, steps)
    trained = load_run(run)
    count = len(trained.problems)
    excited = isinstance(trained.problems[0].wave_function, States)
    first = trained.problems[0].molecule
    if forces and (excited or first.potentials or first.cell):
        case = "of several states" if excited else "with core potentials or in a cell"
        raise ValueError(f"forces are not known {case}; leave out --forces")
    seconds = parse_duration(budget or "1min") / count if steps is None else None
    course = _course(run)

    def judged(g: int, found: Any, references: dict[str, float]) -> dict[str, Any]:
        molecule = trained.problems[g].molecule
        steps_there = [event["geometries"][g] for event in course]
        unpaired = molecule.up - molecule.down
        verdict, numbers = judge(found, steps_there, references, unpaired)
        result = dataclasses.asdict(found) | {"verdict": verdict} | numbers
        return {name: v for name, v in result.items() if forces or "forces" not in name}

    sample = trained.evaluate_states if excited else trained.evaluate
    options = {"budget": seconds, "steps": steps}
    file = run / "evaluation.json"
    results, whole = _every_geometry(file, trained.problems, seed, sample, options, judged)
    _plot(run, course, whole.get("references_Ha", {}))  # of a single geometry
    words = _words_of_states if excited else _words
    typer.echo(json.dumps(whole) if as_json else "\n\n".join(map(words, results)))


@app.command()
def diffuse(
    run: Annotated[Path, typer.Argument(help="Run folder of train.")],
    budget: Annotated[
        str | None, typer.Option(help="Wall time, shared by geometries. [default: 5min]")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=40, help="Steps of imaginary time instead of a budget.")
    ] = None,
    time_step: Annotated[
        float | None,
        typer.Option(help="1/hartree. [default: the one at which 1 % of the moves are refused]"),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed. [default: a fresh one]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Lower the energy to what the nodes of a trained wave function allow.

    Diffusion Monte Carlo: an upper bound like that of evaluate, closer to the exact energy, and
    exact for two electrons of opposite spin, as the time step goes to zero (with core potentials
    it is no bound). It gives the energy alone; the wave function stays as it is.

    Example: huozi wavefunction diffuse lih --budget 10min
    """
    one_thread_for_small_matrices()
    from huozi.wavefunction import judge_projection, load_run
    from huozi.workflow import parse_duration

    _refuse_both(budget, steps)
    trained = load_run(run)
    count = len(trained.problems)
    seconds = parse_duration(budget or "5min") / count if steps is None else None

    def judged(_: int, found: Any, references: dict[str, float]) -> dict[str, Any]:
        verdict = judge_projection(found, references)
        return dataclasses.asdict(found) | {"references_Ha": references, "verdict": verdict}

    options = {"budget": seconds, "steps": steps, "time_step": time_step}
    file = run / "diffusion.json"
    results, whole = _every_geometry(file, trained.problems, seed, trained.diffuse, options, judged)
    typer.echo(json.dumps(whole) if as_json else "\n\n".join(map(_words_of_diffusion, results)))


def _every_geometry(
    file: Path,
    problems: Any,
    seed: int | None,
    sample: Callable[..., Any],
    options: dict[str, Any],
    judged: Callable[[int, Any, dict[str, float]], dict[str, Any]],
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Sample and judge one geometry after another; `file` holds what is done.

    Returns the results of each, and what is in the file.
    """
    from huozi.files import write_json
    from huozi.wavefunction import reference_energies

    results: list[dict[str, Any]] = []
    whole: dict[str, Any] = {}
    for g, problem in enumerate(problems):
        own = None if seed is None else seed + g
        with _display() as report:
            found = sample(geometry=g, seed=own, report=report, **options)
        molecule = problem.molecule
        result = judged(g, found, reference_energies(molecule))
        what = {"positions_bohr": molecule.nuclei.tolist(), "electrons": molecule.electrons}
        if molecule.cell:
            what |= {"cell_bohr": molecule.cell.matrix.tolist(), "twist": molecule.cell.twist}
        results.append(what | result)
        whole = results[0] if len(problems) == 1 else {"geometries": results}
        write_json(file, whole)
    return results, whole


def _refuse_both(budget: str | None, steps: int | None) -> None:
    if budget is not None and steps is not None:
        raise ValueError("--budget and --steps contradict each other; give one of them")


def _words(result: dict[str, Any]) -> str:
    from huozi.report import value_with_error

    forces = zip(result.get("forces_Ha_per_bohr", []), result.get("forces_stderr", []))
    spin = value_with_error(result["spin_squared"], result["spin_squared_stderr"])
    dipole = _vector(result["dipole_au"], result["dipole_stderr"])  # none in a cell
    lines = [
        *_sampling(result, "energy"),
        f"spin, ⟨S²⟩       {spin}",
        *([f"dipole moment    {dipole} e bohr"] if dipole else []),
        *(f"{f'force {k}':<16} {_vector(*row)} Ha/bohr" for k, row in enumerate(forces, 1)),
        *_conclusion(result),
    ]
    return "\n".join(lines)


def _words_of_diffusion(result: dict[str, Any]) -> str:
    from huozi.report import value_with_error

    length = f"{result['imaginary_time']:.3g} in steps of {result['time_step']:.2g} 1/Ha"
    lines = [
        *_sampling(result, "energy"),
        f"before, of ψ     {value_with_error(result['start_Ha'], result['start_stderr_Ha'])} Ha",
        f"imaginary time   {length}, after {100 * result['discarded']:.0f} % left out",
        *_conclusion(result),
    ]
    return "\n".join(lines)


def _words_of_states(result: dict[str, Any]) -> str:
    from huozi.report import value_with_error
    from huozi.units import HARTREE

    states = result["states"]

    def column(name: str, error: str, scale: float = 1.0) -> list[str]:
        # What is exact has an error of rounding; the first state's excitation is no number.
        pairs = zip(states[name], (e if e > 1e-12 else 0.0 for e in states[error]))
        cells = [value_with_error(scale * v, scale * e) for v, e in pairs]
        return ["", *cells[1:]] if name in ("excitation_Ha", "oscillator_strength") else cells

    rows = zip(
        column("energy_Ha", "energy_stderr"),
        column("excitation_Ha", "excitation_stderr", HARTREE),
        column("spin_squared", "spin_squared_stderr"),
        column("oscillator_strength", "oscillator_strength_stderr"),
    )
    head = ("energy, Ha", "above the first, eV", "⟨S²⟩", "oscillator strength")
    table = [("state", *head), *((str(k), *row) for k, row in enumerate(rows, 1))]
    widths = [max(map(len, column)) for column in zip(*table)]
    lines = ["  ".join(f"{v:<{w}}" for v, w in zip(row, widths)).rstrip() for row in table]
    return "\n".join([*_sampling(result, "sum of energies"), *lines, *_conclusion(result)])


def _sampling(result: dict[str, Any], name: str) -> list[str]:
    """Lines on the nuclei, the energy, which is called `name`, and how it was sampled."""
    from huozi.report import value_with_error

    energy = value_with_error(result["energy_Ha"], result["stderr_Ha"])
    places = _rows(result["positions_bohr"])
    count = result["electrons"]
    each = value_with_error(*(result[key] / count for key in ("energy_Ha", "stderr_Ha")))
    return [
        f"nuclei           {places} bohr" if places else f"electrons        {count}",
        *_cell_line(result),
        f"{name:<16} {energy} Ha",
        *([] if places else [f"per electron     {each} Ha"]),
        f"variance         {result['variance_Ha2']:.3g} Ha²",
        f"autocorrelation  {result['autocorrelation_time']:.1f} samples",
        f"acceptance       {result['acceptance']:.2f}",
        f"samples          {result['samples']:,} in {result['seconds']:.0f} s",
    ]


def _cell_line(result: dict[str, Any]) -> list[str]:
    if "cell_bohr" not in result:
        return []
    return [f"cell             {_rows(result['cell_bohr'])} bohr, twist {_rows([result['twist']])}"]


def _rows(rows: Iterable[Iterable[float]]) -> str:
    return "; ".join(" ".join(f"{v:g}" for v in row) for row in rows)


def _conclusion(result: dict[str, Any]) -> list[str]:
    references = result["references_Ha"].items()
    return [*(f"{name:<16} {value:.6f} Ha" for name, value in references), result["verdict"]]


def _vector(values: list[float], errors: list[float]) -> str:
    from huozi.report import value_with_error

    return "  ".join(value_with_error(v, e) for v, e in zip(values, errors))


def _molecules(
    text: str,
    unit: str,
    charge: int,
    spin: int | None,
    field: tuple[float, float, float],
    ecp: str | None,
    cell: str | None,
    twist: tuple[float, float, float],
) -> list[Any]:
    """Geometries of one option: one, or the frames of an XYZ file."""
    from huozi.wavefunction import Molecule

    if ";" not in text and Path(text).suffix in (".xyz", ".extxyz"):
        from ase.data import chemical_symbols

        from huozi.systems import read

        found = []
        for system in (frame.system for frame in read(text).frames):
            if system.pbc.any() and (cell or not system.pbc.all()):
                if cell:
                    raise ValueError(f"{text} has a cell of its own; leave out --cell")
                raise ValueError(
                    f"{text} repeats in some directions only; wave functions in all three (leave "
                    "room between the images), or in none"
                )
            line = "; ".join(
                f"{chemical_symbols[z]} {' '.join(map(str, place))}"
                for z, place in zip(system.species, system.positions)
            )
            own = " ".join(map(str, system.cell.ravel())) if system.pbc.any() else cell
            found.append(Molecule.parse(line, "angstrom", charge, spin, field, ecp, own, twist))
        return found
    return [Molecule.parse(text, unit, charge, spin, field, ecp, cell, twist)]


def _course(run: Path) -> list[dict[str, Any]]:
    """Read logged energies; steps that a resumed run made again replace the older ones."""
    from huozi.workflow import RunFolder

    course: list[dict[str, Any]] = []
    for event in RunFolder(run).events("steps"):
        while course and course[-1]["step"] >= event["step"]:
            course.pop()
        course.append(event)
    return course


def _plot(run: Path, course: list[dict[str, Any]], references: dict[str, float]) -> None:
    from huozi.files import atomic_path
    from huozi.report import figure_png
    from huozi.wavefunction import energy_against_time

    if len(course) > 1:
        with atomic_path(run / "energy.png") as fresh:
            fresh.write_bytes(figure_png(energy_against_time(course, references)))


@contextmanager
def _display() -> Iterator[Callable[[dict[str, Any]], None]]:
    """Show a bar with the step, the energy and the time left, on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[energy]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("preparing", total=1.0, energy="")

        def report(event: dict[str, Any]) -> None:
            kind = event["event"]
            if kind == "resume":
                progress.console.print(f"resuming after step {event['step']}")
            elif kind == "lost_walkers":
                progress.console.print(f"step {event['step']}: {event['walkers']} walkers lost")
            elif kind == "recovered":
                progress.console.print(
                    f"step {event['step']}: broke down; back to step {event['back_to']}"
                )
            if "done" in event:
                progress.update(
                    task, completed=event["done"], description=f"step {event['step']:,}"
                )
            if kind == "samples" and "energy_Ha" in event:
                progress.update(task, energy=f"{event['energy_Ha']:.5f} Ha")
            if kind == "steps":
                energy = f"{event['energy_Ha']:.5f} ± {event['stderr_Ha']:.5f} Ha"
                progress.update(task, energy=energy)

        yield report
