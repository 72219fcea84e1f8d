"""``pair_style huozi`` gives what JAX gives in double precision, on any number of processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from huozi.potential import Ensemble, load_model
from huozi.systems import System
from tests.lammps.conftest import exact, found, run, voigt

ORTHOGONAL = np.diag([7.0, 8.0, 9.0])
TRICLINIC = np.array([[7.0, 0, 0], [2.5, 6.5, 0], [-2.0, 1.5, 7.5]])
SMALL_CELL = np.array([[3.1, 0, 0], [0.9, 3.3, 0], [0.4, -0.7, 3.0]])


def system(cell: np.ndarray, atoms: int, pbc: tuple[bool, bool, bool], seed: int = 0) -> System:
    """Hydrogen and oxygen at random, not closer than 0.8 Å, away from open faces."""
    rng = np.random.default_rng(seed)
    positions = np.zeros((0, 3))
    while len(positions) < atoms:
        new = (0.02 + 0.96 * rng.uniform(size=3)) @ cell
        if all(np.linalg.norm(positions - new, axis=1) > 0.8):
            positions = np.vstack([positions, new])
    species = np.where(np.arange(atoms) % 3 == 0, 8, 1)
    return System(species, positions, cell, np.array(pbc))


CASES = {
    "orthogonal": system(ORTHOGONAL, 48, (True, True, True)),
    "triclinic": system(TRICLINIC, 40, (True, True, True)),
    "slab": system(np.diag([7.0, 8.0, 30.0]), 40, (True, True, False)),
    "gas": system(np.diag([40.0, 40.0, 40.0]), 12, (False, False, False)),
    "many images": system(SMALL_CELL, 6, (True, True, True)),
    "one atom": System(np.array([8]), np.full((1, 3), 20.0), 40.0 * np.eye(3), np.zeros(3, bool)),
}


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_equals_jax(tmp_path: Path, models: list[Path], name: str, ranks: int) -> None:
    """One atom on two processes leaves one of them empty."""
    case = CASES[name]
    right = exact(models[0]).evaluate(case)
    result = found(tmp_path, run(tmp_path, case, f"huozi {models[0]}", ranks))
    scale = np.abs(right.forces).max()
    assert result.energy == pytest.approx(float(right.energy), rel=1e-6, abs=1e-6)
    np.testing.assert_allclose(result.forces, right.forces, 0, 1e-5 * scale + 1e-6)
    size = np.abs(right.virial).max()
    np.testing.assert_allclose(result.virial, voigt(right.virial), 0, 1e-5 * size + 1e-5)
    assert result.energies.sum() == pytest.approx(result.energy, rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(result.virials.sum(axis=0), result.virial, 0, 1e-6 * size + 1e-6)


@pytest.mark.parametrize("kind", ["moment", "deeppot"])
@pytest.mark.parametrize("name", ["triclinic", "many images"])
def test_processes_and_threads_agree(
    tmp_path: Path, models: list[Path], deeppot: Path, name: str, kind: str
) -> None:
    """To the last bit, also after 20 steps with searches on the way.

    Velocities start at zero: LAMMPS scales random ones by a sum over processes.
    """
    commands = "neigh_modify every 5 delay 0 check no\nfix 1 all nve\ntimestep 0.0002\nrun 20"
    first, last = [], []
    for ranks, threads in ((1, 1), (2, 1), (4, 1), (1, 2)):
        folder = tmp_path / f"{ranks}-{threads}"
        folder.mkdir()
        style = f"huozi {deeppot if kind == 'deeppot' else models[0]}"
        done = run(folder, CASES[name], style, ranks, commands, threads=threads)
        first.append(found(folder, done))
        last.append(found(folder, done, -1))
    size = np.abs(first[0].forces).max()
    assert size > 0.1
    assert np.abs(last[0].forces - first[0].forces).max() > 1e-3
    for results in (first, last):
        for other in results[1:]:
            np.testing.assert_array_equal(other.energies, results[0].energies)
            np.testing.assert_array_equal(other.forces, results[0].forces)
            assert other.energy == pytest.approx(results[0].energy, rel=1e-14)
            np.testing.assert_allclose(other.virials, results[0].virials, 0, 1e-12 * size)


@pytest.mark.parametrize("ranks", [1, 2])
def test_deviation_of_three_models(tmp_path: Path, models: list[Path], ranks: int) -> None:
    """Columns and definitions of deepmd-kit's model_devi.out; also as a compute."""
    case = CASES["orthogonal"]
    style = f"huozi {' '.join(map(str, models))} out_freq 2 out_file devi.out"
    commands = "compute d all pair huozi\nthermo_style custom step pe c_d[4] c_d[6]\nthermo 1\n"
    commands += "fix 1 all nve\ntimestep 0.0001\nrun 4\nrun 1"
    done = run(tmp_path, case, style, ranks, commands)
    assert done.returncode == 0, done.stdout
    lines = (tmp_path / "devi.out").read_text().splitlines()
    names = [f"{a}_devi_{b}" for b in "vf" for a in ("max", "min", "avg")]
    assert lines[0].lstrip("#").split() == ["step", *names]
    table = np.array([[float(x) for x in line.split()] for line in lines[1:]])
    assert table[:, 0].tolist() == [0, 2, 4]

    each = [exact(path).evaluate(case) for path in models]
    forces = np.linalg.norm(np.std([e.forces for e in each], axis=0), axis=-1)
    virial = np.std([e.virial for e in each], axis=0) / len(case)
    expected = [virial.max(), virial.min(), np.sqrt((virial**2).mean())]
    expected += [forces.max(), forces.min(), forces.mean()]
    np.testing.assert_allclose(table[0, 1:], expected, rtol=1e-3, atol=1e-5)
    row = next(line for line in done.stdout.splitlines() if line.split()[:1] == ["0"])
    np.testing.assert_allclose([float(x) for x in row.split()[2:]], expected[3::2], rtol=1e-3)
    np.testing.assert_allclose(read_forces(tmp_path), each[0].forces, 0, 1e-4)


