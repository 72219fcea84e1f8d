"""Reference densities: what they ask of the pull, and that the fit follows them."""

import numpy as np
import pytest
from pyscf import scf

from huozi.functional import NeuralKS
from huozi.functional.data import Reference, read_references
from huozi.functional.fit import FitConfig, fit, target
from huozi.functional.model import random_model, zero_model
from huozi.functional.samples import PROBES, take_sample
from huozi.functional.scf import orbital_digests
from tests.functional.conftest import tight


def linear_model(mol, size):
    model = random_model("hf", orbital_digests(mol), seed=2, size=size)
    model.params["readout"] = np.zeros(8)
    return model


def sampled(mol, model, density=None):
    mf = tight(NeuralKS(mol, "hf", model))
    mf.kernel()
    return mf, take_sample(mf, model.basis, density=density)


def kinds(mol, model):
    return np.array([model.elements.index(mol.atom_pure_symbol(i)) for i in range(mol.natm)])


@pytest.mark.parametrize("open_shell", [False, True])
def test_the_density_of_a_model_asks_for_its_pull(water, radical, open_shell):
    """From the base method's field, to first order: the error falls with the square."""
    mol = radical if open_shell else water
    zero = zero_model("hf", orbital_digests(mol))
    errors = []
    for size in (2e-3, 1e-3):
        model = linear_model(mol, size)
        density = np.asarray(sampled(mol, model)[0].make_rdm1())
        mf, sample = sampled(mol, zero, density)
        t = target(sample, zero, kinds(mol, model), 0.0, None)
        slopes = model.params["linear"][t.kinds] / model.params["scale"][t.kinds]
        expected = np.einsum("if,ifd->d", slopes, sample.motions)[-PROBES:]
        errors.append(np.abs(t.pull - expected).max() / np.abs(expected).max())
    assert errors[1] < 0.02
    assert errors[1] < 0.7 * errors[0]


def test_the_fit_follows_the_density(water):
    """A model fitted to energy and density of another one gives its density; without it, not."""
    zero, model = zero_model("hf", orbital_digests(water)), linear_model(water, 1e-3)
    mf, _ = sampled(water, model)
    density = mf.make_rdm1()
    distances = []
    for weight in (0.0, 1.0):
        current = zero
        for _ in range(2):
            _, sample = sampled(water, current, density)
            t = target(sample, current, kinds(water, zero), mf.e_tot, None)
            current = fit([t], zero, FitConfig(density_weight=weight, curvature=1e-2))
        found = tight(NeuralKS(water, "hf", current))
        found.kernel()
        distances.append(np.linalg.norm(found.make_rdm1() - density))
    plain = np.linalg.norm(scf.RHF(water).run().make_rdm1() - density)
    assert distances[1] < 0.1 * plain
    assert distances[1] < distances[0]


def test_densities_are_read_and_bad_ones_named(tmp_path, water):
    mf = scf.RHF(water).run()
    np.save(tmp_path / "coord.npy", water.atom_coords()[None])
    (tmp_path / "type.raw").write_text("O H H")
    np.save(tmp_path / "energy.npy", [[mf.e_tot]])
    np.save(tmp_path / "dm.npy", mf.make_rdm1()[None])
    (frame,) = read_references([tmp_path])
    assert isinstance(frame, Reference)
    np.testing.assert_array_equal(frame.density, mf.make_rdm1())
    sample = take_sample(mf, zero_model("hf", {}).basis, density=frame.density)
    np.testing.assert_allclose(sample.missing, 0, atol=1e-5)
    with pytest.raises(ValueError, match="another basis"):
        take_sample(mf, zero_model("hf", {}).basis, density=np.eye(7))
    with pytest.raises(ValueError, match="electrons of one spin"):
        take_sample(mf, zero_model("hf", {}).basis, density=frame.density[::-1])
    np.save(tmp_path / "dm.npy", np.zeros((3, 13, 13)))
    with pytest.raises(ValueError, match="1 geometries but 3 densities"):
        read_references([tmp_path])
    np.save(tmp_path / "dm.npy", np.full((1, 13, 13), np.nan))
    with pytest.raises(ValueError, match="density not finite"):
        read_references([tmp_path])
