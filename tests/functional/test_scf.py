import numpy as np
import pytest
from pyscf import dft, scf

from huozi.functional import NeuralKS, load_model
from huozi.functional.gradients import explicit_gradient
from huozi.functional.model import random_model, zero_model
from huozi.functional.projection import published_basis, shell_counts
from huozi.functional.scf import orbital_digests
from tests.functional.conftest import derivative, molecule, tight


def model_for(mol, base="hf", size=3e-3):
    return random_model(base, orbital_digests(mol), seed=1, size=size)


@pytest.mark.parametrize(
    ("method", "xc", "spin", "shell"),
    [
        (scf.RHF, "hf", 0, "auto"),
        (dft.RKS, "pbe", 0, "auto"),
        (scf.UHF, "hf", 1, "auto"),
        (dft.UKS, "pbe", 1, "auto"),
        (scf.ROHF, "hf", 1, "restricted-open"),
        (dft.ROKS, "pbe", 1, "restricted-open"),
    ],
)
def test_a_zero_model_is_pyscfs_method(water, radical, method, xc, spin, shell):
    mol = radical if spin else water
    expected, ours = method(mol), NeuralKS(mol, xc, zero_model(xc, orbital_digests(mol)), shell)
    if xc != "hf":
        expected.xc = xc
        for mf in (expected, ours):
            mf.grids.level = 1
    for mf in (expected, ours):
        tight(mf).kernel()
    assert ours.e_tot == pytest.approx(expected.e_tot, abs=1e-9)
    np.testing.assert_allclose(
        ours.nuc_grad_method().kernel(), expected.nuc_grad_method().kernel(), atol=1e-7
    )


@pytest.mark.parametrize("open_shell", [False, True])
def test_potential_is_the_derivative_of_the_energy(dimer, radical, open_shell):
    mol = radical if open_shell else dimer
    mf = NeuralKS(mol, "hf", model_for(mol))
    mf.max_cycle = 2
    mf.kernel()
    dm = np.array(mf.make_rdm1())
    potential = mf.get_veff(dm=dm) - mf.get_veff(dm=dm).plain
    random = np.random.default_rng(3)
    change = random.standard_normal(dm.shape)
    change += change.swapaxes(-1, -2)
    h = 1e-4
    energies = [mf.model_energy(dm + s * h * change)[0] for s in (1, -1, 2, -2)]
    slope = (8 * (energies[0] - energies[1]) - (energies[2] - energies[3])) / (12 * h)
    assert np.sum(potential * change) == pytest.approx(slope, abs=1e-7)


@pytest.mark.parametrize(
    ("xc", "shell", "spin"),
    [
        ("hf", "auto", 0),
        ("pbe", "auto", 0),
        ("hf", "auto", 1),
        ("pbe", "auto", 1),
        ("hf", "restricted-open", 1),
    ],
)
def test_forces_are_the_derivative_of_the_converged_energy(dimer, radical, xc, shell, spin):
    mol = radical if spin else dimer
    model = model_for(mol, xc)
    guess = None

    def field(positions):
        mf = tight(NeuralKS(mol.set_geom_(positions, unit="Bohr", inplace=False), xc, model, shell))
        if xc != "hf":
            mf.grids.level = 1
        mf.kernel(guess)
        return mf

    mf = field(mol.atom_coords())
    assert abs(mf.scf_summary["delta"]) > 1e-4
    guess = mf.make_rdm1()
    gradient = mf.nuc_grad_method()
    if xc != "hf":
        gradient.grid_response = True
    found = gradient.kernel()
    for atom, axis in ((0, 1), (4, 2)) if (xc, spin) == ("hf", 0) else ((1, 0),):
        expected = derivative(lambda x: field(x).e_tot, mol.atom_coords(), atom, axis)
        assert found[atom, axis] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("xc", "spin"), [("hf", 0), ("hf", 1), ("pbe", 1)])
