"""Settings from YAML or JSON files and options, with every mistake said in one line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ValidationError

Settings = TypeVar("Settings", bound=BaseModel)

_UNITS = {"s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0}


def parse_duration(text: Any) -> Any:
    """Seconds from ``"5min"``, ``"90s"``, ``"1.5h"`` or a number of seconds.

    Raises
    ------
    ValueError
        If the text is no duration.
    """
    if not isinstance(text, str):
        return text
    found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(s|sec|min|h|)\s*", text)
    if not found:
        raise ValueError(f"not a duration: {text!r}; write e.g. 90s, 5min or 1.5h")
    return float(found[1]) * _UNITS[found[2] or "s"]


Duration = Annotated[float, BeforeValidator(parse_duration)]


def read_settings(
    model: type[Settings], path: str | Path | None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Validate the settings of a file, of options that override it, or both.

    Parameters
    ----------
    model : type
        A pydantic model.
    path : path or None
        YAML or JSON.
    overrides : mapping, optional
        Settings that replace those of the file.

    Raises
    ------
    ValueError
        In one line, if settings are unknown or out of range.
    """
    values: Any = {}
    if path is not None:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError(f"{path} does not hold settings of the form `name: value`")
    try:
        return model.model_validate({**values, **(overrides or {})})
    except ValidationError as error:
        raise ValueError(describe_mistakes(error, path)) from None


def describe_mistakes(error: ValidationError, path: str | Path | None = None) -> str:
    """Say every setting that pydantic refused, why, and what was found."""
    return "; ".join(_sentence(problem, path) for problem in error.errors())


def _sentence(problem: Any, path: str | Path | None) -> str:
    name = ".".join(map(str, problem["loc"]))
    message = problem["msg"].removeprefix("Value error, ")
    if not name:
        return str(message)
    where = f" in {path}" if path is not None and problem["type"] == "extra_forbidden" else ""
    return f"setting {name}{where}: {message[0].lower()}{message[1:]}; found {problem['input']!r}"
