"""Task functions for the tests; workers import them by name."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from huozi.workflow import task

Inputs = dict[str, Any]
Files = dict[str, Path]


@task()
def square(folder: Path, inputs: Inputs, files: Files) -> Any:
    """The square of x; each execution leaves a line in the file LEDGER, if there is one."""
    if "LEDGER" in os.environ:
        with open(os.environ["LEDGER"], "a") as ledger:
            ledger.write(f"{inputs['x']}\n")
    time.sleep(inputs.get("seconds", 0))
    (folder / "note.txt").write_text("kept")
    return {"square": inputs["x"] ** 2}


@task(version=2)
def newer(folder: Path, inputs: Inputs, files: Files) -> Any:
    """Same inputs as `square`."""
    return None


@task()
def length(folder: Path, inputs: Inputs, files: Files) -> Any:
    """Size of the input file."""
    return len(files["data"].read_bytes())


@task()
def picky(folder: Path, inputs: Inputs, files: Files) -> Any:
    """Fails for odd numbers, after its child has spoken."""
    time.sleep(inputs.get("seconds", 0))
    subprocess.run(["echo", f"child of {inputs['x']}"], check=True)
    if inputs["x"] % 2:
        raise ValueError(f"{inputs['x']} is odd")
    return inputs["x"]


@task()
def mortal(folder: Path, inputs: Inputs, files: Files) -> Any:
    """Kills its own process, `times` times."""
    ledger = Path(inputs["ledger"])
    with ledger.open("a") as stream:
        stream.write("x")
    if len(ledger.read_text()) <= inputs["times"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


@task(resumes=True)
def patient(folder: Path, inputs: Inputs, files: Files) -> Any:
    """Is killed half-way once, and goes on from there."""
    half = folder / "half"
    if not half.exists():
        half.write_text("done")
        os.kill(os.getpid(), signal.SIGKILL)
    return half.read_text()


@task()
def forgetful(folder: Path, inputs: Inputs, files: Files) -> Any:
    """Is killed half-way once, and must find an empty folder then."""
    first = not Path(inputs["ledger"]).exists()
    if first:
        Path(inputs["ledger"]).write_text("x")
        (folder / "half").mkdir()
        os.kill(os.getpid(), signal.SIGKILL)
    return (folder / "half").exists()


@task()
def sleepy(folder: Path, inputs: Inputs, files: Files) -> Any:
    """Takes an hour."""
    time.sleep(3600)
