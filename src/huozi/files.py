"""Files and folders that are either whole or absent: written aside, then renamed."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from numbers import Integral, Real
from pathlib import Path
from typing import Any


@contextmanager
def written_aside(path: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """Yield a free path beside `path` for a file or folder, renamed when the block succeeds.

    Parameters
    ----------
    path : str or Path
        Final place; missing parent folders are made.
    overwrite : bool
        Replace what is there.

    Raises
    ------
    FileExistsError
        If something is at `path` and `overwrite` is false.
    IsADirectoryError
        If a folder is at `path` and the block wrote a file.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; pass overwrite=True (--overwrite) to replace it")
    path.parent.mkdir(parents=True, exist_ok=True)
    workspace = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        fresh = workspace / path.name
        yield fresh
        if fresh.is_file():
            with fresh.open("rb") as written:
                os.fsync(written.fileno())
        if path.is_dir() and not fresh.is_dir():
            raise IsADirectoryError(f"{path} is a folder and is not replaced by a file")
        if path.is_dir():
            path.rename(workspace / "old")
            try:
                fresh.rename(path)
            except BaseException:  # else the old folder would go with the workspace
                (workspace / "old").rename(path)
                raise
        else:
            os.replace(fresh, path)
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def atomic_path(path: str | Path) -> AbstractContextManager[Path]:
    """Yield a free path beside the file `path`, to which it is renamed in the end.

    An interrupted or failed block leaves what was at `path` before; a folder is refused.
    """
    if Path(path).is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file")
    return written_aside(path, overwrite=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a whole text file or nothing."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write a whole JSON file or nothing."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def without_nan(value: Any) -> Any:
    """Replace numbers that JSON does not know (NaN, infinity) by null, at any depth."""
    if isinstance(value, dict):
        return {key: without_nan(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(entry) for entry in value]
    if isinstance(value, Real) and not isinstance(value, Integral):
        return float(value) if math.isfinite(value) else None
    return value


def digest(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal text."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def model_digest(header: dict[str, Any], tensors: dict[str, Any]) -> str:
    """SHA-256 of a model file's header (as JSON) and of all its tensors (NumPy arrays)."""
    total = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        array = tensors[name]
        total.update(f"{name} {array.dtype} {array.shape}\n".encode())
        total.update(array.tobytes())
    return total.hexdigest()
