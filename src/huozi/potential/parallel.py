"""Data parallelism: devices, of one process or of many, that share each batch of a training.

Every device has the gradient of its own part of the batch; the sum over devices is what a single
device would find for all of it. The number of labels by which the loss is divided is summed too.
"""

from __future__ import annotations

import os
import re
from typing import Any

import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from huozi.arrays import AXIS, jax

WHOLE, SPLIT = PartitionSpec(), PartitionSpec(AXIS)


def join_processes(place: str) -> None:
    """Join the processes of a training; to be called before anything else of JAX.

    Parameters
    ----------
    place : str
        ``auto`` under Slurm and Open MPI, else ``HOST:PORT,INDEX/COUNT``: where process 0 listens,
        the number of this process from 0, and how many there are.

    Raises
    ------
    ValueError
        If `place` is neither.
    """
    found = re.fullmatch(r"([^,]+:\d+),(\d+)/(\d+)", place)
    if place == "auto":
        jax.distributed.initialize()
    elif found is not None and int(found[2]) < int(found[3]):
        jax.distributed.initialize(found[1], int(found[3]), int(found[2]))
    else:
        raise ValueError(
            f"{place!r} is no place among processes; give auto (Slurm, Open MPI) or "
            "HOST:PORT,INDEX/COUNT with INDEX from 0, such as node1:12345,0/2"
        )
    _connect()


def _connect() -> None:
    """Meet for the first time; the library greets on the standard output, not meant for that."""
    out = os.dup(1)
    os.dup2(2, 1)
    try:
        wait_for_all("start")
    finally:
        os.dup2(out, 1)
        os.close(out)


def is_first() -> bool:
    """Whether this process is the one that writes and reports."""
    return jax.process_index() == 0


def wait_for_all(reason: str) -> None:
    """Return when all processes are here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(reason)


def agreed(value: float) -> float:
    """Return the value that the first process has."""
    if jax.process_count() == 1:
        return value
    return float(multihost_utils.broadcast_one_to_all(np.float64(value)))


def replicate(tree: Any, mesh: Mesh | None) -> Any:
    """Put the same arrays on all devices."""
    return tree if mesh is None else jax.device_put(tree, NamedSharding(mesh, WHOLE))


def gather(tree: Any, mesh: Mesh | None) -> Any:
    """Return replicated arrays as ordinary ones of this process."""
    return tree if mesh is None else jax.tree.map(np.asarray, tree)


def own_parts(mesh: Mesh | None) -> list[int]:
    """Numbers of the parts of a batch that devices of this process take."""
    if mesh is None:
        return [0]
    mine = jax.process_index()
    return [i for i, device in enumerate(mesh.devices.flat) if device.process_index == mine]


def distribute(parts: list[Any], mesh: Mesh | None) -> Any:
    """Put the parts of a batch that this process takes on its devices, stacked."""
    if mesh is None:
        return parts[0]
    sharding = NamedSharding(mesh, SPLIT)

    def put(*values: Any) -> Any:
        return jax.make_array_from_process_local_data(sharding, np.stack(values))

    return jax.tree.map(put, *parts)


def summed_over_devices(function: Any, mesh: Mesh | None) -> Any:
    """Let each device compute ``function(whole, part of the batch, whole)``, and add up."""
    if mesh is None:
        return function

    def local(whole: Any, stacked: Any, settings: Any) -> Any:
        part = jax.tree.map(lambda x: x[0], stacked)
        return jax.lax.psum(function(whole, part, settings), AXIS)

    return jax.shard_map(
        local, mesh=mesh, in_specs=(WHOLE, SPLIT, WHOLE), out_specs=WHOLE, check_vma=False
    )
