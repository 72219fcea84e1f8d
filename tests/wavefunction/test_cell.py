"""Periodic cells: Ewald sums, distances, plane waves, electron gases, a chain of hydrogen."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from scipy.sparse.linalg import eigsh

from huozi.arrays import jax, jnp
from huozi.report import value_with_error
from huozi.wavefunction import (
    VMC,
    AnsatzConfig,
    FermiNet,
    LapNet,
    Molecule,
    PairProduct,
    Problem,
    Psiformer,
    TrainConfig,
    build,
    diffuse,
    evaluate,
    hartree_fock,
    jets,
    load_run,
    reference_energies,
)
from huozi.wavefunction import determinants as slater
from huozi.wavefunction.cell import Cell
from huozi.wavefunction.hamiltonian import potential_energy
from huozi.wavefunction.sampler import WIDEST, adapt, initial_walkers
from tests.cli.test_main import run as command
from tests.wavefunction.conftest import SIZES, SMALL

FCC = ((0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 0.0))
SKEWED = Cell(((5.0, 0.0, 0.0), (1.5, 4.0, 0.0), (-1.0, 0.7, 6.0)))
CUBE = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def test_madelung_constants():
    """Of salts, over the distance of neighbours, and of single charges (a Wigner lattice)."""
    pair = np.array([1.0, -1.0])
    for vectors, place, distance, madelung in (
        (FCC, (1.0, 0.0, 0.0), 1.0, 1.747564594633),  # NaCl
        (CUBE, (0.5, 0.5, 0.5), np.sqrt(0.75), 1.762674773070),  # CsCl
        (FCC, (0.5, 0.5, 0.5), np.sqrt(0.75), 1.638055053389),  # ZnS
    ):
        energy = Cell(vectors).energy(pair, np.array([(0.0, 0.0, 0.0), place]))
        assert energy == pytest.approx(-madelung / distance, abs=1e-9)
    alone = Cell(CUBE).energy(np.ones(1), np.zeros((1, 3)))
    assert alone == pytest.approx(-2.837297479480620 / 2, abs=1e-9)


def test_the_energy_does_not_depend_on_how_the_cell_is_cut():
    rng = np.random.default_rng(0)
    charges, places = np.array([3.0, -1.0, -1.0, 0.5]), rng.normal(size=(4, 3)) * 3
    energy = float(SKEWED.energy(charges, places))
    a, b, c = SKEWED.matrix
    others = places + rng.integers(-2, 3, (4, 3)) @ SKEWED.matrix
    assert SKEWED.energy(charges, others) == pytest.approx(energy, abs=1e-9)
    same = Cell((tuple(a + b), tuple(b), tuple(c - 2 * a)))
    assert same.energy(charges, places) == pytest.approx(energy, abs=1e-9)
    double = Cell((tuple(2 * a), tuple(b), tuple(c)))
    twice = double.energy(np.tile(charges, 2), np.concatenate([places, places + a]))
    assert twice == pytest.approx(2 * energy, abs=1e-9)


def test_a_small_molecule_in_a_large_cell():
    """Neutral charges with dipole moment D differ by -2 pi D^2 / 3 V from those alone."""
    rng = np.random.default_rng(1)
    charges, places = np.array([2.0, 1.0, -1.0, -1.0, -1.0]), rng.normal(size=(5, 3))
    cell = Cell(tuple(tuple(row) for row in (60 * np.eye(3)).tolist()))
    i, j = np.triu_indices(5, 1)
    alone = (charges[i] * charges[j] / np.linalg.norm(places[i] - places[j], axis=1)).sum()
    dipole = charges @ places
    expected = alone - 2 * np.pi / 3 * (dipole @ dipole) / cell.volume
    assert cell.energy(charges, places) == pytest.approx(expected, abs=1e-6)


def test_distances_repeat_and_vanish_only_at_images():
    rng = np.random.default_rng(2)
    d = rng.normal(size=(1000, 3)) * 4
    v, r2 = SKEWED.smooth(jnp.asarray(d))
    moved = SKEWED.smooth(jnp.asarray(d + rng.integers(-3, 4, (1000, 3)) @ SKEWED.matrix))
    np.testing.assert_allclose(moved[0], v, atol=1e-12)
    np.testing.assert_allclose(moved[1], r2, atol=1e-12)
    nearest = np.linalg.norm(SKEWED.nearest(jnp.asarray(d)), axis=1)
    assert (r2 > (0.3 * nearest) ** 2).all()
    near = 1e-4 * rng.normal(size=(100, 3))
    v, r2 = SKEWED.smooth(jnp.asarray(near))
    np.testing.assert_allclose(v, near, atol=1e-8)
    np.testing.assert_allclose(jnp.sqrt(r2), np.linalg.norm(near, axis=1), atol=1e-8)
    inside = SKEWED.wrapped(jnp.asarray(d)) @ np.linalg.inv(SKEWED.matrix)
    assert (inside > -1e-12).all()
    assert (inside < 1 + 1e-12).all()


@pytest.mark.parametrize(
    ("twist", "least", "count"),
    [
        ((0.0, 0.0, 0.0), 1, 1),
        ((0.0, 0.0, 0.0), 2, 7),
        ((0.0, 0.0, 0.0), 8, 19),
        ((0.5, 0.5, 0.5), 1, 8),
        ((0.0, 0.0, 0.5), 1, 2),
    ],
)
def test_shells_of_plane_waves(twist, least, count):
    """Closed shells, orthogonal on a grid, which turn their sign as the twist says."""
    cell = Cell(CUBE, twist)
    vectors, phases = cell.plane_waves(least)
    assert len(vectors) == count
    squares = np.square(vectors).sum(1)
    assert (np.diff(squares) > -1e-9).all()
    axis = np.arange(8) / 8
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    waves = np.cos(points @ vectors.T - phases)
    norms = np.where(squares > 0, 0.5, 1)
    np.testing.assert_allclose(waves.T @ waves / 512, np.diag(norms), atol=1e-12)
    for a in range(3):
        beyond = np.cos((points + np.eye(3)[a]) @ vectors.T - phases)
        np.testing.assert_allclose(beyond, waves * (-1 if twist[a] else 1), atol=1e-12)


class Determinants:
    """Plane waves of a gas without anything else: Hartree-Fock."""

    of_geometry = ()
    precision = "float64"

    def __init__(self, gas):
        self.gas = gas

    def log_psi(self, params, nuclei, x):
        """Logarithm of |psi|."""
        return self.sign_and_log(params, nuclei, x)[1]

    def sign_and_log(self, params, nuclei, x):
        """Sign and logarithm of |psi|."""
        up, down = self.gas.up, self.gas.down
        vectors, phases = self.gas.cell.plane_waves(up)
        angles = jets.shift(jets.linear(lambda v: v @ vectors.T, x), -phases)
        waves = jets.elementwise(jnp.cos, angles)

        def of(rows, n):
            own = jets.linear(lambda v: v[rows, :n], waves)
            return jets.linear(lambda v: v[None], jets.spread_electrons(own, up + down, rows))

        below = of(slice(up, None), down) if down else None
        return slater.log_sum(of(slice(None, up), up), below, jnp.ones(1))


def estimated(gas, steps=60):
    """Mean local energy of the Hartree-Fock determinant, by sampling."""
    problem = Problem(gas, Determinants(gas))
    x = initial_walkers(np.random.default_rng(0), gas, 512)
    return evaluate(problem, {}, x, jnp.asarray(0.2), seed=1, steps=steps)


@pytest.mark.parametrize(
    ("electrons", "spin", "twist"),
    [(4, 0, (0.0, 0.0, 0.5)), (5, 3, (0.5, 0.0, 0.5)), (4, 4, (0.0, 0.0, 0.0))],
)
def test_hartree_fock_of_gases(electrons, spin, twist):
    """Of closed and open shells, with and without twist: the mean of local energies."""
    gas = Molecule.electron_gas(electrons, 1.0, spin, twist)
    found = estimated(gas)
    [energy] = reference_energies(gas).values()
    assert abs(found.energy_Ha - energy) < 4 * found.stderr_Ha
    assert found.stderr_Ha < 0.02 * abs(energy)
    assert found.dipole_au == found.forces_Ha_per_bohr == []


def test_the_exchange_energy_of_a_closed_shell():
    """-1/2 sum 4 pi / V |k - q|^2 over pairs of occupied exp(i k . r) of one spin."""
    gas = Molecule.electron_gas(14, 2.0)
    cell = gas.cell
    waves = np.array(list(itertools.product((-1, 0, 1), repeat=3))) @ cell.reciprocal
    waves = waves[np.argsort(np.square(waves).sum(1))][:7]
    squares = np.square(waves[:, None] - waves).sum(-1)
    exchange = -4 * np.pi / cell.volume * (1 / squares[squares > 0]).sum() / 2
    own = 14 * float(cell.energy(np.ones(1), np.zeros((1, 3))))
    expected = np.square(waves).sum() + 2 * exchange + own
    assert reference_energies(gas)["HF"] == pytest.approx(expected, abs=1e-9)


def test_one_electron_alone():
    """With a twist it moves; its energy is the same everywhere."""
    gas = Molecule.electron_gas(1, 2.0, twist=(0.5, 0.0, 0.0))
    found = estimated(gas, steps=3)
    moving = np.square(gas.cell.offset).sum() / 2
    own = -2.837297479480620 / 2 / gas.cell.volume ** (1 / 3)
    assert found.energy_Ha == pytest.approx(moving + own, abs=1e-9)
    assert found.variance_Ha2 < 1e-18


def shaken_in_cell(molecule, kind, pairing="geminals"):
    """Ansatz and parameters that are off their start."""
    sizes = SMALL | SIZES[kind] | {"precision": "float64", "pairing": pairing}
    wave_function = kind.for_molecule(molecule, **sizes)
    params = wave_function.init(0, molecule)
    rng = np.random.default_rng(1)
    return wave_function, jax.tree.map(
        lambda p: jnp.asarray(p + 0.1 * rng.normal(size=p.shape)), params
    )


CHAIN = {"text": "H 0 0 0; H 0 0 1.8", "cell": "7 0 0 1 7.5 0 0 0 3.6"}


@pytest.mark.parametrize(
    ("kind", "twist", "nuclei"),
    [
        (Psiformer, (0.0, 0.0, 0.0), False),
        (Psiformer, (0.5, 0.5, 0.5), True),
        (FermiNet, (0.0, 0.5, 0.0), False),
        (LapNet, (0.0, 0.0, 0.0), True),
        (PairProduct, (0.0, 0.0, 0.0), False),
    ],
)
def test_wave_functions_repeat_and_are_derived_exactly(kind, twist, nuclei):
    """They turn their sign as the twist says, and the Laplacian is the trace of the Hessian."""
    if nuclei:
        pytest.importorskip("pyscf")
        molecule = Molecule.parse(**CHAIN, twist=twist)
    else:
        molecule = Molecule.electron_gas(5, 1.5, 1, twist)
    pairing = "determinants" if kind in (LapNet, PairProduct) else "geminals"
    wave_function, params = shaken_in_cell(molecule, kind, pairing)
    places = jnp.asarray(molecule.nuclei)
    both = jax.jit(lambda x: wave_function.sign_and_log(params, places, x))
    rng = np.random.default_rng(3)
    x = rng.normal(size=(molecule.electrons, 3)) * 3
    sign, log = both(x)
    for electron, (a, vector) in itertools.product((0, -1), enumerate(molecule.cell.matrix)):
        moved = x.copy()
        moved[electron] += vector
        other = both(moved)
        assert other[0] == (-sign if twist[a] else sign)
        assert other[1] == pytest.approx(float(log), abs=1e-9)
    flat = lambda r: both(r.reshape(x.shape))[1]  # noqa: E731
    jet = jax.jit(lambda r: both(jets.seed(r))[1])(x)
    np.testing.assert_allclose(jet.gradient, jax.grad(flat)(x.ravel()), rtol=1e-9, atol=1e-9)
    trace = jnp.trace(jax.hessian(flat)(x.ravel()))
    assert jet.laplacian == pytest.approx(float(trace), rel=1e-9, abs=1e-8)


def potentials(molecule, x):
    """Potential energies of many configurations (B, N, 3)."""
    charges, nuclei = jnp.asarray(molecule.charges, float), jnp.asarray(molecule.nuclei)

    def one(r):
        return potential_energy(charges, nuclei, r, molecule.cell)

    return jax.lax.map(one, jnp.asarray(x), batch_size=2000)


@pytest.mark.parametrize(
    ("cell", "twist"),
    [
        ("3.5 3.5 3.5", (0.0, 0.0, 0.0)),
        ("3.5 3.5 3.5", (0.5, 0.5, 0.5)),
        ("4 0 0 0 -4 0 1 0 5", (0.5, 0.0, 0.5)),
    ],
)
def test_the_potential_is_that_of_hartree_fock(cell, twist):
    """Of pairs of electrons drawn from the orbital; also where the cell is left-handed."""
    pytest.importorskip("pyscf")
    from huozi.wavefunction.mean_field import solve_mean_field

    rng = np.random.default_rng(4)
    pair = Molecule.parse("H 0 0 0; H 0.2 0 1.7", cell=cell, twist=twist)
    solved = solve_mean_field(pair, "sto-3g")
    points, weights = solved.grid()
    orbital = solved.orbitals(points)[:, 0]
    chances = np.clip(weights, 0, None) * np.square(orbital)
    assert chances.sum() == pytest.approx(1, abs=2e-3)
    drawn = rng.choice(len(points), (20_000, 2), p=chances / chances.sum())
    drawn = points[drawn[drawn[:, 0] != drawn[:, 1]]]
    energies = potentials(pair, drawn)
    density = solved.solver.make_rdm1()
    kinetic = np.einsum(
        "ij,ji", solved.solver.mol.pbc_intor("int1e_kin", kpt=pair.cell.offset), density
    )
    expected = solved.energy - kinetic.real
    assert abs(energies.mean() - expected) < 4 * energies.std() / np.sqrt(len(drawn)) + 2e-3


def test_functions_that_turn_their_sign():
    """Near their centre they are 1 and d; the sign turns where there is a twist."""
    rng = np.random.default_rng(5)
    for twist in itertools.product((0.0, 0.5), repeat=3):
        cell = Cell(SKEWED.vectors, twist)
        near = 1e-4 * rng.normal(size=(20, 3))
        factors, vectors = cell.twisted(jnp.asarray(near))
        np.testing.assert_allclose(factors, 1, atol=1e-7)
        np.testing.assert_allclose(vectors, near, atol=1e-10)
        d = rng.normal(size=(20, 3)) * 4
        here = cell.twisted(jnp.asarray(d))
        for a in range(3):
            there = cell.twisted(jnp.asarray(d + cell.matrix[a]))
            for one, other in zip(here, there):
                np.testing.assert_allclose(other, -one if twist[a] else one, atol=1e-12)


def test_the_moves_of_few_electrons_are_not_widened_without_end():
    gas = Molecule.electron_gas(2, 1.0)
    problem = Problem(gas, Determinants(gas))
    x = initial_walkers(np.random.default_rng(0), gas, 16)
    width = jnp.asarray(1.0)
    for k in range(300):
        x, _, acceptance = problem.sweep({}, x, jax.random.key(k), width, 2)
        width = adapt(width, acceptance)
    assert width == WIDEST
    inside = x @ np.linalg.inv(gas.cell.matrix)
    assert len(np.unique(inside.round(9))) > 90
    assert inside.mean() == pytest.approx(0.5, abs=4 / np.sqrt(12 * inside.size))


def two_electrons(length, reach):
    """Energy of two electrons of opposite spin in a cube, in relative plane waves, hartree.

    Their centre rests: -Laplacian + v(r) of the distance, whose waves are 4 pi / V G^2.
    """
    cell = Cell(tuple(tuple(row) for row in (length * np.eye(3)).tolist()))
    axis = np.arange(-reach, reach + 1)
    n = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    n = n[np.square(n).sum(1) <= reach**2]
    unit = (2 * np.pi / length) ** 2
    between = np.square(n[:, None] - n).sum(-1) * unit
    potential = 4 * np.pi / cell.volume / np.where(between > 0, between, np.inf)
    matrix = potential + np.diag(np.square(n).sum(1) * unit)
    lowest = eigsh(matrix, 1, which="SA")[0][0]
    return lowest + 2 * float(cell.energy(np.ones(1), np.zeros((1, 3))))


def test_two_electrons_have_no_node():
    """Diffusion from plane waves and cusps gives the energy of a basis without end."""
    gas = Molecule.electron_gas(2, 4.0)
    length = gas.cell.volume ** (1 / 3)
    # What a sphere of waves leaves out falls with its volume: cusps.
    coarse, fine = (two_electrons(length, reach) for reach in (5, 8))
    exact = fine - (coarse - fine) / ((8 / 5) ** 3 - 1)
    wave_function = Psiformer.for_molecule(gas, width=8, layers=1, heads=2, pair_width=4)
    problem = Problem(gas, wave_function)
    x = initial_walkers(np.random.default_rng(0), gas, 512)
    params = wave_function.init(0, gas)
    found = diffuse(problem, params, x, jnp.asarray(1.0), seed=2, steps=400, time_step=0.1)
    assert found.energy_Ha == pytest.approx(exact, abs=4 * found.stderr_Ha)
    assert found.stderr_Ha < 1e-3
    assert found.start_Ha > exact + 5 * found.stderr_Ha


def test_a_gas_on_the_command_line(tmp_path, monkeypatch, capsys):
    file = tmp_path / "tiny.yaml"
    tiny = {"width": 8, "layers": 1, "heads": 2, "determinants": 2, "pair_width": 8}
    file.write_text(json.dumps({"ansatz": tiny, "walkers": 128, "chunk": 64}))
    out = str(tmp_path / "gas")
    gas = ["--electron-gas", "4", "--rs", "1", "--twist", "0.5", "0", "0", "--steps", "15"]
    words = ["wavefunction", "train", *gas, "--config", str(file), "--out", out]
    code, _, err = command(monkeypatch, capsys, *words)
    assert code == 0
    assert "gas of 4 electrons: 0 unpaired electrons" in err
    run = load_run(out)
    assert run.problems[0].molecule == Molecule.electron_gas(4, 1.0, twist=(0.5, 0.0, 0.0))
    words = ["wavefunction", "evaluate", out, "--steps", 20, "--seed", 1]
    code, text, _ = command(monkeypatch, capsys, *words)
    assert code == 0
    result = json.loads((tmp_path / "gas" / "evaluation.json").read_text())
    assert result["energy_Ha"] < result["references_Ha"]["HF"] + 3 * result["stderr_Ha"]
    assert result["twist"] == [0.5, 0.0, 0.0]
    each = value_with_error(result["energy_Ha"] / 4, result["stderr_Ha"] / 4)
    assert f"per electron     {each} Ha" in text
    assert "dipole" not in text
    code, _, err = command(monkeypatch, capsys, "wavefunction", "evaluate", out, "--forces")
    assert code == 2
    assert "forces are not known with core potentials or in a cell" in err


def test_a_chain_of_hydrogen(tmp_path):
    """From Hartree-Fock of the cell; a few steps go below it."""
    pytest.importorskip("pyscf")
    chain = Molecule.parse(**CHAIN, twist=(0.0, 0.0, 0.5))
    small = AnsatzConfig(width=8, layers=1, heads=2, determinants=2, pair_width=8)
    config = TrainConfig(ansatz=small, steps=40, walkers=256, chunk=64)
    trained = build(chain, small).train(tmp_path / "chain", config=config)
    start = hartree_fock(chain, trained.problems[0].wave_function.basis)
    assert start.missing[0] < 0.1
    found = trained.evaluate(steps=40, seed=1)
    assert found.energy_Ha < start.energy - 0.01
    again = load_run(tmp_path / "chain").problems[0].molecule
    assert again == chain


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cell": "3 3"}, "three lengths or three vectors; found '3 3'"),
        ({"cell": ""}, "three lengths or three vectors; found ''"),
        ({"cell": "3 3 x"}, "three lengths or three vectors; found '3 3 x'"),
        ({"cell": "3 3 0"}, "lie in a plane"),
        ({"cell": "1 0 0 0 1 0 1 1 0"}, "lie in a plane"),
        ({"cell": "3 3 nan"}, "three vectors of three numbers"),
        ({"cell": "3 3 3", "twist": (0.25, 0.0, 0.0)}, "a twist is 0 or 0.5"),
        ({"twist": (0.5, 0.0, 0.0)}, "a twist is of a cell"),
        ({"cell": "3 3 3", "field": (0.0, 0.0, 0.1)}, "an electric field cannot be had in a cell"),
        ({"text": "H 0 0 0; H 0 0 3", "cell": "3 3 3"}, "apart"),
        ({"cell": "3 3 3", "charge": 1}, r"the charge is \+1"),
    ],
)
def test_cells_that_cannot_be(options, words):
    with pytest.raises(ValueError, match=words):
        Molecule.parse(**({"text": "H 0 0 0; H 0 0 1"} | options))


def test_gases_that_cannot_be():
    with pytest.raises(ValueError, match="density parameter is positive; found -1"):
        Molecule.electron_gas(2, -1)
    with pytest.raises(ValueError, match="cannot have 1 unpaired"):
        Molecule.electron_gas(2, 1.0, spin=1)
    with pytest.raises(ValueError, match="several states cannot be had in a cell"):
        build(Molecule.electron_gas(2, 1.0), AnsatzConfig(states=2)).problems()
    with pytest.raises(ValueError, match="pairproduct has no twist"):
        PairProduct.for_molecule(Molecule.electron_gas(5, 1.0, twist=(0.5, 0.0, 0.0)))
    one, other = (Molecule.electron_gas(2, 1.0, twist=(t, 0.0, 0.0)) for t in (0.0, 0.5))
    with pytest.raises(ValueError, match="of another cell"):
        VMC(one, Psiformer.for_molecule(other)).problems()
    with pytest.raises(ValueError, match="same cell"):
        build([Molecule.electron_gas(2, rs) for rs in (1.0, 2.0)], AnsatzConfig()).problems()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--electron-gas", "4"],
        ["--electron-gas", "4", "--rs", "1", "--molecule", "H 0 0 0"],
        ["--electron-gas", "4", "--rs", "1", "--cell", "3 3 3"],
        ["--electron-gas", "4", "--rs", "1", "--unit", "angstrom"],
        ["--electron-gas", "4", "--rs", "1", "--charge", "1"],
        ["--molecule", "H 0 0 0", "--rs", "1"],
        [],
    ],
)
def test_either_a_molecule_or_a_gas(arguments, monkeypatch, capsys, tmp_path):
    words = ["wavefunction", "train", "--out", str(tmp_path / "x"), *arguments]
    code, _, err = command(monkeypatch, capsys, *words)
    assert code == 2
    assert "--electron-gas" in err
    assert not (tmp_path / "x").exists()
