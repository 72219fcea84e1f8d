"""Write docs/settings.md: every setting that a file may hold, with its default.

    python docs/settings_table.py

Replaces what stands between the marks ``<!-- numbers: NAME, ... -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from readme_table import fill

from huozi.dynamics import MDConfig
from huozi.functional.fit import FitConfig
from huozi.labels import ENGINES
from huozi.learning import LearnSettings
from huozi.potential import TrainConfig
from huozi.wavefunction import TrainConfig as WaveFunctionConfig

PAGE = Path(__file__).with_name("settings.md")
SETTINGS: dict[str, type[BaseModel]] = {
    "train": TrainConfig,
    "md": MDConfig,
    "learn": LearnSettings,
    "functional": FitConfig,
    "wavefunction": WaveFunctionConfig,
    **{f"label-{name}": level for name, level in ENGINES.items()},
}


def rows(settings: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """One line for each setting, those within others under a dotted name."""
    for name, field in settings.model_fields.items():
        default: Any = field.default
        if isinstance(default, TrainConfig):
            yield f"| `{prefix}{name}` | | Settings of `huozi train`. |"
        elif isinstance(default, BaseModel):
            yield from rows(type(default), f"{prefix}{name}.")
        elif field.description:  # others are names that choose among forms
            said = field.description.replace("|", "\\|")
            yield f"| `{prefix}{name}` | {shown(default, field.is_required())} | {said} |"


def shown(default: Any, required: bool) -> str:
    """Return the default as a file would have it."""
    if required:
        return "must be given"
    if default is None or default in ([], {}):
        return ""
    if isinstance(default, (int, float)) and not isinstance(default, bool):
        return f"{default:g}"
    if isinstance(default, tuple):
        return str(list(default))
    return str(default).lower() if isinstance(default, bool) else str(default)


if __name__ == "__main__":
    for name, settings in SETTINGS.items():
        text = "\n".join(["| setting | default | |", "|---|---|---|", *rows(settings)])
        fill(PAGE, text, f"{name},")
