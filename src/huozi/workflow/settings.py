"""Settings from YAML or JSON files and options, with every mistake said in one line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

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
        raise ValueError(describe_mistakes(error, path, model)) from None


def describe_mistakes(
    error: ValidationError, path: str | Path | None = None, model: Any = None
) -> str:
    """Say every setting that pydantic refused, why, what was found, and the nearest name.

    Parameters
    ----------
    error : ValidationError
    path : path, optional
        The file the settings come from.
    model : type, optional
        What they should have been; unknown names are compared with its own.
    """
    return "; ".join(_sentence(problem, path, model) for problem in error.errors())


def _sentence(problem: Any, path: str | Path | None, model: Any) -> str:
    place, names = _walk(model, problem["loc"])
    name = ".".join(place)
    message = problem["msg"].removeprefix("Value error, ")
    if not name:
        return str(message)
    if problem["type"] == "extra_forbidden" and model is not None:
        message += _advice(place[-1], names)
    elif problem["type"] == "missing":
        return f"setting {name} is missing"
    where = f" in {path}" if path is not None and problem["type"] == "extra_forbidden" else ""
    return f"setting {name}{where}: {message[0].lower()}{message[1:]}; found {problem['input']!r}"


def _advice(unknown: str, names: Sequence[str]) -> str:
    """Return the nearest of the names, or all of them."""
    near = difflib.get_close_matches(unknown, names, 1, 0.6)
    if near:
        return f", did you mean {near[0]}?"
    return f", known here are {', '.join(names)}" if names else ""


def _walk(model: Any, place: Sequence[Any]) -> tuple[list[str], list[str]]:
    """Return a place as it is written in a file, and the names of the settings around it."""
    models, written = list(_models(model)), []
    names: list[str] = []
    for step in place:
        names = [name for m in models for name in m.model_fields]
        inner = [m.model_fields[step].annotation for m in models if step in m.model_fields]
        tagged = [m for m in models if step in _tags(m)]
        if inner or not tagged:  # a tag that chose among alternatives is not in the file
            written.append(str(step))
        if inner:
            models = [m for annotation in inner for m in _models(annotation)]
        else:
            models = tagged or models
    return written, names


def _models(annotation: Any) -> Iterator[Any]:
    """Yield the models in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _tags(model: Any) -> set[Any]:
    """Return the values that tell a model from its alternatives."""
    defaults = (field.default for field in model.model_fields.values())
    return {value for value in defaults if isinstance(value, str)}
