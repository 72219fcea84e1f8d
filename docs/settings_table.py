"""Write the settings of wave functions into docs/wavefunction.md.

    python docs/settings_table.py

Replaces what stands between the marks ``<!-- numbers: settings ... -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from readme_table import fill

from huozi.wavefunction import TrainConfig


def rows(settings: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """One line for each setting, those within others under a dotted name."""
    for name, field in settings.model_fields.items():
        default: Any = field.default
        if isinstance(default, BaseModel):
            yield from rows(type(default), f"{prefix}{name}.")
            continue
        shown = "" if default is None else f"{default:g}" if _is_number(default) else str(default)
        said = str(field.description).replace("|", "\\|")
        yield f"| `{prefix}{name}` | {shown} | {said} |"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def table() -> str:
    """Return the whole table."""
    return "\n".join(["| setting | default | |", "|---|---|---|", *rows(TrainConfig)])


if __name__ == "__main__":
    fill(Path(__file__).with_name("wavefunction.md"), table(), "settings")
