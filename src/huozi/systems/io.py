"""Reading and writing data sets: which file goes to which reader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from huozi.files import written_aside
from huozi.systems.deepmd import (
    Store,
    foreign_entry,
    is_system,
    read_hdf5,
    read_system,
    refuse_deepks,
    write_deepmd,
)
from huozi.systems.extxyz import read_extxyz, write_extxyz
from huozi.systems.finding import faults
from huozi.systems.foreign import read_ase, read_ase_database, read_dpdata
from huozi.systems.frame import Dataset, Frame
from huozi.systems.keys import KeyUse

_SUFFIXES = {
    ".extxyz": "extxyz",
    ".xyz": "extxyz",
    ".extxyz.gz": "extxyz",
    ".xyz.gz": "extxyz",
    ".hdf5": "deepmd/hdf5",
    ".h5": "deepmd/hdf5",
    ".db": "ase/db",
}
_DEEPMD = ("deepmd/npy", "deepmd/npy/mixed", "deepmd/raw")
_HDF5 = ("deepmd/hdf5", "deepmd/hdf5/mixed")


def read(
    paths: str | Path | Sequence[str | Path],
    *,
    format: str | None = None,
    type_map: Sequence[str] | None = None,
    keys: Mapping[str, str] | None = None,
    validate: bool = True,
) -> Dataset:
    """Read labelled frames.

    Parameters
    ----------
    paths : path or sequence of paths
        Files or folders; a folder is a deepmd system or is searched for systems and native
        files, in the order of their names. ``file.hdf5#/group`` reads one group.
    format : str, optional
        Found from the file when absent: extxyz (``.extxyz``, ``.xyz``, also ``.gz``),
        deepmd/npy, deepmd/npy/mixed, deepmd/raw, deepmd/hdf5 and ASE databases (``.db``,
        ``.json``); all else goes to ASE. Give ``vasp/outcar``, ``cp2k/output`` or another of
        dpdata's names, or one of ASE's, to choose.
    type_map : sequence of str, optional
        Chemical symbols of the types, for files that number them only.
    keys : dict, optional
        Which key is the ``energy``, ``forces``, ``stress`` or ``virial``, when a file has
        two or an unusual one: ``{"energy": "REF_energy"}``; ``"none"`` leaves a label out.
    validate : bool
        Refuse frames with wrong shapes, no cell, or numbers that are not finite; False is
        for `check`, which lists them.

    Returns
    -------
    Dataset
        Its notes say which keys were used.

    Raises
    ------
    FileNotFoundError
        If a path does not exist.
    ValueError
        If a file is malformed, ambiguous or empty; file, frame and atom are named.
    """
    listed = [paths] if isinstance(paths, (str, Path)) else list(paths)
    if not listed:
        raise ValueError("no paths to read")
    frames: list[Frame] = []
    notes: list[str] = []
    for path in listed:
        for data in _read_path(str(path), format, type_map, dict(keys or {})):
            frames += data.frames
            notes += data.notes
    if validate:
        for index, frame in enumerate(frames):
            for fault in faults(frame, index):
                raise ValueError(str(fault))
    return Dataset(tuple(frames), tuple(notes))


def _read_path(
    text: str, format: str | None, type_map: Sequence[str] | None, keys: dict[str, str]
) -> Iterator[Dataset]:
    """Yield one data set for each file or system at a path; an empty one is an error."""
    name, group = text, ""
    if not Path(text).exists() and "#" in text:
        name, group = text.rsplit("#", 1)
    path = Path(name)
    if not path.exists():
        raise FileNotFoundError(f"no such file or folder: {path}")
    kind = format or _kind(path)
    if group and kind not in _HDF5:
        raise ValueError(f"{text}: only deepmd/hdf5 files have groups, this is read as {kind}")
    if path.is_dir() and kind in (*_HDF5, "extxyz", "ase/db"):
        raise ValueError(f"{path} is a folder, but {kind} data are files: name the files")
    for place in _places(path, kind):
        data = _read_one(place, kind if place == path else _kind(place), group, type_map, keys)
        if not data.frames:
            raise ValueError(f"{place} holds no frames{f' of {kind}' if kind else ''}")
        yield data


def _read_one(
    path: Path, kind: str | None, group: str, type_map: Sequence[str] | None, keys: dict[str, str]
) -> Dataset:
    if kind == "extxyz":
        return read_extxyz(path, keys)
    if kind in _DEEPMD:
        refuse_deepks(path)
        if not is_system(path):
            raise ValueError(f"{path} is no deepmd system (type.raw and set.* or coord.raw)")
        return _leave_out(read_system(Store(str(path), path), type_map), keys, path)
    if kind in _HDF5:
        return _leave_out(read_hdf5(path, group, type_map), keys, path)
    if kind == "ase/db":
        return read_ase_database(path, keys)
    if kind is not None and "/" in kind and kind not in ("vasp/outcar", "vasp/xml", "lammps/dump"):
        return _leave_out(read_dpdata(path, kind, type_map), keys, path)
    return read_ase(path, kind, type_map, keys)


def _leave_out(data: Dataset, keys: dict[str, str], path: Path) -> Dataset:
    """Apply the user's keys to a format that names its labels itself: only ``none`` fits."""
    KeyUse(keys)  # refuses unknown quantities
    for quantity, key in keys.items():
        if key.lower() != "none":
            raise ValueError(
                f"{path}: the key {key!r} was chosen as {quantity}, but this format has one fixed "
                f"name for each label; leave out {quantity}={key}, or read {path} alone"
            )
    # A stress is kept as virial.
    gone = {"virial" if quantity == "stress" else quantity for quantity in keys}
    if not gone:
        return data
    nothing: dict[str, Any] = dict.fromkeys(gone)
    frames = tuple(replace(f, labels=replace(f.labels, **nothing)) for f in data)
    notes = tuple(f"{path}: left out the {name}, as asked for" for name in sorted(gone))
    return Dataset(frames, data.notes + notes)


