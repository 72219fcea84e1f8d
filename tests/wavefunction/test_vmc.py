"""Training, evaluation, restart, and what happens when a wave function breaks down."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import yaml
from scipy.stats import chi2

from huozi.arrays import jax, jnp
from huozi.wavefunction import (
    VMC,
    AnsatzConfig,
    Molecule,
    Psiformer,
    TrainConfig,
    build,
    checkpoint,
    load_run,
)
from huozi.wavefunction import vmc as module
from huozi.wavefunction.optimize import _update
from huozi.workflow import RunFolder
from tests.cli.test_main import run as command

pytest.importorskip("pyscf")
HELIUM = Molecule.parse("He 0 0 0")
TINY = AnsatzConfig(width=8, layers=1, heads=2, determinants=2, pair_width=8)
CONFIG = TrainConfig(ansatz=TINY, steps=40, walkers=128, chunk=128, checkpoint_every=0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A short run on helium."""
    folder = tmp_path_factory.mktemp("helium") / "run"
    return build(HELIUM, TINY).train(folder, config=CONFIG)


def test_the_energy_is_an_upper_bound_far_below_hartree_fock(trained):
    found = trained.evaluate(steps=60, seed=1)
    assert found.energy_Ha > -2.903724377 - 3 * found.stderr_Ha
    assert found.energy_Ha < -2.8617 - 3 * found.stderr_Ha  # Hartree-Fock limit
    assert found.lost == 0
    assert 0.3 < found.acceptance < 0.7


def test_error_bars_agree_with_the_spread_of_independent_evaluations(trained):
    found = [trained.evaluate(steps=20, seed=100 + k) for k in range(20)]
    for values, errors in (
        ([f.energy_Ha for f in found], [f.stderr_Ha for f in found]),
        ([f.dipole_au[2] for f in found], [f.dipole_stderr[2] for f in found]),
        ([f.forces_Ha_per_bohr[0][2] for f in found], [f.forces_stderr[0][2] for f in found]),
    ):
        square = np.square((np.array(values) - np.mean(values)) / errors).sum()
        low, high = chi2.ppf([1e-3, 1 - 1e-3], len(found) - 1)
        assert low < square < high


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "either a budget in seconds or a number of steps"),
        ({"budget": 1.0, "steps": 3}, "either a budget in seconds or a number of steps"),
        ({"steps": 1}, "takes 2 steps or more; found 1"),
        ({"budget": 0.0}, "takes time; found a budget of 0.0 s"),
        ({"budget": np.nan}, "takes time"),
    ],
)
def test_an_evaluation_needs_a_length(trained, options, words):
    with pytest.raises(ValueError, match=words):
        trained.evaluate(**options)


def test_a_run_folder_is_read_back(trained):
    again = load_run(trained.path)
    same = jax.tree.map(lambda a, b: bool((a == b).all()), again.state, trained.state)
    assert all(jax.tree.leaves(same))
    assert again.problems[0].molecule == HELIUM


