"""Find the shared library, hand it a model, call it from compiled JAX code.

The library is built from ``kernels/`` when the package is installed and a compiler is present.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import huozi.kernels
from huozi.arrays import jax, jnp

Array = NDArray[Any]

NAMES = ("libhuozi_kernel.so", "libhuozi_kernel.dylib")
MESSAGE_SIZE = 1000


@cache
def _library() -> ctypes.CDLL | None:
    """Load the library and register its functions with XLA; None when it was not built."""
    # An editable installation keeps what was built beside, not in, the source folder.
    candidates = [Path(folder) / name for folder in huozi.kernels.__path__ for name in NAMES]
    path = next((p for p in candidates if p.exists()), None)
    if path is None:
        return None
    library = ctypes.CDLL(str(path))
    library.huozi_model_parse.restype = ctypes.c_void_p
    library.huozi_model_parse.argtypes = [
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_char_p,
        ctypes.c_size_t,
    ]
    library.huozi_instruction_set.restype = ctypes.c_char_p
    library.huozi_machine_peak.restype = None
    library.huozi_neighbours.argtypes = [
        ctypes.c_int,
        *[ctypes.c_void_p] * 4,
        ctypes.c_double,
        ctypes.c_int,
        *[ctypes.c_void_p] * 4,
    ]
    for name, handler in (
        ("huozi_evaluate", library.HuoziEvaluate),
        ("huozi_attend", library.HuoziAttend),
    ):
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(handler), platform="cpu")
    return library


def is_available() -> bool:
    """Whether the kernel was built and JAX runs on the CPU."""
    return _library() is not None and jax.default_backend() == "cpu"


def instruction_set() -> str:
    """Name of the instructions that the kernel uses here: avx512, avx2 or portable."""
    library = _library()
    return "" if library is None else library.huozi_instruction_set().decode()


def machine_peak(threads: int) -> tuple[float, float]:
    """Measure what this machine reaches at best; takes about a second.

    Parameters
    ----------
    threads : int

    Returns
    -------
    flops, bytes : float
        Operations a second of a float32 product of matrices that stays in the cache; bytes read
        and written a second by a copy that does not.

    Raises
    ------
    ValueError
        If the kernel was not built.
    """
    library = _library()
    if library is None:
        raise ValueError("the compiled kernel was not built with this installation")
    flops, moved = ctypes.c_double(), ctypes.c_double()
    library.huozi_machine_peak(threads, ctypes.byref(flops), ctypes.byref(moved))
    return flops.value, moved.value


@cache
def load(content: bytes) -> int:
    """Hand over a model file's contents; return the handle for `evaluate`.

    The same contents give the same handle, which stays valid as long as the process lives.

    Raises
    ------
    ValueError
        If the kernel cannot run this model; it says why.
    """
    library = _library()
    if library is None:
        raise ValueError("the compiled kernel was not built with this installation")
    message = ctypes.create_string_buffer(MESSAGE_SIZE)
    handle = library.huozi_model_parse(content, len(content), message, MESSAGE_SIZE)
    if not handle:
        raise ValueError(message.value.decode())
    return int(handle)


def fill_table(
    positions: Array,
    cell: Array,
    pbc: Array,
    cutoff: float,
    index: Array,
    shift: Array,
    reverse: Array,
    mask: Array,
) -> int:
    """Fill the arrays of `huozi.neighbors.Neighbors` in place; a search by cell lists.

    Parameters
    ----------
    positions : (n, 3) float64
        Å.
    cell : (3, 3) float64
        Å, with a volume.
    pbc : (3,) bool
    cutoff : float
        Å.
    index, reverse : (n, m) int32; shift : (n, m, 3) int32; mask : (n, m) bool
        Contiguous, overwritten.

    Returns
    -------
    int
        Slots that the fullest row needs; if more than m, the arrays are not valid.
    """
    library = _library()
    if library is None:
        raise ValueError("the compiled kernel was not built with this installation")
    given = (
        np.ascontiguousarray(positions, np.float64),
        np.ascontiguousarray(cell, np.float64),
        np.linalg.inv(cell),
        np.ascontiguousarray(pbc, np.uint8),
    )
    n, width = index.shape
    return int(
        library.huozi_neighbours(
            n,
            *(a.ctypes.data for a in given),
            cutoff,
            width,
            *(a.ctypes.data for a in (index, shift, reverse, mask)),
        )
    )


def evaluate(
    handle: int, positions: Any, cell: Any, kinds: Any, index: Any, shift: Any
) -> tuple[Any, Any, Any]:
    """Energy, forces and virial; traceable by JAX, on the CPU only.

    Parameters
    ----------
    handle : int
        From `load`.
    positions : (n, 3) float64
        Å.
    cell : (3, 3) float64
        Å.
    kinds : (n,) int32
        Number of each atom's element in the model.
    index : (n, m) int32; shift : (n, m, 3) int32
        As in `huozi.neighbors.Neighbors`.

    Returns
    -------
    energy (), forces (n, 3), virial (3, 3) : float64
        eV, eV/Å, eV.
    """
    call = jax.ffi.ffi_call(
        "huozi_evaluate",
        (
            jax.ShapeDtypeStruct((), jnp.float64),
            jax.ShapeDtypeStruct(positions.shape, jnp.float64),
            jax.ShapeDtypeStruct((3, 3), jnp.float64),
        ),
    )
    energy, forces, virial = call(positions, cell, kinds, index, shift, model=handle)
    return energy, forces, virial


def attend(q: Any, k: Any, v: Any) -> Any:
    """Attention of electrons with derivatives; traceable by JAX, on the CPU only.

    Parameters
    ----------
    q, k, v : (2 + D, N, H, c) float32
        Queries, keys and values: the quantities, D derivatives of each, and their Laplacians
        (`huozi.wavefunction.jets`).

    Returns
    -------
    (2 + D, N, H, c) float32
        The same of sum_j softmax_j(q_i . k_j) v_j.
    """
    out = jax.ShapeDtypeStruct(q.shape, q.dtype)
    return jax.ffi.ffi_call("huozi_attend", out, vmap_method="broadcast_all")(q, k, v)
