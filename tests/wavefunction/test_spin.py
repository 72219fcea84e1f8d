"""The square of the spin: pure states have S (S + 1) at every configuration."""

from __future__ import annotations

import numpy as np
import pytest

from huozi.arrays import jax, jnp
from huozi.wavefunction import Molecule, PairProduct, Psiformer
from huozi.wavefunction.observables import spin_squared

pytest.importorskip("pyscf")


@pytest.mark.parametrize(
    ("nuclei", "kind", "spin", "exact"),
    [
        ("Li 0 0 0; H 0 0 3.015", PairProduct, 0, 0.0),
        ("Li 0 0 0", Psiformer, 1, 0.75),
        ("He 0 0 0", Psiformer, 2, 2.0),
    ],
)
def test_a_restricted_determinant_is_a_pure_spin_state(nuclei, kind, spin, exact):
    """Without the cusps of the electrons, 1/4 or 1/2 by spin, and without the network."""
    molecule = Molecule.parse(nuclei, spin=spin)
    wave_function = kind.for_molecule(molecule, width=4, determinants=2, precision="float64")
    params = wave_function.init(0, molecule)
    params["cusp"] = {name: jnp.array(-1e3) for name in params["cusp"]}  # no range
    for orbitals in params["orbitals"].values():
        orbitals |= {name: jnp.zeros_like(orbitals[name]) for name in ("factor", "term")}
    x = jax.random.normal(jax.random.key(0), (20, molecule.electrons, 3))
    found = spin_squared(wave_function, molecule.up, params, jnp.asarray(molecule.nuclei), x)
    np.testing.assert_allclose(found, exact, atol=1e-9)


def test_a_broken_symmetry_is_no_pure_state():
    """Orbitals u up and v down: <S^2> = 1 - <u|v>^2, here by sampling u^2 v^2."""

    class Unrestricted:
        @staticmethod
        def sign_and_log(params, nuclei, x):
            return jnp.ones(()), -jnp.square(x - params).sum() / 2

    apart = 1.0
    centres = jnp.array([[0.0, 0.0, 0.0], [apart, 0.0, 0.0]])
    x = centres + jax.random.normal(jax.random.key(0), (100_000, 2, 3)) / np.sqrt(2)
    found = np.asarray(spin_squared(Unrestricted, 1, centres, None, x))
    error = found.std() / np.sqrt(len(found))
    assert error < 0.01
    assert found.mean() == pytest.approx(1 - np.exp(-(apart**2) / 2), abs=4 * error)
