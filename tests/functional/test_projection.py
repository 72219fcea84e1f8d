import numpy as np
import pytest
from pyscf import gto, scf
from scipy.linalg import eigvalsh
from scipy.spatial.transform import Rotation

from huozi.functional.invariants import count, invariants
from huozi.functional.projection import Projection, published_basis, shell_counts
from tests.functional.conftest import derivative, molecule

BASIS = published_basis()


def features(mol, dm):
    blocks = Projection(mol, BASIS).blocks(dm)
    return np.asarray(invariants(blocks, [np.zeros_like(b) for b in blocks]))


def test_published_basis_has_108_functions_an_atom(water):
    assert shell_counts(BASIS) == ((0, 12), (1, 12), (2, 12))
    projection = Projection(water, BASIS)
    assert [b.shape for b in projection.overlaps] == [(13, 3, 12, 2 * ell + 1) for ell in range(3)]
    assert count(shell_counts(BASIS)) == 12 * (2 + 4 + 6)


def test_blocks_equal_numerical_integrals(water):
    """Projections by quadrature on a grid, for each l and some radial functions."""
    from pyscf import dft

    dm = scf.RHF(water).run().make_rdm1()
    grid = dft.gen_grid.Grids(water)
    grid.level = 6
    grid.build()
    centre = gto.M(atom=[("ghost-He", water.atom_coord(0))], basis={"ghost-He": BASIS}, unit="Bohr")
    orbitals, functions = (m.eval_gto("GTOval_sph", grid.coords) for m in (water, centre))
    overlap = orbitals.T @ (grid.weights[:, None] * functions)
    d = overlap.T @ dm @ overlap
    ours = Projection(water, BASIS).blocks(dm)
    for n in (5, 8, 11):
        p, q = slice(12 + 3 * n, 15 + 3 * n), slice(48 + 5 * n, 53 + 5 * n)
        assert ours[0][0, n, 0, 0] == pytest.approx(d[n, n], abs=1e-5)
        np.testing.assert_allclose(ours[1][0, n], d[p, p], atol=1e-5)
        np.testing.assert_allclose(eigvalsh(ours[2][0, n]), eigvalsh(d[q, q]), atol=1e-5)


def test_features_do_not_depend_on_orientation_place_or_order(dimer):
    dm = scf.RHF(dimer).run(conv_tol=1e-13).make_rdm1()
    turn = Rotation.from_euler("xyz", [0.3, -1.1, 2.0])
    order = [3, 4, 5, 0, 2, 1]
    coords = turn.apply(dimer.atom_coords())[order] + [1.0, -2.0, 0.5]
    symbols = [dimer.atom_symbol(i) for i in order]
    moved = gto.M(atom=list(zip(symbols, coords)), unit="Bohr", basis="6-31g", verbose=0)
    turned = rotate_orbitals(dimer, dm, turn.as_matrix(), order)
    np.testing.assert_allclose(features(moved, turned), features(dimer, dm)[order], atol=1e-10)


def rotate_orbitals(mol, dm, matrix, order):
    """Density matrix of s and p orbitals after a rotation and a new order of the atoms."""
    pieces = []
    for atom in range(mol.natm):
        for shell in range(mol.nbas):
            if mol.bas_atom(shell) == atom:
                for _ in range(mol.bas_nctr(shell)):
                    pieces.append((atom, matrix if mol.bas_angular(shell) else np.eye(1)))
    full, rows, start = np.zeros_like(dm), {a: [] for a in range(mol.natm)}, 0
    for atom, block in pieces:
        stop = start + len(block)
        full[start:stop, start:stop] = block
        rows[atom] += range(start, stop)
        start = stop
    index = [i for atom in order for i in rows[atom]]
    return (full @ dm @ full.T)[np.ix_(index, index)]


def test_central_moments_hold_what_the_eigenvalues_hold():
    """Newton's identities: two blocks with the same features have the same eigenvalues."""
    random = np.random.default_rng(2)
    a = random.standard_normal((1, 1, 5, 5))
    block = a @ a.swapaxes(-1, -2)
    x = np.asarray(invariants([block], [0 * block]))[0]
    values = eigvalsh(block[0, 0])
    mean, soft = values.sum() / 5, values.sum() + 0.1
    expected = [np.sum((values - mean) ** k) / soft ** (k - 1) for k in range(2, 6)]
    np.testing.assert_allclose(x, [values.sum(), *expected, 0.0], rtol=1e-10)


def test_motions_equal_finite_differences(water):
    """dD/dX with orbitals kept orthonormal by the symmetric connection."""
    dm = scf.RHF(water).run().make_rdm1() / 2
    jacobian = Projection(water, BASIS).jacobian(dm)
    s0 = water.intor("int1e_ovlp")
    orbitals = occupied_orbitals(dm, s0)
    for k, (i, n) in enumerate(((0, 7), (1, 9), (2, 10))):

        def element(positions, k=k, i=i, n=n):
            mol = water.set_geom_(positions, unit="Bohr", inplace=False)
            overlap = orbitals.T @ mol.intor("int1e_ovlp") @ orbitals
            e, u = np.linalg.eigh(overlap)
            c = orbitals @ (u / np.sqrt(e)) @ u.T
            return Projection(mol, BASIS).blocks(c @ c.T)[k][i, n, -1, 0]

        for atom, axis in ((0, 0), (1, 2)):
            found = jacobian[k][i, n, -1, 0, atom, axis]
            expected = derivative(element, water.atom_coords(), atom, axis)
            assert found == pytest.approx(expected, abs=1e-8)


def occupied_orbitals(dm, overlap):
    from scipy.linalg import eigh

    values, vectors = eigh(overlap @ dm @ overlap, overlap)
    return vectors[:, values > 0.5]


def test_mixing_is_the_change_of_the_projection(water):
    random = np.random.default_rng(0)
    c, u = random.standard_normal((13, 5)), random.standard_normal((13, 5, 2))
    projection = Projection(water, BASIS)
    found = projection.mixing(c, u)
    h = 1e-4
    for k in range(2):
        plus, minus = c + h * u[..., k], c - h * u[..., k]
        ahead, behind = projection.blocks(plus @ plus.T), projection.blocks(minus @ minus.T)
        for f, a, b in zip(found, ahead, behind):
            np.testing.assert_allclose(f[..., k], (a - b) / (2 * h), atol=1e-6)
    # A spin without electrons, as in the hydrogen atom.
    for block in projection.mixing(c[:, :0], u[:, :0]):
        assert block.shape[-1] == 2
        assert not block.any()


def test_ghost_atoms_carry_no_projection():
    mol = molecule("O 0 0 0; H 0.7 0.6 0.1; H -.75 .55 0; ghost-O 0 0 2")
    assert list(Projection(mol, BASIS).atoms) == [0, 1, 2]