def test_resumed_is_the_same_as_uninterrupted(trained, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def stop(event):
        if event["event"] == "steps" and event["step"] >= 15:
            raise Killed

    monkeypatch.setattr(module, "LOG_SECONDS", 0.0)
    vmc = build(HELIUM, TINY)
    with pytest.raises(Killed):
        vmc.train(tmp_path / "run", stop, CONFIG)
    events = []
    resumed = vmc.train(tmp_path / "run", events.append, CONFIG)
    assert events[0]["event"] == "resume"
    assert 0 < events[0]["step"] < 40
    np.testing.assert_array_equal(resumed.state.x, trained.state.x)


@pytest.mark.parametrize("name", ["psiformer", "ferminet", "lapnet", "pairproduct"])
def test_an_ansatz_has_the_sizes_of_the_settings(name):
    settings = TINY.model_copy(update={"kind": name, "pairing": "determinants"})
    wave_function = build(HELIUM, settings).wave_function
    assert type(wave_function).__name__.lower() == name
    sizes = settings.model_dump(exclude={"kind"})
    assert sizes == {size: getattr(wave_function, size, v) for size, v in sizes.items()}
    assert hasattr(wave_function, "heads") == (name in ("psiformer", "lapnet"))


def test_another_run_in_the_same_folder_is_refused(trained):
    with pytest.raises(ValueError, match=r"training\.seed = 0, not 5"):
        build(HELIUM, TINY).train(trained.path, config=CONFIG.model_copy(update={"seed": 5}))


def test_a_folder_without_what_molecules_gained_since_goes_on(trained, tmp_path):
    shutil.copytree(trained.path, tmp_path / "old")
    config = tmp_path / "old" / "config.yaml"
    described = yaml.safe_load(config.read_text())
    for name in ("field", "potentials"):
        del described["molecules"][0][name]
    config.write_text(yaml.safe_dump(described))
    assert build(HELIUM, TINY).train(tmp_path / "old", config=CONFIG).steps == trained.steps


def test_parameters_of_another_form_are_refused(trained, tmp_path, monkeypatch):
    shutil.copytree(trained.path, tmp_path / "old")
    monkeypatch.setattr(checkpoint, "FORM", checkpoint.FORM + 1)
    with pytest.raises(ValueError, match="earlier version of huozi"):
        load_run(tmp_path / "old")


@dataclasses.dataclass(frozen=True)
class Broken:
    """Helium's wave function, with a hole: not a number where an electron is further right."""

    inner: object
    precision: str = "float64"
    of_geometry: tuple = ()
    edge: float = dataclasses.field(default=1.5, compare=False)  # a parameter: compiled once

    def init(self, seed, molecule):
        return {"inner": self.inner.init(seed, molecule), "edge": jnp.asarray(self.edge)}

    def log_psi(self, params, nuclei, x):
        value = self.inner.log_psi(params["inner"], nuclei, x)
        places = x.value if hasattr(x, "value") else None
        if places is None:
            return value
        hole = (places[:, 0] > params["edge"]).any()
        return type(value)(jnp.where(hole, jnp.nan, value.stack))

    def sign_and_log(self, params, nuclei, x):
        return self.inner.sign_and_log(params["inner"], nuclei, x)


def test_lost_walkers_are_named_and_replaced(tmp_path):
    vmc = VMC(HELIUM, Broken(build(HELIUM, TINY).wave_function))
    result = vmc.train(tmp_path / "run", config=CONFIG.model_copy(update={"steps": 3}))
    lost = list(RunFolder(tmp_path / "run").events("lost_walkers"))
    assert lost
    assert lost[0]["walkers"] > 0
    assert np.isfinite(result.state.x).all()
    with pytest.raises(ValueError, match="local energies are not finite"):
        result.evaluate(steps=5, seed=0)


def test_a_wave_function_that_is_never_a_number_stops_the_run(tmp_path):
    vmc = VMC(HELIUM, Broken(build(HELIUM, TINY).wave_function, edge=-np.inf))
    with pytest.raises(ValueError, match="broke down at step 0, 6 times"):
        vmc.train(tmp_path / "run", config=CONFIG)


def test_a_folder_tells_what_the_wave_function_is(tmp_path):
    """Also one that was not made from settings."""
    atom = Psiformer.for_molecule(HELIUM, width=6, heads=2, layers=1, precision="float64")
    trained = VMC(HELIUM, atom).train(tmp_path, steps=2, walkers=16, moves=2)
    again = load_run(tmp_path)
    assert again.problems[0].wave_function == atom
    np.testing.assert_array_equal(again.state.x, trained.state.x)


def test_a_budget_may_be_too_small_to_begin(tmp_path):
    with pytest.raises(ValueError, match=r"setting up took .* s; give a larger --budget"):
        build(HELIUM, TINY).train(tmp_path / "run", budget=1e-6)
    build(HELIUM, TINY).train(tmp_path / "run", config=CONFIG.model_copy(update={"steps": 2}))


def test_a_set_up_that_failed_does_not_stand_in_the_way(tmp_path):
    heavy = Molecule.parse("K 0 0 0")
    with pytest.raises(ValueError, match="no functions to start from"):
        build(heavy, TINY).train(tmp_path / "run", config=CONFIG)
    build(HELIUM, TINY).train(tmp_path / "run", config=CONFIG.model_copy(update={"steps": 2}))


@pytest.mark.parametrize("kind", ["psiformer", "lapnet"])
def test_heads_share_the_width(kind):
    """Or electrons would be mixed when it is split."""
    with pytest.raises(ValueError, match="width of 6 cannot be shared by 4 heads"):
        AnsatzConfig(kind=kind, width=6)
    with pytest.raises(ValueError, match="width of 6 cannot be shared by 4 heads"):
        Psiformer.for_molecule(HELIUM, width=6)


def test_steps_that_ruin_the_wave_function_are_taken_back(tmp_path):
    """Far too long steps: every energy is a number, and none is worth anything."""
    wild = CONFIG.model_copy(update={"steps": 40, "learning_rate": 1e6, "step_limit": 1e6})
    with pytest.raises(ValueError, match=r"broke down at step .*, 6 times"):
        build(HELIUM, TINY).train(tmp_path / "run", config=wild)
    taken_back = list(RunFolder(tmp_path / "run").events("recovered"))
    assert [round(1 / e["scale"]) for e in taken_back] == [2, 4, 8, 16, 32, 64]


def test_command(trained, monkeypatch, capsys):
    code, out, _ = command(
        monkeypatch, capsys,
        "wavefunction", "evaluate", trained.path, "--steps", 5, "--seed", 1, "--json",
    )  # fmt: skip
    assert code == 0
    result = json.loads(out)
    numbers = ("energy_Ha", "stderr_Ha", "variance_Ha2", "autocorrelation_time", "acceptance")
    for name in (*numbers, "spin_squared", "spin_squared_stderr"):
        assert np.isfinite(result[name])
    assert result["verdict"].startswith("not converged: the run is too short")
    assert "CCSD(T)/cc-pVTZ" in result["references_Ha"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--molecule", "Qq 0 0 0", "--out", "x"], "no chemical element"),
        (["train", "--molecule", "H 0 0 0", "--out", "x", "--budget", "soon"], "not a duration"),
        (["evaluate", "missing"], "holds no wave function"),
        (["evaluate", "missing", "--steps", "1"], "equal to 2"),
        (["train", "--molecule", "H 0 0 0", "--out", "x", "--budget", "1ms"], "not a duration"),
        (["train", "--molecule", "K 0 0 0", "--out", "x"], "with --ecp ccecp"),
        (
            ["train", "--molecule", "H 0 0 0", "--out", "x", "--budget", "1h", "--steps", "9"],
            "contradict each other",
        ),
    ],
)
def test_mistakes_are_one_line(monkeypatch, capsys, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = command(monkeypatch, capsys, "wavefunction", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "no frames"),
        ('1\npbc="T T F" Lattice="9 0 0 0 9 0 0 0 9"\nHe 0 0 0\n', "in some directions only"),
        ("2\n\nH 0 0 0\nH 0 0 0\n", "0 bohr apart"),
    ],
)
def test_files_that_are_no_molecule(monkeypatch, capsys, tmp_path, lines, message):
    file, out = tmp_path / "file.xyz", tmp_path / "out"
    file.write_text(lines)
    arguments = ("train", "--molecule", file, "--out", out)
    code, _, err = command(monkeypatch, capsys, "wavefunction", *arguments)
    assert code == 2
    assert message in err
    assert not out.exists()


