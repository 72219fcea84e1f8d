"""Geminals against the sum over configurations that they stand for, and as start."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from huozi.arrays import jax, jnp
from huozi.wavefunction import AnsatzConfig, Molecule, Psiformer, build
from huozi.wavefunction.geminals import log_geminal, paired


@pytest.mark.parametrize(("up", "down", "terms"), [(1, 1, 3), (2, 2, 5), (3, 1, 2), (4, 3, 5)])
def test_all_excitations_of_pairs_are_in_it(up, down, terms):
    """Cauchy and Binet: the sum over all choices of `down` terms."""
    rng = np.random.default_rng(up + 10 * down)
    weights, of_up, of_down = (
        rng.normal(size=terms),
        *(rng.normal(size=size) for size in ((up, terms + up - down), (down, terms))),
    )
    unpaired = of_up[:, terms:]
    expected = sum(
        weights[list(chosen)].prod()
        * np.linalg.det(np.concatenate([of_up[:, chosen], unpaired], 1))
        * np.linalg.det(of_down[:, chosen])
        for chosen in itertools.combinations(range(terms), down)
    )
    sign, logarithm = log_geminal(of_up[None], of_down[None], jnp.asarray(weights))
    assert float(sign * jnp.exp(logarithm)) == pytest.approx(expected, rel=1e-10)


def test_electrons_of_one_spin_have_a_determinant():
    rows = np.random.default_rng(0).normal(size=(1, 3, 3))
    sign, logarithm = log_geminal(jnp.asarray(rows), None, jnp.zeros(0))
    assert float(sign * jnp.exp(logarithm)) == pytest.approx(np.linalg.det(rows[0]), rel=1e-12)


def test_pairs_are_in_the_lowest_orbitals():
    of_up, of_down = paired(up=3, down=2, orbitals=6, terms=4)
    assert of_up.tolist() == [[0, 1, 3, 4, 2]]
    assert of_down.tolist() == [[0, 1, 3, 4]]
    few = paired(up=1, down=1, orbitals=1, terms=3)
    assert few[0].tolist() == few[1].tolist() == [[0, 0, 0]]
    assert [each.shape for each in paired(up=2, down=0, orbitals=4, terms=0)] == [(1, 2), (1, 0)]


@pytest.mark.parametrize(
    ("text", "spin"), [("Li 0 0 0; H 0 0 3", 0), ("B 0 0 0", 1), ("N 0 0 0", 3)]
)
def test_the_start_is_that_of_determinants(text, spin):
    """Hartree-Fock's determinant, but for the networks' small factors."""
    pytest.importorskip("pyscf")
    molecule = Molecule.parse(text, spin=spin)
    x = jax.random.normal(jax.random.key(0), (5, molecule.electrons, 3))
    found = []
    for pairing in ("geminals", "determinants"):
        wave_function = Psiformer.for_molecule(molecule, pairing=pairing)
        params = wave_function.init(0, molecule)
        for of_spin in params["orbitals"].values():
            for name in of_spin:
                of_spin[name] = 0 * of_spin[name]
        log = jax.vmap(lambda r, w=wave_function, p=params: w.log_psi(p, molecule.nuclei, r))
        found.append(log(x))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-9)


def test_several_states_have_determinants():
    with pytest.raises(ValueError, match="which geminals have not"):
        AnsatzConfig(pairing="geminals", states=2)


def test_electrons_of_one_spin_have_determinants_by_default():
    for spin, pairing in ((0, "geminals"), (2, "determinants")):
        atom = Molecule.parse("He 0 0 0", spin=spin)
        assert Psiformer.for_molecule(atom).pairing == pairing
        assert build(atom, AnsatzConfig()).wave_function.pairing == pairing
        assert build(atom, AnsatzConfig(pairing="geminals")).wave_function.pairing == "geminals"
