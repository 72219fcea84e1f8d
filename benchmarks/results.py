"""Results with what is needed to judge them: command, machine, versions."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """Processor, cores and versions."""
    processor = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        processor = names[0].split(":")[1].strip() if names else processor
    packages = ("huozi", "jax", "numpy", "optax")
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def run_lammps(command: list[str], text: str, folder: Path, **environment: str) -> str:
    """Run an input in a folder with a command that starts LAMMPS; what it says."""
    (folder / "in.lammps").write_text(text)
    done = subprocess.run(
        [*command, "-in", "in.lammps", "-nocite"],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )
    if done.returncode:
        raise RuntimeError((done.stdout + done.stderr)[-2000:])
    return done.stdout


def save(name: str, result: dict[str, Any], command: list[str]) -> None:
    """Print a result and store it as ``results/NAME.json``."""
    record = {
        "command": " ".join(["python", *command]),
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        **result,
    }
    text = json.dumps(record, indent=1, ensure_ascii=False)
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    print(text)
