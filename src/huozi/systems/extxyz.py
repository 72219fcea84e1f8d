"""Extended XYZ: one frame after another, labels and all else in named columns and keys.

Own reader and writer, because ASE's stops at the first blank line without a word, moves some
keys into calculators and not others, refuses a stress of six numbers, and rounds to eight
decimals (docs/decisions/dependencies.md). Format: https://github.com/libAtoms/extxyz
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO, cast

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from huozi.systems.frame import Array, Dataset, Frame, System
from huozi.systems.keys import (
    KeyUse,
    label_frame,
    names_forces,
    names_label,
    stress_has_meaning,
)

_QUOTED = r'"(?:[^"\\]|\\.)*"' + r"|'(?:[^'\\]|\\.)*'"
_PAIR = re.compile(
    rf"\s*(?P<key>{_QUOTED}|[^\s=\"']+)"
    rf"(?:\s*=\s*(?P<value>{_QUOTED}|\{{[^}}]*\}}|\[(?:[^\[\]]|\[[^\]]*\])*\]|[^\s\"'{{\[]\S*))?(?=\s|$)"
)
_BOOLEANS = {"T": True, "F": False, "true": True, "false": False}
_BOOLEANS |= {"True": True, "False": False, "TRUE": True, "FALSE": False}
_PLAIN = re.compile(r"[A-Za-z0-9_.+\-/:;*%&#@!?~^|<>()$]+")


def open_text(path: Path, mode: str, zipped: bool) -> TextIO:
    """Open a text file for reading or writing, gzipped or not."""
    if zipped:
        return cast(TextIO, gzip.open(path, mode + "t", encoding="utf-8"))
    return cast(TextIO, path.open(mode, encoding="utf-8"))


def read_extxyz(path: Path, keys: dict[str, str] | None = None) -> Dataset:
    """Read all frames of an extended XYZ file.

    Parameters
    ----------
    path : Path
        ``.extxyz`` or ``.xyz``, optionally gzipped.
    keys : dict, optional
        Which key serves as ``energy``, ``forces``, ``stress`` or ``virial``.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        If a frame is malformed (file, frame and line are named) or a label is ambiguous.
    """
    use = KeyUse(keys or {})
    frames = []
    try:
        with open_text(path, "r", path.suffix == ".gz") as stream:
            for frame in _raw_frames(stream, path):
                frames.append(label_frame(frame, use))
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path}: not a whole text file after frame {len(frames)}: {error}"
        ) from None
    return Dataset(tuple(frames), use.notes(str(path), frames))


def _raw_frames(stream: TextIO, path: Path) -> Iterator[Frame]:
    """Yield frames with every key in ``info`` and every column in ``arrays``."""
    line_number = 0
    for index, header in enumerate(stream):
        line_number += 1
        source = f"{path}#{index}"
        if not header.strip():
            if rest := next((line for line in stream if line.strip()), None):
                raise ValueError(f"{source}: blank line {line_number} before {rest.strip()[:40]!r}")
            return
        if not header.strip().isdecimal():
            raise ValueError(
                f"{source}: line {line_number} should be a number of atoms, found "
                f"{header.strip()[:60]!r}"
            )
        natoms = int(header)
        comment = next(stream, "")
        rows = list(islice(stream, natoms))
        if len(rows) < natoms:
            raise ValueError(
                f"{source}: the file ends after {len(rows)} of {natoms} atoms (line "
                f"{line_number + 1 + len(rows)}); it is truncated"
            )
        yield _frame(comment, rows, source, line_number + 1)
        line_number += 1 + natoms


def _frame(comment: str, rows: list[str], source: str, line_number: int) -> Frame:
    try:
        info = parse_comment(comment)
    except ValueError as error:
        if "Properties" in comment or "Lattice" in comment:
            raise ValueError(f"{source}: line {line_number}: {error}") from None
        info = {"comment": comment.strip()}
    properties = str(info.pop("Properties", "species:S:1:pos:R:3"))
    columns = _columns(rows, properties, source, line_number)
    species = _species(columns, source)
    positions = columns.pop("pos", None)
    if positions is None or positions.shape != (len(rows), 3):
        raise ValueError(f"{source}: Properties={properties!r} has no pos:R:3")
    cell, pbc = _cell(info, source)
    return Frame(System(species, positions, cell, pbc), source=source, info=info, arrays=columns)


def _cell(info: dict[str, Any], source: str) -> tuple[Array, Array]:
    """Cell and periodicity; a lattice without ``pbc`` is periodic, as the format says."""
    lattice = info.pop("Lattice", None)
    cell = np.zeros((3, 3))
    if lattice is not None:
        values = np.asarray(lattice)
        if values.size != 9 or values.dtype.kind not in "fiu":
            raise ValueError(f"{source}: Lattice should be nine numbers, found {lattice!r}")
        cell = values.astype(np.float64).reshape(3, 3)
    pbc = np.asarray(info.pop("pbc", [lattice is not None] * 3))
    if pbc.dtype.kind not in "bi" or pbc.size not in (1, 3):
        raise ValueError(f"{source}: pbc should be three of T or F, found {pbc.tolist()!r}")
    return cell, np.broadcast_to(pbc.astype(bool).reshape(-1), 3).copy()


def _columns(rows: list[str], properties: str, source: str, line_number: int) -> dict[str, Array]:
    """Split the atom lines into named arrays."""
    fields = properties.split(":")
    widths = fields[2::3]
    if len(fields) % 3 or not all(w.isdecimal() for w in widths):
        raise ValueError(f"{source}: cannot make sense of Properties={properties!r}")
    width = sum(int(w) for w in widths)
    words = " ".join(rows).split()
    counts_fit = len(words) == width * len(rows)
    if not counts_fit or not all(len(row.split()) == width for row in rows):
        bad = next(i for i, row in enumerate(rows) if len(row.split()) != width)
        raise ValueError(
            f"{source}: atom {bad} (line {line_number + 1 + bad}) has "
            f"{len(rows[bad].split())} columns, Properties={properties!r} asks for {width}"
        )
    arrays = {}
    start = 0
    for name, kind, count in zip(fields[::3], fields[1::3], map(int, widths)):
        parts = [
            _column(words[start + c :: width], kind, name, source, line_number)
            for c in range(count)
        ]
        arrays[name] = parts[0] if count == 1 else np.stack(parts, axis=1)
        start += count
    return arrays


def _column(words: list[str], kind: str, name: str, source: str, line_number: int) -> Array:
    convert: Any = {"R": float, "I": int, "S": str, "L": _BOOLEANS.__getitem__}.get(kind)
    if convert is None:
        raise ValueError(
            f"{source}: column {name!r} has the unknown type {kind!r} (not R, I, S, L)"
        )
    try:
        return np.array(
            list(map(convert, words)),
            {"R": np.float64, "I": np.int64, "S": np.str_, "L": np.bool_}[kind],
        )
    except (ValueError, KeyError, OverflowError):
        for atom, word in enumerate(words):
            try:
                convert(word)
            except (ValueError, KeyError):
                line = line_number + 1 + atom
                raise ValueError(
                    f"{source}: atom {atom} (line {line}) has {word!r} as {name!r}"
                ) from None
        raise ValueError(f"{source}: column {name!r} holds integers beyond 64 bits") from None


def _species(columns: dict[str, Array], source: str) -> Array:
    """Atomic numbers from the column ``species`` (or ``element``) or ``Z``."""
    for name in ("species", "element", "symbols"):
        if name in columns and columns[name].dtype.kind == "U":
            columns.pop("Z", None)
            symbols = columns.pop(name)
            try:
                return np.array([atomic_numbers[s] for s in symbols.tolist()], np.int32)
            except KeyError as error:
                atom = symbols.tolist().index(error.args[0])
                raise ValueError(
                    f"{source}: atom {atom} is of the unknown element {error.args[0]!r}"
                ) from None
    if "Z" in columns and columns["Z"].dtype.kind == "i":
        return columns.pop("Z").astype(np.int32)
    raise ValueError(f"{source}: no column species:S:1 or Z:I:1")


def parse_comment(line: str) -> dict[str, Any]:
    """Return the ``key=value`` pairs of a comment line; a key without value is ``True``.

    Numbers, logicals, lists of them and ``_JSON`` text become Python or NumPy values, all
    else stays text. A line without any pair is plain XYZ and yields nothing.
    """
    line = line.strip()
    if "=" not in line:
        return {}
    values: dict[str, Any] = {}
    place = 0
    while place < len(line):
        match = _PAIR.match(line, place)
        if match is None:
            raise ValueError(f"cannot make sense of {line[place : place + 40]!r}")
        key = _unquote(match["key"])
        if key in values:
            raise ValueError(f"the key {key!r} occurs twice")
        values[key] = True if match["value"] is None else _value(match["value"])
        place = match.end()
    return values


def _unquote(text: str) -> str:
    if text[:1] in "\"'" and len(text) > 1:
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text


def _value(text: str) -> Any:
    if text[:1] == "[":
        try:
            return np.array(json.loads(text))
        except ValueError:
            text = text[1:-1]
    elif text[:1] == "{":
        text = text[1:-1]
    return _typed(_unquote(text))


def _typed(text: str) -> Any:
    """Turn text into numbers or logicals when it is made of them."""
    if text.startswith("_JSON "):
        value = json.loads(text[6:])
        array = _array(value) if isinstance(value, list) else None
        return value if array is None or array.dtype.kind not in "bif" else array
    words = text.replace(",", " ").split()
    if words and "_" not in text:
        for convert in (int, float, _BOOLEANS.__getitem__):
            try:
                values = [convert(w) for w in words]
            except (ValueError, KeyError):
                continue
            return values[0] if len(values) == 1 else np.array(values)
    return text


def write_extxyz(dataset: Dataset, path: Path, name: str) -> tuple[str, ...]:
    """Write all frames to `path`, gzipped if `name` ends in ``.gz``; numbers are exact.

    Returns
    -------
    tuple of str
        What the file could not hold.
    """
    lost: set[str] = set()
    with open_text(path, "w", name.endswith(".gz")) as stream:
        for frame in dataset:
            _write_frame(stream, frame, lost)
    return tuple(f"extxyz cannot hold {key!r}; it was left out" for key in sorted(lost))


def _write_frame(stream: TextIO, frame: Frame, lost: set[str]) -> None:
    system, labels = frame.system, frame.labels
    columns: dict[str, Array] = {
        "species": np.array([chemical_symbols[z] for z in system.species]),
        "pos": np.asarray(system.positions, np.float64),
    }
    if labels.forces is not None:
        columns["forces"] = np.asarray(labels.forces, np.float64)
    if labels.forces_error is not None:
        columns["forces_error"] = np.asarray(labels.forces_error, np.float64)
    pairs: dict[str, Any] = {}
    if system.cell.any():
        pairs["Lattice"] = np.asarray(system.cell, np.float64).ravel()
    kept = {k: v for k, v in frame.arrays.items() if k not in columns and _fits_column(k, v)}
    columns |= kept
    lost |= set(frame.arrays) - set(kept)
    pairs["Properties"] = ":".join(_describe(k, v) for k, v in columns.items())
    if labels.energy is not None:
        pairs["energy"] = labels.energy
    if labels.energy_error is not None:
        pairs["energy_error"] = labels.energy_error
    if labels.virial is not None:
        if stress_has_meaning(system):
            pairs["stress"] = (-labels.virial / system.volume).ravel(order="F")
        else:
            pairs["virial"] = np.asarray(labels.virial, np.float64).ravel(order="F")
    pairs["pbc"] = system.pbc
    words = []
    info = {k: v for k, v in frame.info.items() if k not in pairs and not names_label(str(k))}
    lost |= {str(k) for k in set(frame.info) - set(info)}
    for key, value in {**pairs, **info}.items():
        try:
            words.append(f"{_quote(key)}={format_value(value)}")
        except TypeError:
            lost.add(str(key))
    stream.write(f"{len(system)}\n{' '.join(words)}\n")
    parts = [_words(c) for column in columns.values() for c in np.atleast_2d(column.T)]
    stream.writelines(" ".join(row) + "\n" for row in zip(*parts))


def _fits_column(name: str, values: Array) -> bool:
    """Tell whether the per-atom values can be words in columns without being taken for labels."""
    if names_forces(name) or not _PLAIN.fullmatch(name) or ":" in name:
        return False
    if values.dtype.kind == "U" and not all(_PLAIN.fullmatch(str(v)) for v in values.ravel()):
        return False
    return values.ndim in (1, 2) and values.size > 0 and values.dtype.kind in "fiubU"


def _describe(name: str, column: Array) -> str:
    kind = {"f": "R", "i": "I", "u": "I", "b": "L", "U": "S"}[column.dtype.kind]
    return f"{name}:{kind}:{1 if column.ndim == 1 else column.shape[1]}"


def _words(column: Array) -> list[str]:
    if column.dtype.kind == "b":
        return ["T" if v else "F" for v in column.tolist()]
    return list(map(repr if column.dtype.kind == "f" else str, column.tolist()))


def format_value(value: Any) -> str:
    """Write one value so that `parse_comment` and ASE return the same."""
    array = _array(value)
    if array.dtype.kind in "fiub" and array.ndim == 0:
        return _words(array.reshape(1))[0]
    if array.dtype.kind in "fiub" and array.ndim == 1 and array.size > 1:
        return '"' + " ".join(_words(array)) + '"'
    if isinstance(value, str) and value.isprintable() and value.strip():
        typed = _typed(value)
        if isinstance(typed, str) and typed == value:
            return _quote(value)
    return _quote("_JSON " + json.dumps(array.tolist() if array.dtype.kind in "fiub" else value))


def _array(value: Any) -> Array:
    """Return an array; an empty one of objects for lists of unequal length."""
    try:
        return np.asarray(value)
    except ValueError:
        return np.empty((), object)


def _quote(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