def test_forces_without_self_consistency_hold_the_response(dimer, radical, xc, spin):
    mol = radical if spin else dimer
    model = model_for(mol, xc)
    guess = None

    def field(positions):
        moved = mol.set_geom_(positions, unit="Bohr", inplace=False)
        mf = tight(NeuralKS(moved, xc, model, self_consistent=False))
        if xc != "hf":
            mf.grids.level = 1
        mf.kernel(guess)
        return mf

    mf = field(mol.atom_coords())
    guess = mf.make_rdm1()
    gradient = mf.nuc_grad_method()
    if xc != "hf":
        gradient.grid_response = True
    found = gradient.kernel()
    expected = derivative(lambda x: field(x).e_tot, mol.atom_coords(), 1, 0)
    assert found[1, 0] == pytest.approx(expected, abs=1e-6)
    # Without the response of the density the force would be another.
    dm = np.asarray(mf.make_rdm1())
    still = super(type(gradient).__mro__[1], gradient).grad_elec() + gradient.grad_nuc()
    assert abs((still + explicit_gradient(mf, dm))[1, 0] - expected) > 1e-4


def test_without_self_consistency_the_field_is_the_base_methods(water, radical):
    for mol in (water, radical):
        model = model_for(mol)
        mf = tight(NeuralKS(mol, "hf", model, self_consistent=False))
        energy = mf.kernel()
        plain = tight(scf.UHF(mol) if mol.spin else scf.RHF(mol))
        delta = mf.model_energy(np.asarray(mf.make_rdm1()))[0]
        assert energy - delta == pytest.approx(plain.kernel(), abs=1e-9)
        np.testing.assert_allclose(mf.mo_energy, plain.mo_energy, atol=1e-6)
        # The field that follows the model lies lower, by a term of second order.
        relaxed = tight(NeuralKS(mol, "hf", model)).kernel()
        assert 0 < energy - relaxed < 0.1 * abs(delta)
    fitted = tight(NeuralKS(water, "hf", model_for(water), self_consistent=False).density_fit())
    plain = tight(NeuralKS(water, "hf", model_for(water), self_consistent=False))
    assert fitted.kernel() == pytest.approx(plain.kernel(), abs=1e-3)


def test_response_of_restricted_open_shells_is_refused(radical):
    mf = NeuralKS(radical, "hf", model_for(radical), "restricted-open", self_consistent=False)
    mf.kernel()
    with pytest.raises(NotImplementedError, match="unrestricted"):
        mf.nuc_grad_method().kernel()


@pytest.mark.parametrize("self_consistent", [True, False])
def test_second_derivatives_without_the_model_are_refused(water, self_consistent):
    mf = NeuralKS(water, "hf", model_for(water), self_consistent=self_consistent)
    for name in ("Hessian", "TDA", "TDHF", "TDDFT", "stability"):
        with pytest.raises(NotImplementedError, match="differences of forces"):
            getattr(mf, name)()


def test_an_unrestricted_closed_shell_is_the_restricted_one(water):
    model = model_for(water)
    energies = [NeuralKS(water, "hf", model, s).kernel() for s in ("restricted", "unrestricted")]
    assert energies[0] == pytest.approx(energies[1], abs=1e-8)


def test_direct_integrals_give_the_same_energy(water, radical):
    for mol in (water, radical):
        mf = tight(NeuralKS(mol, "hf", model_for(mol)))
        direct = tight(NeuralKS(mol, "hf", model_for(mol)))
        direct.max_memory = 0
        assert direct.kernel() == pytest.approx(mf.kernel(), abs=1e-9)


