import json
from dataclasses import replace

import numpy as np
import pytest
from pyscf import scf
from typer.testing import CliRunner

from huozi.functional import NeuralKS, load_model
from huozi.functional.data import Reference, check_labels, read_references
from huozi.functional.fit import FitConfig, Target, fit, fit_linear, standardise, target
from huozi.functional.heldout import clearly_better, folds
from huozi.functional.invariants import powers
from huozi.functional.iterate import (
    KCAL,
    IterateConfig,
    compute_samples,
    fit_samples,
    held_out_errors,
    iterate,
    start_model,
)
from huozi.functional.model import atomic_energies, random_model
from huozi.functional.projection import shell_counts
from huozi.functional.samples import PROBES, Sample, take_sample
from huozi.functional.scf import orbital_digests
from huozi.units import BOHR
from tests.functional.conftest import tight


def random_targets(model, count=6, seed=0):
    """Features of no molecule, labelled by a model of them."""
    random = np.random.default_rng(seed)
    features = model.params["mean"].shape[1]
    found = []
    for _ in range(count):
        kinds = np.array([1, 0, 0])
        x = random.standard_normal((3, features))
        j = random.standard_normal((3, features, 9 + PROBES))
        p = model.params
        slopes = p["linear"][kinds] / p["scale"][kinds]
        energy = float(np.sum(atomic_energies(p, kinds, x)))
        found.append(Target(kinds, x, j, energy, -np.einsum("if,ifd->d", slopes, j[..., :9])))
    return found


def test_the_linear_fit_finds_the_linear_model_that_made_the_labels(water):
    model = random_model("hf", orbital_digests(water), seed=4)
    model.params["readout"] = np.zeros(8)
    targets = random_targets(model, count=40)
    config = FitConfig(pull_weight=0, ridge=1e-9, curvature=1e-9, power=5)
    fitted = fit(targets, model, config)
    for t, new in zip(targets, random_targets(fitted, count=40)):
        assert new.energy == pytest.approx(t.energy, abs=1e-6)


def test_the_network_fits_better_than_the_linear_part_alone(water):
    model = random_model("hf", orbital_digests(water), seed=4, size=0.05)
    targets = random_targets(model, count=300)
    energies = np.array([t.energy for t in targets])
    targets = [Target(t.kinds, t.features, t.motions, t.energy, None) for t in targets]

    def misfit(hidden):
        config = FitConfig(
            hidden=hidden, pull_weight=0, ridge=1e-2, power=1, components=40, steps=60
        )
        p = fit(targets, model, config).params
        found = [float(np.sum(atomic_energies(p, t.kinds, t.features))) for t in targets]
        return np.std(np.array(found) - energies)

    assert misfit(8) < misfit(0)


def test_forces_of_a_target_are_those_that_the_model_added(water):
    """Base forces follow from a field with a model: at the same density they are unique."""
    model = random_model("hf", orbital_digests(water), seed=1, size=3e-3)
    mf = tight(NeuralKS(water, "hf", model))
    mf.kernel()
    sample = take_sample(mf, model.basis)
    kinds = np.array([model.elements.index(s) for s in "OHH"])
    t = target(sample, model, kinds, mf.e_tot, sample.forces)
    gradient = mf.nuc_grad_method()
    base = super(type(gradient).__mro__[1], gradient)
    plain = -(base.grad_elec(mf.mo_energy, mf.mo_coeff, mf.mo_occ) + gradient.grad_nuc())
    explicit = -mf.projection().gradient(mf.make_rdm1(), mf.model_energy(mf.make_rdm1())[1])
    np.testing.assert_allclose(sample.forces, plain + explicit, atol=1e-8)
    assert t.energy == pytest.approx(sample.delta, abs=1e-9)
    # The model's share has its own energy-weighted density: - tr W dS with W = P V P / 2.
    dm, slopes = mf.make_rdm1(), mf.model_energy(mf.make_rdm1())[1]
    weighted = dm @ mf.projection().potential(slopes) @ dm / 2
    s1 = -water.intor("int1e_ipovlp", comp=3)
    own = np.zeros((3, 3))
    for atom, (_, _, start, stop) in enumerate(water.aoslice_by_atom()):
        own[atom] = 2 * np.einsum("xij,ij->x", s1[:, start:stop], weighted[start:stop])
    np.testing.assert_allclose(t.forces.reshape(3, 3), explicit + own, atol=1e-8)