def _kind(path: Path) -> str | None:
    """Format of a file or folder; None leaves it to ASE, ``folder`` is to be searched."""
    if path.is_dir():
        return "deepmd/npy" if is_system(path) else "folder"
    for suffix, kind in _SUFFIXES.items():
        if path.name.endswith(suffix):
            return kind
    with path.open("rb") as stream:
        head = stream.read(4096)
    if b"CP2K|" in head:
        return "cp2k/output"
    if path.suffix == ".json" and b'"ids"' in path.read_bytes():
        return "ase/db"
    return None


def _places(path: Path, kind: str | None) -> list[Path]:
    """Return the file or system itself, or the systems and native files below a folder."""
    if not path.is_dir() or (kind != "folder" and (kind not in _DEEPMD or is_system(path))):
        return [path]
    found = _search(path, folders_only=kind in _DEEPMD)
    if not found:
        files = sorted(p.name for p in path.iterdir())
        shown = ", ".join(files[:8]) + (", ..." if len(files) > 8 else "")
        raise ValueError(
            f"{path} holds no deepmd system and no {', '.join(_SUFFIXES)} file "
            f"(it has: {shown or 'nothing'}); name other files one by one"
        )
    return found


def _search(folder: Path, folders_only: bool) -> list[Path]:
    """Systems and native files below a folder, in the order of their names."""
    refuse_deepks(folder)
    if is_system(folder):
        return [folder]
    found = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            found += _search(entry, folders_only)
        elif not folders_only and any(entry.name.endswith(s) for s in _SUFFIXES):
            found.append(entry)
    return found


def write(
    dataset: Dataset, path: str | Path, format: str | None = None, *, overwrite: bool = False
) -> tuple[str, ...]:
    """Write a data set, whole or not at all.

    Parameters
    ----------
    dataset : Dataset
    path : str or Path
        ``.extxyz`` or ``.xyz`` (also ``.gz``) for extxyz; a folder for deepmd/npy, with one
        subfolder per composition if there are several.
    format : {'extxyz', 'deepmd/npy'}, optional
        Found from the name when absent.
    overwrite : bool
        Replace what is there; a folder is replaced only if it holds nothing but what this
        function writes in it.

    Returns
    -------
    tuple of str
        Notes on what the format could not hold.

    Raises
    ------
    FileExistsError
        If something is at `path` and `overwrite` is false, or a folder with other files in it.
    ValueError
        If the set is empty, the format unknown, or a frame does not fit it.
    """
    path = Path(path)
    if not dataset.frames:
        raise ValueError(f"nothing to write to {path}: the data set has no frames")
    kind = check_target(path, format, overwrite=overwrite)
    with written_aside(path, overwrite) as fresh:
        if kind == "extxyz":
            return write_extxyz(dataset, fresh, path.name)
        return write_deepmd(dataset, fresh)


def check_target(path: str | Path, format: str | None = None, *, overwrite: bool = False) -> str:
    """Format that `write` would give to a path; for long work, which should not fail at its end.

    Raises
    ------
    FileExistsError, ValueError
        As `write`, as far as the path and the format tell.
    """
    path = Path(path)
    kind = format or _kind_to_write(path)
    if kind not in ("extxyz", "deepmd/npy"):
        raise ValueError(f"cannot write {kind!r}; huozi writes 'extxyz' and 'deepmd/npy'")
    if overwrite and path.is_dir():
        if kind != "deepmd/npy":
            raise FileExistsError(f"{path} is a folder and is not replaced by a file")
        if foreign := foreign_entry(path):
            raise FileExistsError(
                f"{path} is not replaced: it holds {foreign.relative_to(path)}, which is no part "
                "of a deepmd/npy system as huozi writes it; choose another folder"
            )
    return kind


def _kind_to_write(path: Path) -> str:
    kind = next((k for s, k in _SUFFIXES.items() if path.name.endswith(s)), None)
    if kind is None and (not path.suffix or path.is_dir()):
        return "deepmd/npy"
    if kind != "extxyz":
        raise ValueError(
            f"cannot tell the format of {path}; name it *.extxyz, or a folder for deepmd/npy"
        )
    return kind
