"""Molecules, and wave functions whose parameters are off their start, so that all parts count."""

from __future__ import annotations

import pytest

from huozi.arrays import jax, jnp
from huozi.wavefunction import Molecule, Psiformer

MOLECULES = {
    "H2": "H 0 0 0; H 0 0 1.4",
    "LiH": "Li 0 0 0; H 0 0 3.015",
    "H4": "H 0 0 0; H 0 0 1.8; H 0 1.9 0; H 0 1.9 1.8",
    "He triplet": "He 0 0 0",
}
SMALL = {"width": 4, "layers": 1, "heads": 2, "determinants": 2, "pair_width": 4}


def shaken(name, precision="float64"):
    """Molecule, ansatz and parameters."""
    pytest.importorskip("pyscf")
    molecule = Molecule.parse(MOLECULES[name], spin=2 if "triplet" in name else None)
    wave_function = Psiformer.for_molecule(molecule, precision=precision, **SMALL)
    params = wave_function.init(0, molecule)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [p + 0.1 * jax.random.normal(k, p.shape) for p, k in zip(leaves, keys)]
    return molecule, wave_function, jax.tree.unflatten(tree, moved)


@pytest.fixture(scope="package", params=["LiH", "H4"])
def four_electrons(request):
    """Molecule, log|psi| of positions (N, 3) or their jets, and the sign."""
    molecule, wave_function, params = shaken(request.param)
    nuclei = jnp.asarray(molecule.nuclei)
    return (
        molecule,
        jax.jit(lambda x: wave_function.log_psi(params, nuclei, x)),
        jax.jit(lambda x: wave_function.sign_and_log(params, nuclei, x)[0]),
    )
