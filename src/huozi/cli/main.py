"""The ``huozi`` command: every verb is a thin shell over one public function."""

from __future__ import annotations

import sys

import typer

from huozi import __version__
from huozi.cli import data, demo, md, potential

app = typer.Typer(
    name="huozi",
    help="Huozi (活字): learn the energy of atoms once, print it at every scale.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.add_typer(data.app, name="data")
for register in (potential.register, md.register, demo.register):
    register(app)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"huozi {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True),
) -> None:
    pass


def main() -> None:
    """Run the command; errors of the user's input end in one sentence, not a traceback."""
    try:
        app()
    except (ValueError, FileNotFoundError, ImportError) as error:
        typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        sys.exit(2)
