"""Constants of a frozen TensorFlow graph, as data.

A `.pb` file is a message of protocol buffers: nodes with name, operation, inputs and attributes. In
a frozen graph the weights are attributes of nodes ``Const``. Nothing of the graph is run.

Source: protobuf.dev, "Encoding" (the wire format); TensorFlow, graph.proto, node_def.proto,
attr_value.proto, tensor.proto and types.proto (the numbers of the fields below).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# In types.proto: the type of the numbers; in tensor.proto: the field of numbers spelled out.
TYPES = {1: ("<f4", 5), 2: ("<f8", 6), 3: ("<i4", 7), 9: ("<i8", 10), 10: ("?", 11)}
STRING, CONTENT, STRINGS = 7, 4, 8
FILLED = 2**22  # numbers at most, where one stands for many


@dataclass
class Graph:
    """Constants by name, not decoded; kinds of operations; nodes ``Identity``; what others read."""

    constants: dict[str, bytes] = field(default_factory=dict)
    operations: set[str] = field(default_factory=set)
    copies: dict[str, str] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)

    def array(self, name: str) -> NDArray[Any]:
        """Numbers of a constant; KeyError without it, ValueError if they are damaged."""
        return _array(name, self.constants[name])

    def text(self, name: str) -> str:
        """Text of a constant that is one string."""
        for number, value in _fields(self.constants[name]):
            if number == STRINGS and isinstance(value, bytes):
                return value.decode()
        raise ValueError(f"the constant {name} holds no text")

    def uses(self, name: str) -> bool:
        """Whether an operation reads this constant, or a copy of it."""
        return name in self.read or any(
            copy in self.read for copy, source in self.copies.items() if source == name
        )


def read_graph(path: str | Path) -> Graph:
    """Nodes of a frozen graph.

    Raises
    ------
    ValueError
        If the file is no message of protocol buffers, or holds no nodes.
    """
    graph = Graph()
    try:
        for number, node in _fields(Path(path).read_bytes()):
            if number == 1:
                _add(graph, _bytes(node))
    except (ValueError, OSError) as error:
        raise ValueError(
            f"{path}: not a whole TensorFlow graph ({error}); copy or freeze it again"
        ) from None
    if not graph.operations:
        raise ValueError(f"{path}: not a TensorFlow graph; it has no nodes")
    return graph


def _add(graph: Graph, node: bytes) -> None:
    """Field 1 is the name, 2 the operation, 3 an input, 5 an attribute: 1 its name, 2 its value."""
    name = operation = ""
    inputs: list[str] = []
    values: dict[bytes, bytes] = {}
    for number, value in _fields(node):
        if number == 1:
            name = _bytes(value).decode()
        elif number == 2:
            operation = _bytes(value).decode()
        elif number == 3:
            inputs.append(_bytes(value).decode())
        elif number == 5:
            entry = dict(_fields(_bytes(value)))
            values[_bytes(entry.get(1, b""))] = _bytes(entry.get(2, b""))
    graph.operations.add(operation)
    if operation == "Const":
        for number, value in _fields(values.get(b"value", b"")):
            if number == 8:  # a tensor
                graph.constants[name] = _bytes(value)
    elif operation == "Identity":
        graph.copies[name] = inputs[0] if inputs else ""
    else:
        graph.read.update(inputs)


def _array(name: str, tensor: bytes) -> NDArray[Any]:
    """Field 1 of a tensor is the type, 2 the shape, 4 all numbers, 5 to 11 numbers spelled out."""
    parts: dict[int, list[Any]] = {}
    for number, value in _fields(tensor):
        parts.setdefault(number, []).append(value)
    kind = parts.get(1, [0])[-1]
    sizes = _fields(_bytes(parts.get(2, [b""])[-1]))
    shape = [int(dict(_fields(_bytes(size))).get(1, 0)) for number, size in sizes if number == 2]
    if kind not in TYPES:
        raise ValueError(f"the constant {name} has numbers of type {kind}")
    dtype, place = np.dtype(TYPES[kind][0]), TYPES[kind][1]
    count = math.prod(shape)
    content = b"".join(map(_bytes, parts.get(CONTENT, [])))
    found = np.frombuffer(content, dtype) if content else _spelled(parts.get(place, []), dtype)
    if 0 < found.size < count <= FILLED and not content:  # the last stands for all that follow
        found = np.concatenate([found, np.full(count - found.size, found[-1])])
    if found.size != count:
        raise ValueError(f"the constant {name} of shape {shape} has {found.size} numbers")
    return found.reshape(shape)


def _spelled(values: list[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Numbers, one by one or many packed into one value."""
    if dtype.kind == "f":
        return np.frombuffer(b"".join(_bytes(value) for value in values), dtype)
    found: list[int] = []
    for value in values:
        place = 0
        while isinstance(value, bytes) and place < len(value):
            number, place = _varint(value, place)
            found.append(number)
        if isinstance(value, int):
            found.append(value)
    # Negative numbers are two's complements of 64 bits.
    return np.array(found, np.uint64).astype(np.int64).astype(dtype)


def _bytes(value: bytes | int) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where text or a message is expected")
    return value


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Read a number of seven bits a byte, the lowest first; also the place after it."""
    number = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            raise ValueError("it ends within a number")
        byte = data[place]
        place += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number & (2**64 - 1), place
    raise ValueError("a number of more than ten bytes")


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Numbers and values of the fields of a message."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        kind = key & 7
        if kind == 0:
            value, place = _varint(data, place)
            yield key >> 3, value
            continue
        if kind not in (1, 2, 5):
            raise ValueError(f"a field of kind {kind}")
        size, place = _varint(data, place) if kind == 2 else ({1: 8, 5: 4}[kind], place)
        if size > len(data) - place:
            raise ValueError(f"a field of {size} bytes, where {len(data) - place} are left")
        yield key >> 3, data[place : place + size]
        place += size
