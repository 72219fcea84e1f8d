"""Molecules, and wave functions whose parameters are off their start, so that all parts count."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from huozi.arrays import jax, jnp
from huozi.wavefunction import FermiNet, LapNet, Molecule, PairProduct, Psiformer

MOLECULES = {
    "H2": "H 0 0 0; H 0 0 1.4",
    "LiH": "Li 0 0 0; H 0 0 3.015",
    "H4": "H 0 0 0; H 0 0 1.8; H 0 1.9 0; H 0 1.9 1.8",
    "He triplet": "He 0 0 0",
    "Be triplet": "Be 0 0 0",
}
SMALL = {"width": 4, "determinants": 2, "pair_width": 4}
SIZES = {
    Psiformer: {"layers": 1, "heads": 2},
    FermiNet: {"layers": 2},
    LapNet: {"layers": 2, "heads": 2},
    PairProduct: {"layers": 1},
}


@functools.cache
def shaken(name, precision="float64", kind=Psiformer, pairing="geminals"):
    """Molecule, ansatz and parameters."""
    pytest.importorskip("pyscf")
    molecule = Molecule.parse(MOLECULES[name], spin=2 if "triplet" in name else None)
    sizes = SMALL | SIZES[kind] | {"precision": precision, "pairing": pairing}
    wave_function = kind.for_molecule(molecule, **sizes)
    params = wave_function.init(0, molecule)
    rng = np.random.default_rng(1)
    moved = jax.tree.map(lambda p: jnp.asarray(p + 0.1 * rng.normal(size=p.shape)), params)
    return molecule, wave_function, moved


@pytest.fixture(
    scope="package",
    params=[
        ("LiH", Psiformer, "geminals"),
        ("H4", FermiNet, "geminals"),
        ("H4", LapNet, "determinants"),
        ("LiH", PairProduct, "determinants"),
    ],
    ids=lambda each: f"{each[0]}-{each[1].__name__}-{each[2]}",
)
def four_electrons(request):
    """Molecule, log|psi| of positions (N, 3) or their jets, and the sign; compiled together."""
    molecule, wave_function, params = shaken(request.param[0], "float64", *request.param[1:])
    nuclei = jnp.asarray(molecule.nuclei)
    both = jax.jit(lambda x: wave_function.sign_and_log(params, nuclei, x))
    return molecule, lambda x: both(x)[1], lambda x: both(x)[0]
