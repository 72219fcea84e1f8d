"""How the command ends: results on stdout, errors in one line, exit codes."""

from __future__ import annotations

import pytest
import typer
from pydantic import BaseModel, Field

from huozi import __version__
from huozi.cli import main
from huozi.demo import DemoConfig
from huozi.dynamics import BlowUpError, MDConfig


def run(monkeypatch, capsys, *arguments):
    """Exit code, stdout and stderr of ``huozi *arguments``."""
    monkeypatch.setattr("sys.argv", ["huozi", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main.main()
    return stop.value.code, *capsys.readouterr()


def failing(monkeypatch, error):
    """Make ``huozi fail`` raise an error."""
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def fail():
        raise error

    monkeypatch.setattr(main, "app", app)


def test_help_and_version(monkeypatch, capsys):
    code, out, _ = run(monkeypatch, capsys, "--version")
    assert (code, out) == (0, f"huozi {__version__}\n")
    code, out, _ = run(monkeypatch, capsys, "--help")
    assert code == 0
    for verb in ("data", "train", "test", "md", "relax", "analyse", "demo"):
        assert f" {verb} " in out


@pytest.mark.parametrize(
    "arguments",
    [
        ["data", "info", "missing.extxyz"],
        ["train", "missing.extxyz"],
        ["test", "missing.safetensors", "missing.extxyz"],
        ["md", "missing.safetensors", "missing.extxyz"],
        ["relax", "missing.safetensors", "missing.extxyz", "--out", "relaxed.xyz"],
        ["analyse", "missing"],
        ["demo", "--data", "missing.extxyz"],
    ],
)
def test_a_missing_file_is_one_line_and_nothing_is_written(
    monkeypatch, capsys, tmp_path, arguments
):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(monkeypatch, capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert "missing" in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("two\n  lines"), "two lines"),
        (BlowUpError("the simulation blew up at step 3"), "the simulation blew up at step 3"),
        (PermissionError(13, "Permission denied", "/root/x"), "Permission denied: '/root/x'"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (ImportError("pip install huozi[formats]"), "pip install huozi[formats]"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_errors_of_input_files_and_machine_are_one_line(monkeypatch, capsys, error, line):
    failing(monkeypatch, error)
    code, out, err = run(monkeypatch, capsys)
    assert (code, out) == (2, "")
    assert line in err
    assert err.count("\n") == 1


def test_a_broken_settings_file_is_one_line(monkeypatch, capsys, tmp_path):
    (tmp_path / "a.extxyz").write_text("1\npbc=F energy=1\nH 0 0 0\n")
    (tmp_path / "broken.yaml").write_text("budget: [\n")
    arguments = ("train", tmp_path / "a.extxyz", "--config", tmp_path / "broken.yaml")
    code, _, err = run(monkeypatch, capsys, *arguments)
    assert code == 2
    assert "the settings file is not valid YAML" in err
    assert err.count("\n") == 1


def test_every_refused_setting_is_listed():
    class Settings(BaseModel):
        steps: int = Field(ge=0)
        name: str

    with pytest.raises(ValueError, match="2 validation errors") as found:
        Settings(steps=-1, name=3)
    line = main.one_line(found.value)
    assert line == (
        "setting steps: input should be greater than or equal to 0; found -1; "
        "setting name: input should be a valid string; found 3"
    )


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: DemoConfig(train_budget="soon"), "setting train_budget: not a duration: 'soon'"),
        (lambda: DemoConfig(temperature=-1), "setting temperature: input should be greater than 0"),
        (lambda: MDConfig(ensemble="npt", thermostat="langevin"), "npt works with the csvr"),
    ],
)
def test_refused_settings_say_what_is_expected(make, line):
    with pytest.raises(ValueError, match="validation error") as found:
        make()
    assert line in main.one_line(found.value)


def test_an_interrupt_says_how_to_go_on(monkeypatch, capsys):
    failing(monkeypatch, KeyboardInterrupt())
    code, out, err = run(monkeypatch, capsys)
    assert (code, out) == (130, "")
    assert err == "interrupted; a run folder goes on when the command is given again\n"


def test_a_traceback_on_request_and_for_bugs(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.argv", ["huozi", "--traceback", "analyse", str(tmp_path / "none")])
    with pytest.raises(FileNotFoundError):
        main.main()
    failing(monkeypatch, ZeroDivisionError("a bug"))
    monkeypatch.setattr("sys.argv", ["huozi"])
    with pytest.raises(ZeroDivisionError):
        main.main()


def test_wrong_options_are_refused_with_the_name_of_the_option(monkeypatch, capsys):
    code, _, err = run(monkeypatch, capsys, "md", "--stepz", "3")
    assert code == 2
    assert "--stepz" in err
