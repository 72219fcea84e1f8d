"""Files and folders that are either whole or absent: written aside, then renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; pass overwrite=True (--overwrite) to replace it")
    path.parent.mkdir(parents=True, exist_ok=True)
    workspace = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        fresh = workspace / path.name
        yield fresh
        if path.is_dir():
            path.rename(workspace / "old")
        os.replace(fresh, path)
    finally:
        shutil.rmtree(workspace, ignore_errors=True)
