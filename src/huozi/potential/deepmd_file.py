"""Read the files in which deepmd-kit keeps models, without deepmd-kit.

``dp convert-backend`` writes the neutral serialisation: a tree of dictionaries whose arrays are
data sets of an HDF5 file (``.dp``), or are spelled out (``.yaml``). Files of one backend are
programs. Settings and weights are read out of ``.pth`` and ``.pb``; an installed ``dp`` translates
the others.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml

from huozi.potential.deepmd_graph import read_deepmd_graph
from huozi.potential.deepmd_torch import read_deepmd_torch

NEUTRAL = (".dp", ".hlo", ".yaml", ".yml", ".json")
DIRECT = {".pth": read_deepmd_torch, ".pb": read_deepmd_graph}
BACKENDS = (*DIRECT, ".pt", ".pt2", ".pte", ".savedmodel", ".jax", ".pd")


def read_deepmd_file(path: str | Path) -> dict[str, Any]:
    """Tree of a model of deepmd-kit; arrays are NumPy arrays.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, of another kind, or needs a `dp` that is not there.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such model file")
    if path.suffix in DIRECT:
        try:
            return DIRECT[path.suffix](path)
        except NotImplementedError as error:
            return _read_by_dp(
                path, f"a {path.suffix} file that is not read as it is, since {error}"
            )
    if path.suffix in BACKENDS:
        return _read_by_dp(
            path, "a model of one backend of deepmd-kit, which only that program reads"
        )
    if path.suffix not in NEUTRAL:
        raise ValueError(
            f"{path}: not a model of deepmd-kit by its name; expected one of "
            f"{', '.join(NEUTRAL + BACKENDS)}"
        )
    tree = _read_hdf5(path) if path.suffix in (".dp", ".hlo") else _read_text(path)
    if not isinstance(tree, dict) or not isinstance(tree.get("model"), dict):
        raise ValueError(f"{path}: holds no model of deepmd-kit (no entry `model`)")
    return tree


def _read_hdf5(path: Path) -> Any:
    try:
        with h5py.File(path, "r") as stream:
            tree = json.loads(stream.attrs["json"])
            return _fill(tree, lambda name: np.asarray(stream[name][()]))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{path}: not a whole model file of deepmd-kit ({error}); copy or convert it again"
        ) from None


def _read_text(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        tree = json.loads(text) if path.suffix == ".json" else yaml.load(text, _yaml_loader())
        return _fill(tree, lambda value: value)
    except (UnicodeDecodeError, yaml.YAMLError, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{path}: not a whole model file of deepmd-kit ({reason}); copy or convert it again"
        ) from None


def _yaml_loader() -> Any:
    """Return the safe loader, in C where it was built, ten times faster on many numbers."""
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _fill(node: Any, fetch: Callable[[Any], Any], variable: bool = False) -> Any:
    """Put arrays in place of their descriptions below ``@variables``."""
    if isinstance(node, dict):
        if node.get("@class") == "np.ndarray":
            return np.asarray(node["value"], dtype=np.dtype(node["dtype"]))
        return {
            name: _fill(value, fetch, variable or name == "@variables")
            for name, value in node.items()
        }
    if isinstance(node, list):
        return [_fill(value, fetch, variable) for value in node]
    return fetch(node) if variable and node is not None else node


def _read_by_dp(path: Path, reason: str) -> dict[str, Any]:
    """Let deepmd-kit translate a file of one of its backends."""
    program = shutil.which("dp")
    if program is None:
        raise ValueError(
            f"{path}: {reason}; run `dp convert-backend {path.name} model.dp` where deepmd-kit is "
            "installed and convert model.dp"
        )
    with tempfile.TemporaryDirectory() as folder:
        neutral = Path(folder) / "model.dp"
        command = [program, "convert-backend", str(path.resolve()), str(neutral)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not neutral.exists():
            lines = done.stderr.strip().splitlines() or ["no message"]
            raise ValueError(f"{path}: `dp convert-backend` failed: {lines[-1]}")
        return read_deepmd_file(neutral)