def test_an_ensemble_stands_for_its_models(tmp_path: Path, models: list[Path]) -> None:
    """One file with three models gives what three files give; the rest of the run is the same."""
    Ensemble(tuple(load_model(path) for path in models)).save(tmp_path / "all.safetensors")
    left = {}
    for name, files in (("listed", models), ("joined", ["../all.safetensors"])):
        (tmp_path / name).mkdir()
        style = f"huozi {' '.join(map(str, files))} out_freq 2"
        commands = "fix 1 all nve\ntimestep 0.0001\nrun 4"
        done = run(tmp_path / name, CASES["orthogonal"], style, 2, commands)
        assert done.returncode == 0, done.stdout
        left[name] = [(tmp_path / name / f).read_text() for f in ("model_devi.out", "dump.txt")]
    assert left["joined"] == left["listed"]
    assert len(left["joined"][0].splitlines()) == 4


def test_an_ensemble_without_all_its_tensors_is_refused(tmp_path: Path, models: list[Path]) -> None:
    Ensemble(tuple(load_model(path) for path in models)).save(tmp_path / "all.safetensors")
    content = (tmp_path / "all.safetensors").read_bytes()
    (tmp_path / "all.safetensors").write_bytes(
        content.replace(b'"members.2.readout"', b'"members.9.readout"')
    )
    done = run(tmp_path, CASES["gas"], "huozi all.safetensors")
    assert done.returncode != 0
    said = " ".join((done.stdout + done.stderr).split())
    assert "all.safetensors: the header lacks members.2.readout" in said


