"""Checkpoints: trees of arrays in safetensors files, whole or absent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from huozi.arrays import jax, jnp
from huozi.files import atomic_path

FORM = 5
"""What the parameters of a wave function mean; raised when the same ones mean something else."""


def save(path: Path, tree: Any, header: dict[str, Any]) -> None:
    """Write the leaves of a tree, named by their place in it, and a header."""
    named = {
        jax.tree_util.keystr(place): np.array(leaf, order="C")
        for place, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
    with atomic_path(path) as fresh:
        save_file(named, fresh, metadata={"huozi": json.dumps({"form": FORM} | header)})


def load(path: Path, like: Any) -> tuple[Any, dict[str, Any]]:
    """Read a tree of the form of `like`, and the header.

    Raises
    ------
    ValueError
        If the file is damaged, or holds another tree, or was written by a version whose wave
        functions had another form.
    """
    try:
        with safe_open(path, "numpy") as file:
            header = json.loads(file.metadata()["huozi"])
            if header.get("form") != FORM:
                raise ValueError(
                    f"the checkpoint {path} is of an earlier version of huozi, whose wave "
                    "functions had another form; train anew in another folder, or evaluate it by "
                    "that version"
                )
            tree = jax.tree_util.tree_map_with_path(
                lambda place, leaf: _fitting(file, jax.tree_util.keystr(place), leaf), like
            )
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"the checkpoint {path} is damaged or of another run ({error}); "
            "delete it to start again"
        ) from error
    return tree, header


def _fitting(file: Any, name: str, leaf: Any) -> Any:
    array = jnp.asarray(file.get_tensor(name))
    if array.shape != leaf.shape or array.dtype != leaf.dtype:
        raise KeyError(f"{name} is {array.dtype}{array.shape}, not {leaf.dtype}{leaf.shape}")
    return array
