"""A trained potential: evaluate it, save it, load it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from ase.data import chemical_symbols
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from huozi import __version__, kernels
from huozi.arrays import jax, jnp
from huozi.files import atomic_path, model_digest
from huozi.neighbors import (
    Evaluation,
    Neighbors,
    build_neighbors,
    displacements,
    forces_from_pairs,
    virial_from_pairs,
)
from huozi.potential.architectures import (
    Architecture,
    Params,
    kernel_part,
    kernel_refusal,
    pair_gradient,
    read_architecture,
)
from huozi.potential.batch import element_rows
from huozi.systems import System

FORMAT = "huozi-potential-2"
KERNEL = "kernel."  # tensors that follow from the others, for the compiled kernel
MEMBER = "members."  # tensors of the further models of an ensemble: members.1.readout
BLOCK = 128
Engine = Literal["auto", "kernel", "xla"]


@dataclass(frozen=True)
class Model:
    """A deep potential of any architecture.

    Parameters
    ----------
    config : MomentConfig or DeepPotConfig
        Its type says which architecture the parameters belong to.
    elements : tuple of int
        Atomic numbers, in the order of the parameters.
    e0 : tuple of float
        Energy of an isolated atom of each element, eV.
    params : dict
        Folded parameters, float32 or float64.
    metadata : dict
        Where the model comes from: data digests, settings, held-out metrics, versions.
    engine : {"auto", "kernel", "xla"}
        What evaluates it: the compiled kernel, which computes in float32 on the CPU, or JAX's
        own compiler; auto takes the kernel where it can run the model.
    """

    config: Architecture
    elements: tuple[int, ...]
    e0: tuple[float, ...]
    params: Params
    metadata: dict[str, Any] = field(default_factory=dict)
    engine: Engine = "auto"

    @property
    def cutoff(self) -> float:
        """Range of the interaction, Å."""
        return self.config.cutoff

    @property
    def symbols(self) -> tuple[str, ...]:
        """Chemical symbols of the elements the model knows."""
        return tuple(chemical_symbols[z] for z in self.elements)

    def astype(self, dtype: str) -> Model:
        """Return the same model computing in ``float32`` or ``float64``."""
        return replace(self, params=jax.tree.map(lambda x: jnp.asarray(x, dtype), self.params))

    def uses_kernel(self) -> bool:
        """Whether the compiled kernel evaluates this model.

        Raises
        ------
        ValueError
            If it was asked for and cannot.
        """
        refusal = kernel_refusal(self.config, self.params)
        if refusal is not None:
            if self.engine == "kernel":
                raise ValueError(refusal)
            return False
        single = self.params["readout"].dtype == jnp.float32
        if self.engine == "kernel":
            if not kernels.is_available():
                raise ValueError("the compiled kernel was not built; reinstall with a C++ compiler")
            if not single:
                raise ValueError("the compiled kernel computes in float32, this model in float64")
        return self.engine != "xla" and single and kernels.is_available()

    @cached_property
    def _in_kernel(self) -> _KernelEvaluate:
        """The model in the kernel, handed over once: writing it out takes longer than a step."""
        header, tensors = self.file_parts()
        del header["version"], header["metadata"]  # of the same force field after an upgrade
        return _KernelEvaluate(kernels.load(self.to_bytes()), model_digest(header, tensors))

    def bind(self, species: Any) -> Any:
        """Return the evaluation for these atoms; see `huozi.neighbors.ForceField`."""
        species = np.asarray(species)
        rows = element_rows(species, self.elements, "structure")
        if self.uses_kernel():
            return jax.tree_util.Partial(self._in_kernel, jnp.asarray(rows, jnp.int32))
        order = np.argsort(rows, kind="stable").astype(np.int32)
        segments = tuple(int(c) for c in np.bincount(rows, minlength=len(self.elements)))
        reference = float(np.asarray(self.e0)[rows].sum())
        return jax.tree_util.Partial(
            _Evaluate(self.config, segments),
            self.params,
            jnp.asarray(rows, jnp.int8),
            jnp.asarray(order),
            jnp.asarray(np.argsort(order)),
            reference,
        )

    def evaluate(self, system: System) -> Evaluation:
        """Energy, forces and virial of one configuration, as NumPy arrays.

        For many evaluations of one system use `bind` or the ASE calculator.
        """
        table = build_neighbors(system.positions, system.cell, system.pbc, self.cutoff)
        result = _evaluate_jit(self.bind(system.species), system.positions, system.cell, table)
        return Evaluation(*(np.asarray(x) for x in result))

    def to_bytes(self) -> bytes:
        """Contents of the model file: safetensors with a JSON header."""
        return file_contents((self,))

    def file_parts(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Header and tensors of the model file, without the digest."""
        tensors = {name: np.asarray(x) for name, x in _flatten(self.params).items()}
        header = {
            "format": FORMAT,
            "version": __version__,
            "architecture": self.config.model_dump(mode="json"),
            "elements": self.symbols,
            "e0_eV": self.e0,
            "units": {"energy": "eV", "length": "Å"},
            "metadata": self.metadata,
        }
        for_kernel = kernel_part(self.config, self.params)
        if for_kernel is not None:
            header["kernel"] = for_kernel[0]
            tensors |= {KERNEL + name: x for name, x in for_kernel[1].items()}
        return header, tensors

    def save(self, path: str | Path) -> None:
        """Write the model file; whole or not at all."""
        with atomic_path(path) as temporary:
            temporary.write_bytes(self.to_bytes())


