"""Settings from YAML or JSON files and options, with every mistake said in one line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

Settings = TypeVar("Settings", bound=BaseModel)


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
