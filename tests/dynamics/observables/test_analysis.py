import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write

from huozi.arrays import jax, jnp
from huozi.dynamics import MDConfig, run_md
from huozi.dynamics.observables import analyse, read_run, write_analysis, yeh_hummer_correction
from huozi.dynamics.observables.analysis_page import summary_rows
from huozi.neighbors import Evaluation, displacements, forces_from_pairs, virial_from_pairs
from huozi.systems import System


class Springs:
    """Purely repulsive pairs of range 4 Å."""

    cutoff = 4.0

    def bind(self, species):
        return jax.tree_util.Partial(_springs)


def _springs(positions, cell, neighbors):
    vectors = displacements(positions, cell, neighbors)

    def energy(vectors):
        squares = jnp.sum(vectors**2, axis=-1)
        near = neighbors.mask & (squares < 16.0)
        r = jnp.sqrt(jnp.where(near, squares, 16.0))
        return 0.25 * jnp.sum(0.05 * (4.0 - r) ** 2)

    value, gradient = jax.value_and_grad(energy)(vectors)
    return Evaluation(
        value, forces_from_pairs(gradient, neighbors), virial_from_pairs(gradient, vectors)
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("md") / "run"
    atoms = bulk("Ar", cubic=True, a=5.4) * (2, 2, 2)
    config = MDConfig(ensemble="nvt", temperature=90, steps=2500, timestep=2.0, trajectory_every=4)
    run_md(Springs(), System.from_atoms(atoms), config, out)
    return out


@pytest.fixture(scope="module")
def analysis(run):
    return analyse(run, skip=0.5)


def test_a_run_is_read_with_its_log_and_settings(run):
    data = read_run(run, skip=1.0)
    assert data.time_step == 8.0
    assert data.trajectory.times[0] == 1000.0 == data.thermo["time_fs"][0]
    assert data.config["ensemble"] == "nvt"
    with pytest.raises(ValueError, match="0 frames after 100 ps; four are needed"):
        read_run(run, skip=100)


def test_every_number_has_its_error(analysis):
    numbers = analysis.numbers
    assert numbers["formula"] == "Ar32"
    assert numbers["time_ps"] == pytest.approx(4.496)
    assert numbers["temperature_K"]["value"] == pytest.approx(90, abs=8)
    assert numbers["density_g_cm3"]["value"] == pytest.approx(1.6846, rel=1e-3)
    for key in ("temperature_K", "pressure_GPa", "energy_drift_meV_per_atom_per_ps"):
        assert numbers[key]["error"] > 0
    assert numbers["heat_capacity_v_kB_per_atom"]["error"] > 0
    shell = numbers["radial_distribution"]["Ar-Ar"]["first_shell"]
    assert shell["neighbours"] == pytest.approx(12, abs=1.5)
    assert numbers["angles"]["Ar-Ar-Ar"]["cutoff_A"] == shell["cutoff_A"]
    assert set(analysis.spectrum) == {"all"}
    width = analysis.spectrum["all"][0][1]
    assert analysis.spectrum["all"][1].sum() * width == pytest.approx(96, rel=0.1)
    assert set(analysis.displacements) == {"Ar"}


def test_the_files_are_complete_and_valid(analysis, tmp_path):
    written = write_analysis(analysis, tmp_path / "out", ["huozi analyse x"])
    assert all(path.stat().st_size > 500 for path in written)
    assert {p.name for p in written} >= {"analysis.json", "report.html", "rdf.svg", "msd.png"}
    text = (tmp_path / "out" / "analysis.json").read_text()
    loaded = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    curve = loaded["curves"]["radial_distribution"]["Ar-Ar"]["this run"]
    assert len(curve["r_A"]) == len(curve["g"]) == len(curve["error"]) == 200
    html = (tmp_path / "out" / "report.html").read_text()
    assert "thermostat: csvr" in html
    assert "Heat capacity at constant volume" in html


def water_frames(rng, frames):
    box = molecule("H2O", cell=[3.4, 3.3, 3.2], pbc=True) * (2, 2, 2)
    path = np.cumsum(rng.normal(0, 0.02, (frames, 24, 3)), axis=0)
    result = []
    for step, moved in enumerate(path):
        atoms = box.copy()
        atoms.positions += np.repeat(moved[:, :1].repeat(3, 1)[::3], 3, axis=0)
        atoms.wrap()
        atoms.info["time"] = 10.0 * step
        result.append(atoms)
    return result


def test_any_trajectory_is_unwrapped_and_compared_with_a_reference(tmp_path):
    rng = np.random.default_rng(0)
    frames = water_frames(rng, 60)
    write(tmp_path / "run.extxyz", frames)
    write(tmp_path / "reference.extxyz", water_frames(rng, 30))
    data = read_run(tmp_path / "run.extxyz")
    assert data.time_step == 10.0
    assert np.abs(np.diff(data.trajectory.positions, axis=0)).max() < 0.2
    result = analyse(tmp_path / "run.extxyz", tmp_path / "reference.extxyz", [("O", "H")])
    assert list(result.radial) == ["O-H"]
    assert set(result.radial["O-H"]) == {"this run", "reference"}
    entry = result.numbers["radial_distribution"]["O-H"]
    assert entry["first_shell"]["neighbours"] == pytest.approx(2)
    assert entry["deviation"]["error"] > 0
    assert list(result.angles) == ["H-O-H"]
    notes = " ".join(result.notes)
    assert "No vibrations: the trajectory has no velocities" in notes
    assert "No diffusion coefficient of H: the trajectory is too short" in notes


def test_frames_that_cannot_be_compared_are_left_out_of_a_reference(tmp_path):
    """An isolated atom and another crystal, as data sets hold them."""
    rng = np.random.default_rng(0)
    write(tmp_path / "run.extxyz", water_frames(rng, 20))
    others = [Atoms("O", positions=[[0, 0, 0]]), Atoms("Si2", cell=[5, 5, 5], pbc=True)]
    write(tmp_path / "mixed.extxyz", [others[0], *water_frames(rng, 10), others[1]])
    result = analyse(tmp_path / "run.extxyz", tmp_path / "mixed.extxyz", [("O", "H")])
    assert result.numbers["reference_frames"] == 10
    assert "2 of 12 frames are left out" in " ".join(result.notes)
    write(tmp_path / "others.extxyz", others)
    with pytest.raises(ValueError, match=r"reference .*others\.extxyz has no frames to compare"):
        analyse(tmp_path / "run.extxyz", tmp_path / "others.extxyz", [("O", "H")])


def test_a_trajectory_without_times_or_cell_says_what_is_left_out(tmp_path):
    rng = np.random.default_rng(1)
    frames = [Atoms("He2", positions=rng.uniform(size=(2, 3))) for _ in range(5)]
    write(tmp_path / "gas.xyz", frames)
    result = analyse(tmp_path / "gas.xyz")
    assert result.numbers["time_ps"] is None
    assert any("not periodic" in note for note in result.notes)
    assert any("--time-step" in note for note in result.notes)
    timed = analyse(tmp_path / "gas.xyz", time_step=2.0)
    assert timed.numbers["time_ps"] == pytest.approx(0.008)
    with pytest.raises(ValueError, match="does not know its times"):
        analyse(tmp_path / "gas.xyz", skip=1.0)


def test_hostile_paths(tmp_path):
    with pytest.raises(FileNotFoundError, match="no run and no trajectory"):
        analyse(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="no trajectory in"):
        analyse(tmp_path)
    (tmp_path / "junk.xyz").write_text("this is\nnot a trajectory")
    with pytest.raises(ValueError, match=r"junk.xyz is not a trajectory that ASE reads"):
        analyse(tmp_path / "junk.xyz")
    write(tmp_path / "mixed.extxyz", [Atoms("H"), Atoms("He")])
    with pytest.raises(ValueError, match=r"mixed.extxyz#1: other atoms"):
        analyse(tmp_path / "mixed.extxyz")


def test_the_box_correction_needs_a_cubic_box(tmp_path):
    frames = [bulk("Cu", cubic=True) for _ in range(12)]
    for atoms in frames:
        atoms.set_cell(atoms.cell * [1, 1, 1.5])
    write(tmp_path / "run.extxyz", frames)
    with pytest.raises(ValueError, match="needs a cubic box"):
        analyse(tmp_path / "run.extxyz", time_step=1000.0, viscosity=1.0)


def test_a_known_viscosity_corrects_diffusion_for_the_box(run):
    result = analyse(run, skip=0.5, viscosity=0.2)
    entry = result.numbers["diffusion_1e-5_cm2_s"]["Ar"]
    heat = result.numbers["temperature_K"]["value"]
    correction = yeh_hummer_correction(heat, 0.2, 10.8) * 1e4
    assert entry["finite_size_correction"] == pytest.approx(correction)
    labels = [label for label, _ in summary_rows(result)]
    assert "Diffusion coefficient of Ar, infinite box (10⁻⁵ cm²/s)" in labels


def test_vibrations_need_frames_close_together_and_enough_of_them(tmp_path):
    rng = np.random.default_rng(2)
    frames = water_frames(rng, 40)
    for atoms in frames:
        atoms.set_velocities(rng.normal(size=(24, 3)))
    write(tmp_path / "run.extxyz", frames)
    wide = analyse(tmp_path / "run.extxyz", pairs=[("O", "H")])
    assert any("fold everything above 1668 cm^-1" in note for note in wide.notes)
    short = analyse(tmp_path / "run.extxyz", pairs=[("O", "H")], time_step=1.0)
    assert any("40 frames of 1 fs are too few" in note for note in short.notes)
    longer = frames * 8
    write(tmp_path / "longer.extxyz", longer)
    result = analyse(tmp_path / "longer.extxyz", pairs=[("O", "H")], time_step=4.0)
    assert list(result.spectrum) == ["all", "H", "O"]
    for atoms in longer:
        atoms.numbers[atoms.numbers == 1] = 6
    write(tmp_path / "carbon.extxyz", longer)
    wide = analyse(tmp_path / "carbon.extxyz", pairs=[("O", "C")], time_step=8.0)
    assert any("save one every 6 fs or less" in note for note in wide.notes), "CO2 has 2350 cm^-1"


def test_times_that_make_no_sense(tmp_path):
    frames = water_frames(np.random.default_rng(2), 5)
    for atoms in frames:
        atoms.info["time"] = 0.0
    write(tmp_path / "still.extxyz", frames)
    result = analyse(tmp_path / "still.extxyz", pairs=[("O", "H")])
    assert any("the time between frames is not known" in note for note in result.notes)
    for step in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="time between frames must be positive"):
            analyse(tmp_path / "still.extxyz", time_step=step)
