"""Random atoms, cells and lists: the kernel, by both its interfaces, against JAX in double."""

from __future__ import annotations

import ctypes
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from huozi import kernels
from huozi.kernels.library import _library
from huozi.neighbors import build_neighbors
from huozi.potential import Model, MomentConfig
from huozi.systems import System
from tests.kernels.conftest import random_system
from tests.potential.conftest import random_model

pytestmark = pytest.mark.skipif(
    not kernels.is_available(), reason="the compiled kernel was not built"
)

CONFIGS = (
    MomentConfig(),
    MomentConfig(cutoff=4.0, radial=6, channels=8, partners=4, hidden=(16, 16)),
    MomentConfig(cutoff=4.5, radial=7, degree=2, channels=9, partners=9, hidden=(21, 21, 5)),
    MomentConfig(cutoff=3.0, radial=12, degree=0, channels=3, partners=1, hidden=(4,)),
    MomentConfig(cutoff=5.0, radial=17, degree=1, channels=33, partners=2, hidden=(40, 40)),
)
SCALES = {"solid": 2.0, "liquid": 2.3, "gas": 8.0, "tiny cell": 1.3}
"""Edge of a cube for each atom, Å; in a tiny cell an atom sees tens of its own images."""


class Atoms(ctypes.Structure):
    """``huozi_atoms``."""

    _fields_ = (
        ("local", ctypes.c_int),
        ("total", ctypes.c_int),
        *((name, ctypes.c_void_p) for name in ("positions", "kinds", "counts", "neighbours")),
    )


class Output(ctypes.Structure):
    """``huozi_output``."""

    _fields_ = tuple(
        (name, ctypes.c_void_p)
        for name in ("energy", "energies", "forces", "virial", "atom_virials")
    )


def by_ghosts(model: Model, system: System, rng: np.random.Generator, threads: int) -> dict:
    """Energy, forces and virial as LAMMPS asks for them.

    Periodic images are ghosts; lists reach beyond the cutoff, are shuffled, carry the bits of
    special neighbours, and hold atoms that are not of the model.
    """
    reach = model.cutoff + 0.7
    table = build_neighbors(system.positions, system.cell, system.pbc, reach)
    n, number, images = len(system), {}, []
    strangers = rng.integers(0, 4)
    rows = []
    for i in range(n):
        row = []
        for slot in np.flatnonzero(table.mask[i]):
            key = (int(table.index[i, slot]), *(int(s) for s in table.shift[i, slot]))
            if any(key[1:]) and key not in number:
                number[key] = n + len(images)
                images.append(key)
            row.append(number.get(key, key[0]))
        rows.append(row)
    owner = np.array([*range(n), *(key[0] for key in images)], int)
    shifts = np.array([[0, 0, 0]] * n + [key[1:] for key in images], float).reshape(-1, 3)
    positions = system.positions[owner] + shifts @ system.cell
    kinds = np.array([model.elements.index(z) for z in system.species], np.int32)[owner]
    near = positions[rng.integers(0, n, strangers)] + rng.normal(size=(strangers, 3))
    total = len(positions) + int(strangers)
    positions = np.ascontiguousarray(np.vstack([positions, near]))
    kinds = np.concatenate([kinds, np.full(strangers, -1)]).astype(np.int32)
    lists = []
    for row in rows:
        full = rng.permutation([*row, *range(total - strangers, total)])
        bits = rng.integers(0, 4, len(full)) << 30
        lists.append((full.astype(np.uint32) | bits.astype(np.uint32)).astype(np.uint32))
    counts = np.array([len(row) for row in lists], np.int32)
    pointers = (ctypes.c_void_p * n)(*(row.ctypes.data for row in lists))
    found = {
        "energy": np.zeros(1),
        "energies": np.zeros(n),
        "forces": np.zeros((total, 3)),
        "virial": np.zeros(6),
        "atom_virials": np.zeros((total, 6)),
    }
    atoms = Atoms(
        n,
        total,
        positions.ctypes.data,
        kinds.ctypes.data,
        counts.ctypes.data,
        ctypes.addressof(pointers),
    )
    output = Output(*(array.ctypes.data for array in found.values()))
    message = ctypes.create_string_buffer(200)
    compute = _library().huozi_compute
    compute.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t]
    handle = kernels.load(model.astype("float32").to_bytes())
    failed = compute(
        handle, ctypes.addressof(atoms), ctypes.addressof(output), threads, message, 200
    )
    assert not failed, message.value
    assert not found["forces"][len(owner) :].any()
    forces = np.zeros((n, 3))
    np.add.at(forces, owner, found["forces"][: len(owner)])
    return found | {"forces": forces}


def close(ours: np.ndarray, right: np.ndarray, scale: float) -> None:
    """To 1e-5 of `scale`, as single precision allows: the largest component, or term of a sum."""
    np.testing.assert_allclose(ours, right, 0, 1e-5 * scale + 1e-6)


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    config=st.sampled_from(CONFIGS),
    elements=st.sampled_from([(42,), (1, 8), (3, 14, 32)]),
    atoms=st.sampled_from([1, 2, 7, 36]),
    scale=st.sampled_from(sorted(SCALES)),
    threads=st.integers(1, 3),
)
def test_equals_jax(
    seed: int,
    config: MomentConfig,
    elements: tuple[int, ...],
    atoms: int,
    scale: str,
    threads: int,
) -> None:
    rng, model = np.random.default_rng(seed), random_model(elements, config)
    # Many atoms a cube of 1.3 Å would be closer than 0.7 Å.
    atoms = min(atoms, 2) if scale == "tiny cell" else atoms
    system = random_system(rng, elements, atoms, SCALES[scale])
    right = model.evaluate(system)
    table = replace(model.astype("float32"), engine="kernel").evaluate(system)
    ghosts = by_ghosts(model, system, rng, threads)
    virial = np.asarray(right.virial)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    # Large shares of atoms and images cancel in the virial, with their rounding left over.
    stress = np.abs(ghosts["atom_virials"]).sum(axis=0).max()
    # They cancel in a force, too: the pair forces add up to the stress over the cutoff at least.
    force = max(np.abs(right.forces).max(), stress / config.cutoff)
    close(table.energy, right.energy, abs(float(right.energy)))
    close(table.forces, right.forces, force)
    close(table.virial, right.virial, stress)
    close(ghosts["energy"][0], right.energy, abs(float(right.energy)))
    close(ghosts["forces"], right.forces, force)
    close(ghosts["virial"], virial, stress)
    close(ghosts["energies"].sum(), ghosts["energy"][0], 1e-4 * abs(float(right.energy)))
    close(ghosts["atom_virials"].sum(axis=0), virial, stress)