def waters(count, seed=0):
    """Shaken waters with labels from MP2, a cheap stand-in for coupled cluster."""
    from pyscf import mp

    random = np.random.default_rng(seed)
    frames = []
    for i in range(count):
        x = np.array([[0, 0, 0], [0.76, 0.59, 0], [-0.76, 0.59, 0]]) / BOHR
        x = x + 0.08 * random.standard_normal(x.shape)
        frame = Reference(np.array([8, 1, 1]), x, 0.0, None, source=f"water#{i}")
        pt = mp.MP2(scf.RHF(frame.molecule("6-31g")).run(conv_tol=1e-11)).run()
        forces = -pt.nuc_grad_method().kernel()
        frames.append(Reference(frame.numbers, x, pt.e_tot, forces, source=frame.source))
    return frames


@pytest.fixture(scope="module")
def labelled():
    return waters(8)


@pytest.fixture(scope="module")
def run(labelled, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "water"
    config = IterateConfig(orbitals="6-31g", iterations=2, processes=1)
    events = []
    model = iterate(labelled[:6], out, config, labelled[6:], events.append)
    return out, config, model, events


def test_iteration_learns_mp2_and_says_how(run):
    out, config, model, events = run
    course = [e for e in events if e["event"] == "iteration"]
    assert course[0]["energy_mae_kcal_per_mol"] > 50
    assert all(e["converged"] == e["frames"] for e in course)
    assert course[-1]["valid"]["energy_mae_kcal_per_mol"] < 0.5
    assert course[-1]["force_rmse_mHa_per_A"] < 0.1 * course[0]["force_rmse_mHa_per_A"]
    assert load_model(out).metadata["frames"] == 6


def test_a_model_that_does_no_better_on_held_out_frames_is_not_kept(
    labelled, tmp_path, monkeypatch
):
    """Held-out errors grow from the second fit to the third: the second stays."""
    found = iter([[0.3, -0.3, 0.2], [0.1, 0.1, -0.1], [0.1, 0.1, -0.11], [0.0, 0.0, 0.0]])
    monkeypatch.setattr(
        "huozi.functional.iterate.held_out_errors", lambda *_: np.array(next(found))
    )
    config = IterateConfig(orbitals="6-31g", iterations=4, processes=1)
    events = []
    model = iterate(labelled[:5], tmp_path / "run", config, report=events.append)
    assert events[-1] == {"event": "kept", "iteration": 2}
    assert model.metadata["iteration"] == 2
    course = [e for e in events if e["event"] == "iteration"]
    assert [e["iteration"] for e in course] == [0, 1, 2]
    assert course[-1]["held_out_kcal_per_mol_per_heavy_atom"] == pytest.approx(0.1)


def test_held_out_errors_are_those_of_fits_without_the_frames(run, labelled):
    out, config, *_ = run
    frames = labelled[:6]
    zero = start_model(frames, config)
    places = compute_samples(frames, zero, config, out / "fields")
    errors = held_out_errors(frames, places, zero, config, config.fit)
    (fold,) = folds(frames)
    assert fold == [int(np.argmax([f.energy for f in frames]))]
    rest = [i for i in range(6) if i not in fold]
    samples = [Sample.load(places[i]) for i in rest]
    fitted = fit_samples([frames[i] for i in rest], samples, zero, config.fit)
    energy = NeuralKS(frames[fold[0]].molecule("6-31g"), "hf", fitted).kernel()
    expected = (energy - frames[fold[0]].energy) * KCAL
    np.testing.assert_allclose(errors, [expected], atol=1e-3)


def test_folds_are_the_largest_and_the_highest():
    def frame(numbers, energy):
        return Reference(np.array(numbers), np.zeros((len(numbers), 3)), energy, None)

    small = [frame([8, 1, 1], e) for e in (0, 4, 1, 3, 2, 9)]
    large = [frame([8, 1, 1, 8, 1, 1], e) for e in (5, 1)]
    assert [fold.tolist() for fold in folds(small + large)] == [[6, 7], [5]]
    assert [fold.tolist() for fold in folds(small[:5])] == [[1]]
    assert folds(small[:4]) == []
    assert folds([*small[:4], frame([7, 1, 1, 1], 0)]) == []


def test_a_better_model_is_better_beyond_the_scatter():
    old = np.array([0.2, -0.1, 0.15, 0.1])
    assert clearly_better(old / 2, old)
    assert not clearly_better(old, old)
    assert not clearly_better(old * [0.5, 2, 0.9, 1], old)
    assert not clearly_better(np.array([0, 0, 0, np.inf]), old)
    assert clearly_better(old, np.array([0, 0, 0, np.inf]))
    assert clearly_better(np.zeros(0), np.zeros(0))


def test_a_fit_worse_than_the_base_method_is_not_kept(labelled, tmp_path):
    """Noise fitted exactly, with no pull to hold the densities: the fields run away."""
    settings = FitConfig(pull_weight=0, ridge=1e-9, curvature=1e-9, power=5)
    config = IterateConfig(orbitals="6-31g", iterations=1, processes=1, fit=settings)
    noise = 0.02 * np.array([1, -1, 1, 1])
    frames = [replace(f, energy=f.energy + e, forces=None) for f, e in zip(labelled, noise)]
    events = []
    model = iterate(frames, tmp_path / "run", config, report=events.append)
    assert events[-1] == {"event": "base", "base": "hf"}
    assert model.metadata["iteration"] == 0
    assert load_model(tmp_path / "run").metadata["iteration"] == 0
    assert not any(np.any(model.params[name]) for name in ("constant", "linear", "readout"))


def test_the_same_command_resumes_without_computing_again(run, labelled):
    out, config, model, _ = run
    before = {p: p.stat().st_mtime_ns for p in (out / "fields").iterdir()}
    again = iterate(labelled[:6], out, config, labelled[6:])
    assert {p: p.stat().st_mtime_ns for p in (out / "fields").iterdir()} == before
    np.testing.assert_array_equal(again.params["linear"], model.params["linear"])
    with pytest.raises(ValueError, match="other data"):
        iterate(labelled[:5], out, config)
    with pytest.raises(ValueError, match="other base"):
        iterate(labelled[:6], out, config.model_copy(update={"base": "pbe"}))


def test_a_sample_survives_its_file(run, tmp_path):
    place = next((run[0] / "fields").iterdir())
    sample = Sample.load(place)
    sample.save(tmp_path / "again.npz")
    again = Sample.load(tmp_path / "again.npz")
    np.testing.assert_array_equal(again.motions, sample.motions)
    assert again.energy == sample.energy
    assert again.converged is True


def write_deepks(folder, frames):
    folder.mkdir()
    np.save(folder / "coord.npy", np.array([f.positions * BOHR for f in frames]))
    (folder / "type.raw").write_text("O\nH\nH\n")
    (folder / "unit.raw").write_text("Angstrom\n")
    np.save(folder / "energy.npy", np.array([[f.energy] for f in frames]))
    np.save(folder / "force.npy", np.array([f.forces / BOHR for f in frames]))


def test_commands(run, labelled, tmp_path):
    from huozi.cli.functional import app

    write_deepks(tmp_path / "valid", labelled[6:])
    command = ["test", str(run[0]), str(tmp_path / "valid"), "--cache", str(tmp_path / "cache")]
    found = CliRunner().invoke(app, [*command, "--processes", "1", "--json"])
    assert found.exit_code == 0, found.output
    values = json.loads(found.stdout)
    assert values["frames"] == values["converged"] == 2
    assert values["energy_mae_kcal_per_mol"] < 0.5
    np.testing.assert_allclose(values["references_Ha"], [f.energy for f in labelled[6:]])
    assert {"force_rmse_mHa_per_A", "energies_Ha"} <= set(values)
    listed = CliRunner().invoke(app, ["stats", str(run[0]), "--json"])
    lines = json.loads(listed.stdout)["iterations"]
    assert len(lines) == sum(e["event"] == "iteration" for e in run[3])
    assert "held_out_kcal_per_mol_per_heavy_atom" in lines[-1]


def test_deepks_folders_are_read_in_their_units(labelled, tmp_path):
    write_deepks(tmp_path / "set", labelled)
    again = read_references([tmp_path])
    assert len(again) == len(labelled)
    for a, b in zip(again, labelled):
        np.testing.assert_allclose(a.positions, b.positions)
        np.testing.assert_allclose(a.forces, b.forces)
        assert a.energy == b.energy


def test_extxyz_is_read_with_charge_and_spin(tmp_path):
    text = '2\nProperties=species:S:1:pos:R:3 energy=-27.211386 charge=1 spin=1 pbc="F F F"\n'
    (tmp_path / "a.extxyz").write_text(text + "H 0 0 0\nH 0 0 1.0\n")
    frame = read_references([tmp_path / "a.extxyz"])[0]
    assert (frame.charge, frame.spin) == (1, 1)
    assert frame.energy == pytest.approx(-1, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "type.raw").write_text("O H Q"), "no element"),
        (lambda f: (f / "type.raw").write_text("O H H H"), "3 atoms, type.raw 4"),
        (lambda f: (f / "type.raw").write_text("N H H"), "electrons cannot have 0 unpaired"),
        (lambda f: (f / "unit.raw").write_text("furlong"), "Bohr or Angstrom"),
        (lambda f: np.save(f / "coord.npy", np.load(f / "coord.npy") * 0.2), "unit of length"),
        (lambda f: np.save(f / "energy.npy", np.zeros(3)), "8 geometries but 3 energies"),
        (lambda f: np.save(f / "energy.npy", np.full(8, np.nan)), "energy not finite"),
        (lambda f: np.save(f / "conv.npy", np.arange(8) != 5), "#5: conv.npy marks"),
        (lambda f: (f / "type.raw").unlink(), "neither atom.npy nor coord.npy"),
    ],
)
def test_bad_folders_are_refused(labelled, tmp_path, change, message):
    write_deepks(tmp_path / "set", labelled)
    change(tmp_path / "set")
    with pytest.raises(ValueError, match=message):
        read_references([tmp_path / "set"])


