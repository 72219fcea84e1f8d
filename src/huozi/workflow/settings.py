"""Settings from YAML or JSON files and options, with every mistake said in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

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
    name = ".".join(map(str, problem["loc"]))
    message = problem["msg"].removeprefix("Value error, ")
    if not name:
        return str(message)
    if problem["type"] == "extra_forbidden" and model is not None:
        message += _advice(str(problem["loc"][-1]), _names(model, problem["loc"][:-1]))
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


def _names(model: Any, place: Sequence[Any]) -> list[str]:
    """Names of the settings at a place of a model, through lists and alternatives."""
    models = list(_models(model))
    for step in place:
        inner = [m.model_fields[step].annotation for m in models if step in m.model_fields]
        if inner:
            models = [m for annotation in inner for m in _models(annotation)]
        else:  # the number in a list, or the tag that chose among alternatives
            tagged = [m for m in models if step in _tags(m)]
            models = tagged or models
    return [name for m in models for name in m.model_fields]


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
