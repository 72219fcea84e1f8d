"""The deepmd formats: one system in arrays over frames, as npy, raw or HDF5, also mixed.

A system is a folder (or an HDF5 group) with ``type.raw``, ``type_map.raw``, ``nopbc`` for open
systems, and ``set.*`` with ``coord.npy``, ``box.npy``, ``energy.npy``, ``force.npy``,
``virial.npy``; mixed ones add ``real_atom_types.npy``. Å, eV, eV/Å; virial in eV.
Format: https://docs.deepmodeling.com/projects/deepmd/en/stable/data/system.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from ase.data import atomic_numbers

from huozi.systems.frame import Array, Dataset, Frame, Labels, System
from huozi.systems.keys import convert_hint

_FILES = ("coord", "box", "energy", "force", "virial", "real_atom_types")


@dataclass(frozen=True)
class Store:
    """A folder or an HDF5 group that holds one system.

    Parameters
    ----------
    place : str
        For messages.
    root : Path or h5py.Group
    """

    place: str
    root: Any

    def names(self, inner: str = "") -> list[str]:
        """Names in the store, or in a set of it, sorted."""
        if isinstance(self.root, Path):
            return sorted(p.name for p in (self.root / inner).iterdir())
        return sorted(self.root[inner] if inner else self.root)

    def array(self, name: str) -> Array:
        """Return the array of that name, whole or not at all."""
        try:
            if not isinstance(self.root, Path):
                return np.asarray(self.root[name])
            if name.endswith(".raw"):
                return np.loadtxt(self.root / name, ndmin=2)
            return np.load(self.root / name, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise ValueError(f"{self.place}/{name} cannot be read (truncated?): {error}") from None

    def words(self, name: str) -> list[str]:
        """Return the words of a text file, or the entries of a one-dimensional data set."""
        if isinstance(self.root, Path):
            return (self.root / name).read_text(encoding="utf-8").split()
        values = np.asarray(self.root[name]).reshape(-1).tolist()
        return [v.decode() if isinstance(v, bytes) else str(v) for v in values]


def is_system(path: Path) -> bool:
    """Tell whether a folder is one deepmd system."""
    return (path / "type.raw").is_file() and (
        any(path.glob("set.*")) or (path / "coord.raw").is_file()
    )


def foreign_entry(path: Path) -> Path | None:
    """Return the first entry of a folder that `write_deepmd` does not write, None without any."""
    if is_system(path):
        return _foreign_in_system(path)
    for entry in sorted(path.iterdir()):
        if entry.is_symlink() or not entry.is_dir() or not is_system(entry):
            return entry
        if foreign := _foreign_in_system(entry):
            return foreign
    return None


def _foreign_in_system(folder: Path) -> Path | None:
    arrays = {f"{name}.npy" for name in ("coord", "box", "energy", "force", "virial")}
    for entry in sorted(folder.iterdir()):
        if entry.is_symlink():
            return entry
        if entry.is_dir():
            if not re.fullmatch(r"set\.\d+", entry.name):
                return entry
            for file in sorted(entry.iterdir()):
                if file.is_symlink() or not file.is_file() or file.name not in arrays:
                    return file
        elif entry.name not in ("type.raw", "type_map.raw", "nopbc"):
            return entry
    return None


def refuse_deepks(path: Path) -> None:
    """Raise if the folder is a deepks system: no sets, no box, its own units."""
    bare = [n for n in ("atom.npy", "coord.npy") if (path / n).is_file()]
    if bare and not path.name.startswith("set."):
        raise ValueError(
            f"{path} holds {bare[0]} without set.* folders, box.npy or nopbc: a deepks system "
            "(energies in hartree), which huozi.systems does not read; deepmd systems keep their "
            "arrays in set.000"
        )


def read_hdf5(path: Path, group: str = "", type_map: Sequence[str] | None = None) -> Dataset:
    """Read every system in a deepmd/hdf5 file, or those below one group of it."""
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path} is not a whole HDF5 file: {error}") from None
    with file:
        if group and group not in file:
            raise ValueError(f"{path} has no group {group!r}; it has {sorted(file)}")
        root = file[group] if group else file
        places = [""] if "type.raw" in root else []
        root.visit(lambda name: places.append(name[:-9]) if name.endswith("/type.raw") else None)
        if not places:
            raise ValueError(f"{path}: no deepmd system (a group with type.raw) in {root.name!r}")
        systems = [root[name] if name else root for name in sorted(places)]
        data = [read_system(Store(f"{path}#{s.name}", s), type_map) for s in systems]
    return sum(data, Dataset(()))


def read_system(store: Store, type_map: Sequence[str] | None = None) -> Dataset:
    """Read one deepmd system: npy, raw, mixed or HDF5.

    Parameters
    ----------
    store : Store
    type_map : sequence of str, optional
        Chemical symbols of the types; needed when there is no ``type_map.raw``.

    Returns
    -------
    Dataset
        Frames in the order of the sets.

    Raises
    ------
    ValueError
        If an array is truncated or has a wrong shape, the box is missing, or a type is
        unknown; the file and the frame or atom are named.
    """
    symbols = _type_map(store, type_map)
    types = _types(store)
    present = store.names()
    is_open = "nopbc" in present
    sets = [n for n in present if n.startswith("set.")]
    frames: list[Frame] = []
    labels: set[str] = set()
    ignored: set[str] = set()
    for name in sets or [""]:
        new, present_files = _read_set(store, name, types, symbols, is_open)
        frames += new
        labels |= present_files
        ignored |= present_files - {*_FILES, "type", "type_map"}
    used = [n for n in ("energy", "force", "virial") if n in labels]
    notes = [f"{', '.join(used) or 'no labels'} ({len(frames)} frames)"]
    if ignored:
        notes.append(f"left out: {', '.join(sorted(ignored))}")
    return Dataset(tuple(frames), tuple(f"{store.place}: {note}" for note in notes))


def _type_map(store: Store, type_map: Sequence[str] | None) -> list[str]:
    given = list(type_map) if type_map is not None else None
    symbols = store.words("type_map.raw") if "type_map.raw" in store.names() else given
    if symbols is None:
        raise ValueError(
            f"{store.place} has no type_map.raw, so its types are unknown; pass "
            "type_map=['O', 'H'] with the elements of types 0, 1, ..., or run "
            f"{convert_hint(store.place, '--type-map O,H')}"
        )
    known = all(s in atomic_numbers and s != "X" for s in symbols)
    if given and (not known or symbols == given[: len(symbols)]):
        symbols = given
    elif given:
        raise ValueError(f"{store.place}/type_map.raw says {symbols}, but type_map is {given}")
    for symbol in symbols:
        if symbol not in atomic_numbers or symbol == "X":
            raise ValueError(
                f"{store.place}/type_map.raw names {symbol!r}, which is no chemical element; "
                f"pass type_map with one element for each of {symbols}, or run "
                f"{convert_hint(store.place, '--type-map O,H')}"
            )
    return symbols


def _types(store: Store) -> Array:
    words = store.words("type.raw")
    try:
        return np.array([int(w) for w in words], np.int64)
    except ValueError:
        bad = next((w for w in words if not re.fullmatch(r"[+-]?\d+", w)), " ".join(words))
        raise ValueError(f"{store.place}/type.raw should hold integers, found {bad!r}") from None


def _read_set(
    store: Store, name: str, types: Array, symbols: list[str], is_open: bool
) -> tuple[list[Frame], set[str]]:
    """Return the frames of one set and the names of its arrays."""
    suffix, prefix = (".npy", f"{name}/") if name else (".raw", "")
    present = [n.removesuffix(suffix) for n in store.names(name) if n.endswith(suffix)]
    where = f"{store.place}/{name}" if name else store.place
    if "coord" not in present:
        raise ValueError(f"{where} has no coord{suffix}; it has {present}")
    if "box" not in present and not is_open:
        raise ValueError(
            f"{where} has no box{suffix}; add it, or an empty file 'nopbc' in {store.place} if "
            "the system is open (not periodic)"
        )
    natoms = len(types)
    raw = {n: store.array(f"{prefix}{n}{suffix}") for n in _FILES if n in present}
    count = _frame_count(raw["coord"], natoms, f"{where}/coord{suffix}")
    widths = {"coord": 3 * natoms, "box": 9, "energy": 1, "force": 3 * natoms, "virial": 9}
    widths["real_atom_types"] = natoms
    data = {n: _shaped(a, count, widths[n], f"{where}/{n}{suffix}") for n, a in raw.items()}
    real = data["real_atom_types"] if "real_atom_types" in data else types[None].repeat(count, 0)
    species = _species(real, symbols, where, mixed="real_atom_types" in data)
    frames = [_frame(data, species[k], k, is_open, f"{where}#{k}") for k in range(count)]
    return frames, set(present)


def _frame_count(coord: Array, natoms: int, where: str) -> int:
    frames = len(coord) if coord.ndim > 1 else coord.size // max(3 * natoms, 1)
    if natoms == 0 or coord.size != frames * 3 * natoms:
        raise ValueError(
            f"{where} has shape {coord.shape}; expected (frames, {3 * natoms}) for the {natoms} "
            "atoms of type.raw"
        )
    return frames


def _shaped(array: Array, count: int, width: int, where: str) -> Array:
    """Return the array as (frames, width) float64, or raise if it holds something else."""
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{where} should hold numbers, found {array.dtype}")
    if array.size != count * width or (array.ndim > 1 and len(array) != count):
        raise ValueError(
            f"{where} has shape {array.shape}; expected ({count}, {width}) for the {count} frames "
            "of coord"
        )
    return array.reshape(count, width).astype(np.float64)


def _species(types: Array, symbols: list[str], where: str, mixed: bool) -> list[Array]:
    """Atomic numbers of each frame, 0 for the padding atoms of mixed sets; rows are shared."""
    types = types.astype(np.int64)
    wrong = (types >= len(symbols)) | (types < (-1 if mixed else 0))
    if wrong.any():
        frame, atom = (int(i) for i in np.argwhere(wrong)[0])
        at = f"frame {frame}, atom {atom}" if mixed else f"atom {atom} of type.raw"
        raise ValueError(
            f"{where}: {at} has type {types[frame, atom]}, but type_map has only "
            f"{len(symbols)} elements: {symbols}"
        )
    table = np.array([0, *(atomic_numbers[s] for s in symbols)], np.int32)
    unique, index = np.unique(types, axis=0, return_inverse=True)
    rows = [table[row + 1] for row in unique]
    return [rows[i] for i in index.reshape(-1).tolist()]


def _frame(data: dict[str, Array], species: Array, k: int, is_open: bool, source: str) -> Frame:
    real = species > 0
    cut: Any = slice(None) if real.all() else real
    forces = data["force"][k].reshape(-1, 3)[cut] if "force" in data else None
    labels = Labels(
        energy=float(data["energy"][k, 0]) if "energy" in data else None,
        forces=forces,
        virial=data["virial"][k].reshape(3, 3) if "virial" in data else None,
    )
    cell = np.zeros((3, 3)) if is_open else data["box"][k].reshape(3, 3)
    positions = data["coord"][k].reshape(-1, 3)[cut]
    return Frame(System(species[cut], positions, cell, np.full(3, not is_open)), labels, source)


def write_deepmd(dataset: Dataset, path: Path) -> tuple[str, ...]:
    """Write deepmd/npy in float64: one folder, or one per composition and order of atoms.

    Parameters
    ----------
    dataset : Dataset
    path : Path
        A folder that does not exist yet.

    Returns
    -------
    tuple of str
        What the format could not hold.

    Raises
    ------
    ValueError
        If a frame is periodic in some directions only.
    """
    groups: dict[tuple[bytes, bool], list[Frame]] = {}
    for frame in dataset:
        periodic = frame.system.pbc
        if periodic.any() != periodic.all():
            raise ValueError(
                f"{frame.source}: deepmd/npy holds fully periodic or fully open frames, found "
                f"pbc {periodic.tolist()}; write extxyz instead"
            )
        key = np.asarray(frame.system.species, np.int32).tobytes(), bool(periodic.all())
        groups.setdefault(key, []).append(frame)
    names: dict[str, int] = {}
    for (_, periodic_all), frames in groups.items():
        formula = frames[0].system.to_atoms().get_chemical_formula("hill")
        names[formula] = names.get(formula, 0) + 1
        name = formula if names[formula] == 1 else f"{formula}-{names[formula]}"
        folder = path if len(groups) == 1 else path / name
        _write_system(folder, frames, dataset.symbols, periodic_all)
    kept_out = {k for f in dataset for k in (*f.info, *f.arrays)}
    for name in ("energy_error", "forces_error"):
        if any(getattr(f.labels, name) is not None for f in dataset):
            kept_out.add(name)
    return tuple(f"deepmd/npy cannot hold {key!r}; it was left out" for key in sorted(kept_out))


def _write_system(
    folder: Path, frames: list[Frame], symbols: tuple[str, ...], periodic: bool
) -> None:
    folder.mkdir(parents=True)
    types = [symbols.index(s) for s in frames[0].system.to_atoms().get_chemical_symbols()]
    (folder / "type.raw").write_text("".join(f"{t}\n" for t in types))
    (folder / "type_map.raw").write_text("".join(f"{s}\n" for s in symbols))
    if not periodic:
        (folder / "nopbc").touch()
    sets: dict[tuple[bool, ...], list[Frame]] = {}
    for frame in frames:
        there = (frame.labels.energy, frame.labels.forces, frame.labels.virial)
        sets.setdefault(tuple(label is not None for label in there), []).append(frame)
    for number, ((energy, forces, virial), members) in enumerate(sets.items()):
        place = folder / f"set.{number:03d}"
        place.mkdir()
        arrays: dict[str, Any] = {"coord": [f.system.positions for f in members]}
        if periodic:
            arrays["box"] = [f.system.cell for f in members]
        if forces:
            arrays["force"] = [f.labels.forces for f in members]
        if virial:
            arrays["virial"] = [f.labels.virial for f in members]
        for name, values in arrays.items():
            np.save(place / name, np.asarray(values, np.float64).reshape(len(members), -1))
        if energy:
            np.save(place / "energy", np.array([f.labels.energy for f in members], np.float64))
