"""The ``huozi`` command: every verb is a thin shell over one public function."""

from __future__ import annotations

import os
import sys

import typer
from yaml import YAMLError

from huozi import __version__
from huozi.cli import (
    benchmark,
    data,
    demo,
    functional,
    ipi,
    label,
    lammps,
    learn,
    md,
    potential,
    wavefunction,
)

USER_ERRORS = (ValueError, OSError, ImportError, MemoryError, YAMLError)
"""What input, files and machine can cause; everything else is a bug and shows its traceback."""

app = typer.Typer(
    name="huozi",
    help="Huozi (活字): learn the energy of atoms once, print it at every scale.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.add_typer(data.app, name="data")
app.add_typer(functional.app, name="functional")
app.add_typer(wavefunction.app, name="wavefunction")
for verbs in (
    potential,
    md,
    lammps,
    benchmark,
    ipi,
    label,
    learn,
    demo,
):
    verbs.register(app)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"huozi {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
    traceback: bool = typer.Option(
        False, "--traceback", help="Show where in the program an error came from."
    ),
) -> None:
    pass


def main() -> None:
    """Run the command; errors of the user's input end in one line and exit code 2."""
    try:
        app()
    except USER_ERRORS as error:
        if "--traceback" in sys.argv[1:2]:
            raise
        color = None if os.environ.get("NO_COLOR") else typer.colors.RED
        typer.secho(f"error: {one_line(error)}", fg=color, err=True)
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == 130:
            message = "interrupted; a run folder goes on when the command is given again"
            typer.echo(message, err=True)
        raise


def one_line(error: BaseException) -> str:
    """Say what is wrong in one line; lists every setting that pydantic refused."""
    from pydantic import ValidationError

    from huozi.workflow import describe_mistakes

    if isinstance(error, ValidationError):
        return describe_mistakes(error)
    text = " ".join(str(error).split()) or type(error).__name__
    return f"the settings file is not valid YAML: {text}" if isinstance(error, YAMLError) else text
