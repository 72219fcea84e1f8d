"""Text files that grow by lines while a run goes on; each line begins with its step."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from huozi.files import write_text


def append_lines(path: Path, header: str, lines: Iterable[str]) -> None:
    """Add lines at the end of the file, with the header when it is new."""
    if not path.exists():
        write_text(path, header + "\n")
    with path.open("a", encoding="utf-8") as stream:
        stream.writelines(line + "\n" for line in lines)


def cut_lines(path: Path, last_step: int) -> None:
    """Forget lines after a step, and a line that a kill cut short."""
    if not path.exists():
        return
    header, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    kept = [line for line in whole if int(re.split(r"[,\s]", line.lstrip())[0]) <= last_step]
    write_text(path, header + "".join(kept))