def test_density_fitting(water):
    model = model_for(water)
    mf = tight(NeuralKS(water, "hf", model).density_fit())
    assert mf.kernel() == pytest.approx(tight(NeuralKS(water, "hf", model)).kernel(), abs=1e-3)
    found = mf.nuc_grad_method().kernel()
    scanner = mf.as_scanner()
    expected = derivative(
        lambda x: scanner(water.set_geom_(x, unit="Bohr", inplace=False)), water.atom_coords(), 1, 0
    )
    assert found[1, 0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("shell", ["auto", "restricted-open"])
def test_one_electron_feels_the_model(shell):
    ion = molecule("H 0 0 0; H 0 0 1.2", spin=1, charge=1)
    mf = tight(NeuralKS(ion, "hf", model_for(ion), shell))
    energy = mf.kernel()
    assert mf.converged
    delta = mf.model_energy(np.asarray(mf.make_rdm1()))[0]
    assert abs(delta) > 1e-4
    plain = scf.UHF(ion).kernel()
    assert energy - plain == pytest.approx(delta, abs=2e-3)
    assert energy < plain + mf.model_energy(np.asarray(scf.UHF(ion).run().make_rdm1()))[0]


def test_far_molecules_add_up(water):
    both = molecule(
        "O 0 0 0; H 0.7 0.6 0.1; H -.75 .55 0; O 0 0 500; H 0.7 0.6 500.1; H -.75 .55 500"
    )
    model = model_for(water)
    single = tight(NeuralKS(water, "hf", model)).kernel()
    assert tight(NeuralKS(both, "hf", model)).kernel() == pytest.approx(2 * single, abs=1e-6)


def test_geometry_optimiser(water):
    optimiser = pytest.importorskip("pyscf.geomopt.geometric_solver")
    mf = NeuralKS(water, "hf", model_for(water, size=1e-3))
    relaxed = optimiser.optimize(mf, maxsteps=30)
    mf = NeuralKS(relaxed, "hf", mf.model)
    mf.kernel()
    assert np.abs(mf.nuc_grad_method().kernel()).max() < 1e-3


def test_a_model_survives_its_file(tmp_path, water):
    model = model_for(water)
    model.save(tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors")
    assert NeuralKS(water, "hf", again).kernel() == NeuralKS(water, "hf", model).kernel()
    data = bytearray((tmp_path / "m.safetensors").read_bytes())
    data[-3] ^= 1
    (tmp_path / "m.safetensors").write_bytes(data)
    with pytest.raises(ValueError, match="digest"):
        load_model(tmp_path / "m.safetensors")


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no functional"):
        load_model(tmp_path)
    (tmp_path / "x").write_bytes(b"hello")
    with pytest.raises(ValueError, match="not a safetensors file"):
        load_model(tmp_path / "x")


def test_a_model_is_used_for_what_it_was_made(water):
    model = model_for(water)
    with pytest.raises(ValueError, match="corrects 'hf', not 'pbe'"):
        NeuralKS(water, "pbe", model)
    with pytest.raises(ValueError, match="orbital basis"):
        NeuralKS(molecule("O 0 0 0; H 0.7 0.6 0.1; H -.75 .55 0", "sto-3g"), "hf", model)
    with pytest.raises(ValueError, match="knows H, O, not N"):
        NeuralKS(molecule("N 0 0 0; H 0 0 1; H 0 1 0; H 1 0 0"), "hf", model)
    with pytest.raises(ValueError, match="spin 0"):
        NeuralKS(molecule("O 0 0 0; H 0 0 1", spin=1), "hf", model, "restricted")


def test_a_closed_shell_is_one_without_spin_density(water):
    """More atoms than are evaluated at once, so that the padding of the last chunk matters."""
    model = model_for(water)
    random = np.random.default_rng(2)
    half = [
        random.standard_normal((11, n, 2 * ell + 1, 2 * ell + 1))
        for ell, n in shell_counts(published_basis())
    ]
    blocks = [x @ x.swapaxes(-1, -2) for x in half]
    kinds = np.arange(11) % 2
    energy, slopes, none = model.evaluate(kinds, blocks)
    expected, same, _ = model.evaluate(kinds, blocks, [np.zeros_like(x) for x in blocks])
    assert none is None
    assert energy == pytest.approx(expected, abs=1e-12)
    for found, reference, block in zip(slopes, same, blocks, strict=True):
        assert found.shape == block.shape
        np.testing.assert_allclose(found, reference, atol=1e-12)
    parts = [model.evaluate(kinds[i : i + 1], [x[i : i + 1] for x in blocks])[0] for i in range(11)]
    assert energy == pytest.approx(sum(parts), abs=1e-12)
