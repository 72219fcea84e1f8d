"""Core potentials: integrals of Gaussians by PySCF, an exact energy, and runs that go on."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from huozi.arrays import jax, jnp
from huozi.cli.wavefunction import app
from huozi.wavefunction import (
    VMC,
    AnsatzConfig,
    Molecule,
    Psiformer,
    TrainConfig,
    build,
    load_run,
)
from huozi.wavefunction.core_potential import core_energy, core_potential
from huozi.wavefunction.optimize import Problem

pytest.importorskip("pyscf")

SMALL = {"width": 4, "layers": 1, "heads": 2, "determinants": 1, "pair_width": 4}
NUCLEI = np.array([[0.0, 0.0, 0.0], [0.0, 0.7, 1.1]])


def _element(symbol, shell, exponent, centre):
    """Diagonal elements of the core potential in a shell of Gaussians at `centre`: ours, PySCF's.

    One electron at the points of a grid, its wave function the Gaussian.
    """
    from pyscf import dft, gto

    mol = gto.M(
        atom=[(symbol, NUCLEI[0]), ("ghost-H", centre)],
        unit="bohr",
        basis={symbol: [[0, [1.0, 1.0]]], "ghost-H": [[shell, [exponent, 1.0]]]},
        ecp={symbol: "ccecp"},
        spin=None,
        verbose=0,
    )
    grids = dft.gen_grid.Grids(gto.M(atom=[("He", NUCLEI[0])], unit="bohr", verbose=0))
    grids.level = 3
    grids.build()
    potential = core_potential(symbol, "ccecp")
    values = mol.eval_gto("GTOval", grids.coords)[:, 1:]

    def function(x, column):
        """The Gaussian's sign and logarithm; up to its norm, which a ratio does not feel."""
        x = x[0] - centre
        angular = {0: [1.0], 1: [x[0], x[1], x[2]], 2: [x[0] * x[1], x[1] * x[2]]}[shell][column]
        value = angular * jnp.exp(-exponent * x @ x)
        return jnp.sign(value), jnp.log(jnp.abs(value))

    energies = jax.jit(
        lambda x, column: jax.vmap(
            lambda r: core_energy([potential], NUCLEI[:1], r[None], lambda y: function(y, column))
        )(x),
        static_argnums=1,
    )
    column = min(shell, 1)
    local = np.asarray(energies(jnp.asarray(grids.coords), column))
    ours = (
        grids.weights * values[:, column] ** 2 * np.where(values[:, column] == 0, 0, local)
    ).sum()
    return ours, mol.intor("ECPscalar")[1 + column, 1 + column]


@pytest.mark.parametrize(
    ("symbol", "shell"), [("Li", 0), ("C", 1), ("Si", 0), ("Fe", 1), ("Fe", 2)]
)
def test_integrals_equal_pyscfs(symbol, shell):
    """On the nucleus twelve corners are exact."""
    ours, right = _element(symbol, shell, 0.9, NUCLEI[0])
    assert ours == pytest.approx(right, rel=1e-5)


@pytest.mark.parametrize("symbol", ["Li", "Si"])
def test_integrals_of_a_gaussian_elsewhere(symbol):
    """There only the average over random turns is."""
    ours, right = _element(symbol, 0, 0.6, NUCLEI[1])
    assert ours == pytest.approx(right, rel=2e-3)


def test_start_lies_just_above_the_exact_energy():
    """Mean local energy of one electron, Be+, on a grid: at most 2 % above the exact energy."""
    from pyscf import dft, gto, scf

    gaussians = {"Be": gto.etbs([(0, 24, 0.02, 1.8)])}
    options = {"basis": gaussians, "charge": 1, "spin": 1, "unit": "bohr", "verbose": 0}
    exact = scf.UHF(gto.M(atom="Be 0 0 0", ecp="ccecp", **options)).kernel()

    ion = Molecule.parse("Be 0 0 0", charge=1, ecp="ccecp")
    assert (ion.charges, ion.numbers, ion.electrons, ion.name) == ((2,), (4,), 1, "Be")
    wave_function = Psiformer.for_molecule(ion, **SMALL)
    params = wave_function.init(0, ion)
    grids = dft.gen_grid.Grids(gto.M(atom="Be 0 0 0", **options))
    grids.atom_grid = (120, 6)
    grids.build()
    x = jnp.asarray(grids.coords[:, None])
    energies = Problem(ion, wave_function).energies(params, x)
    logs = jax.vmap(lambda r: wave_function.log_psi(params, ion.nuclei, r))(x)
    density = grids.weights * np.exp(2 * np.asarray(logs))
    mean = density @ np.asarray(energies) / density.sum()
    assert exact - 1e-5 < mean < 0.98 * exact


def test_runs_keep_the_potential(tmp_path):
    """A run of an atom with a core and one without; its folder alone says what was computed."""
    hydride = Molecule.parse("Li 0 0 0; H 0 0 3.015", ecp="ccecp")
    assert (hydride.charges, hydride.bare, hydride.name) == ((1, 1), (False, True), "LiH")
    config = TrainConfig(ansatz=AnsatzConfig(**SMALL), steps=2, walkers=32, moves=2)
    build(hydride, config.ansatz).train(tmp_path, config=config)
    trained = load_run(tmp_path)
    assert trained.problems[0].molecule == hydride
    found = trained.evaluate(steps=4, seed=1)
    assert found.forces_Ha_per_bohr == []
    assert -0.9 < found.energy_Ha < -0.6  # -0.79; all electrons have -8.07
    result = CliRunner().invoke(app, ["evaluate", str(tmp_path), "--forces"])
    assert isinstance(result.exception, ValueError)
    assert "core potentials" in str(result.exception)


def test_geometries_share_the_potential():
    apart = [Molecule.parse("Li 0 0 0; H 0 0 3", ecp=ecp) for ecp in (None, "ccecp")]
    with pytest.raises(ValueError, match="same nuclei"):
        VMC(apart, Psiformer.for_molecule(apart[0])).problems()


@pytest.mark.parametrize(
    ("text", "ecp", "message"),
    [("Li 0 0 0", "lanl", "choose ccecp"), ("Hg 0 0 0", "ccecp", "no potential for Hg")],
)
def test_what_is_no_core_potential(text, ecp, message):
    with pytest.raises(ValueError, match=message):
        Molecule.parse(text, ecp=ecp)


def test_elements_without_a_core_are_left_alone():
    assert Molecule.parse("H 0 0 0; H 0 0 1.4", ecp="ccecp") == Molecule.parse("H 0 0 0; H 0 0 1.4")