@jax.jit
def _evaluate_jit(bound: Any, positions: Any, cell: Any, table: Neighbors) -> Evaluation:
    result: Evaluation = bound(positions, cell, table)
    return result


def load_model(path: str | Path) -> Model:
    """Read a model file; of an ensemble, the first model, which is the one that moves atoms.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is no Huozi model, is truncated, or its contents do not match its digest.
    """
    return load_members(path)[0]


def file_contents(members: Sequence[Model]) -> bytes:
    """Contents of a model file with these models.

    The first is written as if it were alone; the headers of the others are the list `members` in
    its header, their tensors have names with a prefix.
    """
    header, tensors = members[0].file_parts()
    others = [member.file_parts() for member in members[1:]]
    if others:
        header["members"] = [of_other for of_other, _ in others]
    for i, (_, found) in enumerate(others, 1):
        tensors |= {f"{MEMBER}{i}.{name}": x for name, x in found.items()}
    header["sha256"] = model_digest(header, tensors)
    return save(tensors, metadata={"huozi": json.dumps(header)})


def load_members(path: str | Path) -> list[Model]:
    """Read all models of a file; errors as those of `load_model`."""
    path = Path(path)
    if path.is_dir() and (path / "model.safetensors").exists():
        path = path / "model.safetensors"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such model file")
    _refuse_foreign(path)
    try:
        with safe_open(path, framework="numpy") as stream:
            metadata = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path}: not a whole safetensors file ({error}); copy the model again"
        ) from None
    if "huozi" not in metadata:
        raise ValueError(f"{path}: a safetensors file, but not a Huozi model (no header)")
    header = json.loads(metadata["huozi"])
    if header.get("format") != FORMAT:
        raise ValueError(
            f"{path}: format {header.get('format')!r}; this version of Huozi reads {FORMAT!r}"
        )
    if header.pop("sha256", None) != model_digest(header, tensors):
        raise ValueError(f"{path}: contents do not match the digest in the header; copy it again")
    others = [
        (member, _below(f"{MEMBER}{i}.", tensors))
        for i, member in enumerate(header.get("members", []), 1)
    ]
    own = {n: x for n, x in tensors.items() if not n.startswith(MEMBER)}
    return [_read_member(*parts) for parts in [(header, own), *others]]