def test_labels_that_cannot_be_are_refused(labelled):
    energies = np.array([f.energy + 0.14 for f in labelled])
    forces = [0.98 * f.forces for f in labelled]
    check_labels(labelled, energies, forces)
    with pytest.raises(ValueError, match="in eV"):
        check_labels(labelled, energies / 27.2, forces)
    with pytest.raises(ValueError, match="times those of the base method"):
        check_labels(labelled, energies, [-f for f in forces])
    energies[3] += 0.3
    with pytest.raises(ValueError, match=r"water#3.*converge"):
        check_labels(labelled, energies, forces)


def test_elements_without_frames_and_no_frames_are_refused(water):
    model = random_model("hf", orbital_digests(water), seed=4)
    with pytest.raises(ValueError, match="no frames"):
        fit([], model, FitConfig())
    targets = [
        Target(0 * t.kinds, t.features, t.motions, t.energy, t.forces)
        for t in random_targets(model)
    ]
    with pytest.raises(ValueError, match="no frame with O"):
        standardise(targets, model)


def test_open_shells_can_be_learned():
    frame = Reference(np.array([8, 1]), np.array([[0, 0, 0], [0, 0, 1.8]]), 0.0, None, 0, 1)
    config = IterateConfig(orbitals="6-31g")
    model = start_model([frame], config)
    mf = tight(NeuralKS(frame.molecule("6-31g"), "hf", model))
    mf.max_cycle = 200
    mf.kernel()
    sample = take_sample(mf, model.basis)
    kinds = np.array([model.elements.index(s) for s in "OH"])
    t = target(sample, model, kinds, mf.e_tot - 0.1, sample.forces)
    assert np.abs(sample.features[:, -36:]).max() > 0.01
    order = np.array(powers(shell_counts(model.basis)))
    params = fit_linear([t], standardise([t], model), order, order < 9, FitConfig())
    found = float(np.sum(atomic_energies(params, kinds, sample.features)))
    assert found == pytest.approx(-0.1, abs=1e-3)
