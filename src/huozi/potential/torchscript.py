"""Attributes of a TorchScript file, as data.

A `.pth` file of ``torch.jit.save`` is a zip archive: ``data.pkl`` holds the attributes of all
modules, ``data/0``, ``data/1``, ... the numbers of the tensors, ``code/`` the program. The program
is not looked at, and nothing is unpickled: the few operations of which PyTorch's pickles consist
are followed here, and whatever they name besides modules, tensors and lists is refused.

Source: Python's ``pickletools`` (the operations); PyTorch, torch/csrc/jit/docs/serialization.md.
"""

from __future__ import annotations

import pickletools
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

Array = NDArray[Any]
STORAGES = {
    "DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", "LongStorage": "<i8",
    "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "<i1", "ByteStorage": "<u1",
    "BoolStorage": "?",
}  # fmt: skip
LISTS = {
    "torch.jit._pickle build_intlist", "torch.jit._pickle build_doublelist",
    "torch.jit._pickle build_boollist", "torch.jit._pickle build_tensorlist",
    "torch.jit._pickle restore_type_tag", "torch._utils _rebuild_parameter",
}  # fmt: skip
MARK = object()
EMPTY: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "MARK": lambda: MARK,
    "EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple,
}  # fmt: skip
LITERALS = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"}


class Name(NamedTuple):
    """What a pickle calls by its name: module and object, with a blank between."""

    text: str


def read_torchscript(path: str | Path) -> tuple[dict[str, Any], set[str]]:
    """Attributes of the outermost module, and the names of the extra files that are not empty.

    A module is a dictionary of its attributes and of ``@class``, the name of its class without
    package. Tensors are arrays that cannot be written.

    Raises
    ------
    ValueError
        If the file is damaged, or names anything but modules, tensors and lists.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            root, extra = _read(archive)
    except (
        ValueError, LookupError, TypeError, AttributeError, EOFError, OSError, ArithmeticError,
        RuntimeError, struct.error, zipfile.BadZipFile,
    ) as error:  # fmt: skip
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{path}: not a whole TorchScript file ({reason}); copy or freeze it again"
        ) from None
    if not isinstance(root, dict) or "@class" not in root:
        raise ValueError(f"{path}: holds no module of TorchScript; freeze the model with `dp`")
    return root, extra


def _read(archive: zipfile.ZipFile) -> tuple[Any, set[str]]:
    names = archive.namelist()
    found = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(found) != 1:
        raise ValueError("one data.pkl is expected in it")
    folder = found[0].removesuffix("data.pkl")
    if folder + "byteorder" in names and _entry(archive, folder + "byteorder") != b"little":
        raise ValueError("its numbers are not little-endian")
    storages: dict[str, Array] = {}

    def tensor(storage: Any, offset: int, shape: Any, strides: Any) -> Array:
        _, kind, key, _, count = storage
        name = f"{folder}data/{key:s}"
        if name not in storages:
            storages[name] = _storage(_entry(archive, name), name, kind.text, count)
        return _view(storages[name], offset, shape, strides)

    root = _follow(_entry(archive, found[0]), tensor)
    extra = {entry.filename for entry in archive.infolist() if entry.file_size}
    return root, {
        n.removeprefix(folder + "extra/") for n in extra if n.startswith(folder + "extra/")
    }


def _entry(archive: zipfile.ZipFile, name: str) -> bytes:
    """Bytes of an entry. PyTorch compresses none of these, so that none outgrows the file."""
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    return archive.read(name)


def _storage(data: bytes, name: str, kind: str, count: int) -> Array:
    short = kind.removeprefix("torch ")
    if short not in STORAGES:
        raise ValueError(f"{name} holds numbers of the kind {kind!r}")
    dtype = np.dtype(STORAGES[short])
    if len(data) != count * dtype.itemsize:
        raise ValueError(f"{name} has {len(data)} bytes, not {count} numbers of {short}")
    return np.frombuffer(data, dtype)


def _view(storage: Array, offset: int, shape: Any, strides: Any) -> Array:
    """Part of a storage; `offset` and `strides` count numbers."""
    if len(shape) != len(strides) or min((offset, *shape, *strides)) < 0:
        raise ValueError(f"a tensor of shape {shape}, strides {strides}, offset {offset}")
    if 0 in shape:
        return np.zeros(shape, storage.dtype)
    size = 1
    for n in shape:
        size *= n
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if last >= storage.size or size > storage.size:
        raise ValueError(f"a tensor of shape {shape} reaches beyond its {storage.size} numbers")
    steps = [storage.itemsize * step for step in strides]
    return as_strided(storage[offset:], shape, steps, writeable=False)


def _follow(pickle: bytes, tensor: Callable[..., Array]) -> Any:
    """Value that the operations of a pickle build."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for operation, argument, _ in pickletools.genops(pickle):
        name = operation.name
        if name in EMPTY:
            stack.append(EMPTY[name]())
        elif name in LITERALS:
            stack.append(argument)
        elif name == "GLOBAL":
            stack.append(Name(str(argument)))
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[int(str(argument))] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[int(str(argument))])
        elif name not in ("PROTO", "STOP", "BINPERSID"):  # a storage stays the tuple that it is
            _combine(name, stack, tensor)
    (value,) = stack
    return value


def _combine(name: str, stack: list[Any], tensor: Callable[..., Array]) -> None:
    """One operation that takes values from the stack."""
    if name in ("TUPLE1", "TUPLE2", "TUPLE3"):
        count = int(name[-1])
        stack[-count:] = [tuple(stack[-count:])]
    elif name == "TUPLE":
        values = _since_mark(stack)
        stack.append(tuple(values))
    elif name in ("APPEND", "APPENDS"):
        values = _since_mark(stack) if name == "APPENDS" else [stack.pop()]
        stack[-1].extend(values)
    elif name in ("SETITEM", "SETITEMS"):
        values = _since_mark(stack) if name == "SETITEMS" else [stack.pop(), stack.pop()][::-1]
        if not all(isinstance(key, str | int) for key in values[::2]):
            raise ValueError("a dictionary in data.pkl with keys other than names and numbers")
        stack[-1].update(zip(values[::2], values[1::2], strict=True))
    elif name == "BUILD":
        attributes = stack.pop()
        stack[-1].update(attributes)
    elif name in ("NEWOBJ", "REDUCE"):
        arguments, called = stack.pop(), stack.pop()
        stack.append(_call(called.text, arguments, tensor))
    else:
        raise ValueError(f"data.pkl has the operation {name}, which PyTorch does not write")


def _since_mark(stack: list[Any]) -> list[Any]:
    values = []
    while (value := stack.pop()) is not MARK:
        values.append(value)
    return values[::-1]


def _call(name: str, arguments: Any, tensor: Callable[..., Array]) -> Any:
    if name.startswith("__torch__."):
        return {"@class": name.split()[-1]}
    if name == "torch._utils _rebuild_tensor_v2":
        return tensor(*arguments[:4])
    if name in LISTS:
        return arguments[0]
    if name == "collections OrderedDict":
        return {}
    raise ValueError(f"data.pkl names {name.replace(' ', '.')}, which is no part of a model")