def _below(prefix: str, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Tensors whose names have a prefix, without it."""
    return {n.removeprefix(prefix): x for n, x in tensors.items() if n.startswith(prefix)}


def _read_member(header: dict[str, Any], tensors: dict[str, np.ndarray]) -> Model:
    return Model(
        config=read_architecture(header["architecture"]),
        elements=tuple(chemical_symbols.index(s) for s in header["elements"]),
        e0=tuple(header["e0_eV"]),
        params=_unflatten({n: x for n, x in tensors.items() if not n.startswith(KERNEL)}),
        metadata=header["metadata"],
    )


def _refuse_foreign(path: Path) -> None:
    """Name the usual wrong files instead of a parser's complaint."""
    with path.open("rb") as stream:
        head = stream.read(16)
    # A safetensors file has the length of its header in 8 bytes, then the header's brace.
    if head[8:9] != b"{" and (head[:1] == b"\x80" or head[:4] == b"PK\x03\x04"):
        raise ValueError(
            f"{path}: a pickle or PyTorch archive, which can run code when it is opened; "
            "Huozi reads only its own safetensors models"
        )


def _flatten(node: Any, prefix: str = "") -> dict[str, Any]:
    """Arrays of nested dictionaries and lists by dotted names: ``layers.0.weight``."""
    if not isinstance(node, dict | list):
        return {prefix: node}
    items = node.items() if isinstance(node, dict) else enumerate(node)
    flat: dict[str, Any] = {}
    for name, value in items:
        flat |= _flatten(value, f"{prefix}.{name}" if prefix else str(name))
    return flat


def _unflatten(tensors: dict[str, np.ndarray]) -> Params:
    """Reverse of `_flatten`; numbers as names make a list."""
    tree: dict[str, Any] = {}
    for name, value in tensors.items():
        *path, last = name.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[last] = jnp.asarray(value)
    return cast(Params, _number_lists(tree))


def _number_lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    values = {name: _number_lists(value) for name, value in node.items()}
    if values and all(name.isdigit() for name in values):
        return [values[name] for name in sorted(values, key=int)]
    return values


@dataclass(frozen=True)
class _KernelEvaluate:
    """The function behind `Model.bind` where the compiled kernel runs the model.

    The digest tells models apart, as their parameters do without the kernel.
    """

    handle: int
    digest: str

    def __call__(self, kinds: Any, positions: Any, cell: Any, table: Neighbors) -> Evaluation:
        """Float32 up to the pairs and atoms, float64 sums."""
        positions, cell = jnp.asarray(positions, "float64"), jnp.asarray(cell, "float64")
        found = kernels.evaluate(self.handle, positions, cell, kinds, table.index, table.shift)
        return Evaluation(*found)


@dataclass(frozen=True)
class _Evaluate:
    """The function behind `Model.bind`; equal for equal shapes, so that JAX compiles it once."""

    config: Architecture
    segments: tuple[int, ...]

    def __call__(
        self,
        params: Params,
        rows: Any,
        order: Any,
        inverse: Any,
        reference: Any,
        positions: Any,
        cell: Any,
        table: Neighbors,
    ) -> Evaluation:
        """Network and moments in the parameters' precision, sums in that of the positions."""
        energies, gradients, virials, start = [], [], [], 0
        for element, count in enumerate(self.segments):
            if count:
                own = order[start : start + count]
                block = partial(self._block, params, rows, positions, cell, table, element)
                e, g, v = _map_blocks(block, own, len(positions))
                energies.append(e.astype(positions.dtype))
                gradients.append(g)
                virials.append(v)
                start += count
        gradient = jnp.concatenate(gradients)[inverse]
        return Evaluation(
            jnp.sum(jnp.concatenate(energies)) + reference,
            forces_from_pairs(gradient, table).astype(positions.dtype),
            sum(virials),
        )

    def _block(
        self,
        params: Params,
        rows: Any,
        positions: Any,
        cell: Any,
        table: Neighbors,
        element: int,
        own: Any,
    ) -> tuple[Any, Any, Any]:
        """Energies, pair gradients and virial of a few atoms of one element.

        Atom numbers beyond the last stand for padding: their slots are empty.
        """
        part = Neighbors(
            table.index[own], table.shift[own], None, table.mask[own] & (own < len(rows))[:, None]
        )
        vectors = displacements(positions, cell, part, positions[own])
        vectors = vectors.astype(params["readout"].dtype)
        species = jnp.where(part.mask, rows[part.index], -1)
        elements = len(self.segments)
        energies, gradient = pair_gradient(params, self.config, element, vectors, species, elements)
        virial = virial_from_pairs(gradient, vectors).astype(positions.dtype)
        return energies, gradient, virial


def _map_blocks(block: Any, own: Any, atoms: int) -> tuple[Any, Any, Any]:
    """Apply `block` to atom numbers in portions that stay within the caches."""
    count = len(own)
    size = min(BLOCK, -(-count // 8) * 8)
    blocks = -(-count // size)
    padded = jnp.pad(own, (0, blocks * size - count), constant_values=atoms)
    energies, gradients, virials = jax.lax.map(block, padded.reshape(blocks, size))
    return (
        energies.reshape(-1)[:count],
        gradients.reshape(-1, *gradients.shape[2:])[:count],
        jnp.sum(virials, axis=0),
    )