@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_folder_of_another_run_is_left_alone(tmp_path, checkpoint):
    (tmp_path / "config.yaml").write_text("verb: md\n")
    if checkpoint:  # a potential's has the same name
        (tmp_path / "checkpoint.safetensors").write_bytes(b"something else")
    with pytest.raises(ValueError, match="holds another kind of run"):
        build(HELIUM, TINY).train(tmp_path, config=CONFIG)
    assert (tmp_path / "config.yaml").read_text() == "verb: md\n"


def test_a_checkpoint_without_settings_is_left_alone(tmp_path):
    (tmp_path / "checkpoint.safetensors").write_bytes(b"whatever it is")
    with pytest.raises(ValueError, match=r"has lost its config\.yaml"):
        build(HELIUM, TINY).train(tmp_path, config=CONFIG)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == b"whatever it is"


def test_energies_that_spread_wider_are_still_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SOUND", 0.0)  # no step is as good as it takes
    monkeypatch.setattr(module, "STALE", 0)
    saved = []
    monkeypatch.setattr(checkpoint, "save", lambda path, state, header: saved.append(state.step))
    config = CONFIG.model_copy(update={"steps": 3})
    build(HELIUM, TINY).train(tmp_path / "run", config=config)
    assert [int(step) for step in saved] == [1, 2, 3, 3]


def test_a_step_is_compiled_once(tmp_path):
    form = AnsatzConfig(width=8, layers=1, heads=1, determinants=1, pair_width=4)
    before = _update._cache_size()
    build(HELIUM, form).train(tmp_path / "run", config=CONFIG.model_copy(update={"steps": 3}))
    assert _update._cache_size() == before + 1