def read_forces(folder: Path) -> np.ndarray:
    """Forces of the first frame."""
    lines = (folder / "dump.txt").read_text().split("ITEM: TIMESTEP")[1].splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("ITEM: ATOMS"))
    return np.array([[float(x) for x in line.split()[1:4]] for line in lines[at + 1 :]])


def test_types_without_an_element_are_not_seen(tmp_path: Path, models: list[Path]) -> None:
    """Helium of another pair style among the atoms of the model."""
    water, extra = CASES["triclinic"], system(TRICLINIC, 5, (True, True, True), seed=9)
    mixed = System(
        np.concatenate([water.species, np.full(5, 2)]),
        np.concatenate([water.positions, extra.positions]),
        water.cell,
        water.pbc,
    )
    coefficients = "pair_coeff * * huozi H NULL O\npair_coeff * 2 zero\npair_coeff 2 3 zero"
    done = run(tmp_path, mixed, f"hybrid huozi {models[0]} zero 4.0", 1, coefficients=coefficients)
    result, right = found(tmp_path, done), exact(models[0]).evaluate(water)
    scale = np.abs(right.forces).max()
    assert result.energy == pytest.approx(float(right.energy), rel=1e-6)
    np.testing.assert_allclose(result.forces[: len(water)], right.forces, 0, 1e-5 * scale)
    assert not result.forces[len(water) :].any()


@pytest.mark.parametrize(
    ("style", "coefficients", "message"),
    [
        ("huozi nothing.safetensors", None, "no model file nothing.safetensors"),
        ("huozi", None, "needs the name of a model file"),
        ("huozi in.lammps", None, "not a whole safetensors file"),
        ("huozi MODEL out_freq often", None, "out_freq is a number of steps, found 'often'"),
        ("huozi MODEL out_file", None, "out_file needs a value"),
        ("huozi MODEL out_freq 5 b", None, "b needs a value"),
        ("huozi MODEL", "pair_coeff * * H", "an element for each of the 2 atom types"),
        ("huozi MODEL", "pair_coeff 1 1 H O", "Pair_coeff must start with * *"),
        ("huozi MODEL", "pair_coeff * * H Xx", "'Xx' is no element"),
        ("huozi MODEL", "pair_coeff * * H Cu", "was not trained on Cu"),
        ("huozi MODEL", "pair_coeff * * H NULL", "All pair coeffs are not set"),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path,
    models: list[Path],
    style: str,
    coefficients: str | None,
    message: str,
) -> None:
    style = style.replace("MODEL", str(models[0]))
    done = run(tmp_path, CASES["gas"], style, 1, "run 0", coefficients)
    assert done.returncode != 0
    said = " ".join((done.stdout + done.stderr).split())
    assert message in said


def test_the_style_given_again_wants_its_elements_again(tmp_path: Path, models: list[Path]) -> None:
    style, elements = f"huozi {' '.join(map(str, models))} out_freq 1", "pair_coeff * * H O"
    again = f"fix 1 all nve\nrun 1\npair_style {style} out_file more.out\n"
    done = run(tmp_path, CASES["gas"], style, 1, f"{again}run 1")
    assert "All pair coeffs are not set" in done.stdout + done.stderr
    done = run(tmp_path, CASES["gas"], style, 1, f"{again}{elements}\nrun 1\nrun 1")
    assert done.returncode == 0, done.stdout
    steps = [np.loadtxt(tmp_path / name)[:, 0] for name in ("model_devi.out", "more.out")]
    assert [s.astype(int).tolist() for s in steps] == [[0, 1], [1, 2, 3]]


@pytest.mark.parametrize(
    ("setting", "message"),
    [({"units": "real"}, "units metal"), ({"newton": "off"}, "needs 'newton on'")],
)
def test_other_settings_are_refused(
    tmp_path: Path, models: list[Path], setting: dict[str, str], message: str
) -> None:
    done = run(tmp_path, CASES["gas"], f"huozi {models[0]}", **setting)
    assert message in done.stdout + done.stderr
    assert done.returncode != 0
