"""Each engine against finite differences of its own energy, and against what must fail."""

from __future__ import annotations

import gc
import importlib.util
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.units import Bohr, GPa, Hartree

from huozi.labels import (
    LEVEL,
    AseLevel,
    Cp2kLevel,
    GpawLevel,
    LabelError,
    Level,
    PyscfLevel,
    XtbLevel,
    make_labeller,
)
from huozi.labels.cp2k_engine import read_output, write_input
from huozi.labels.labeller import charge_and_multiplicity


def missing(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        importlib.util.find_spec(package) is None, reason=f"{package} is not installed"
    )


needs_pyscf, needs_xtb, needs_gpaw = missing("pyscf"), missing("tblite"), missing("gpaw")
needs_cp2k = pytest.mark.skipif(shutil.which("cp2k") is None, reason="no program cp2k")


@pytest.fixture(autouse=True)
def one_thread(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[None]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    with warnings.catch_warnings():  # PySCF leaves its temporary files to the collector
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def bent_water() -> Atoms:
    atoms = molecule("H2O")
    atoms.positions += 0.05 * np.random.default_rng(0).normal(size=(3, 3))
    return atoms


def stretched_hydrogen() -> Atoms:
    return Atoms("H2", positions=[[0, 0, 0], [0.1, 0, 0.78]], cell=[4, 4, 4], pbc=True)


def difference(energy: Callable[[float], float], step: float) -> float:
    """Minus the derivative, from four points."""
    near, far = (energy(k * step) - energy(-k * step) for k in (1, 2))
    return -(8 * near - far) / (12 * step)


def check_forces(level: Level, atoms: Atoms, tolerance: float, step: float = 0.01) -> None:
    labeller = make_labeller(level)
    labels = labeller.label(atoms)
    assert labels.forces is not None

    def moved(shift: float) -> float:
        other = atoms.copy()
        other.positions[0, 2] += shift
        energy = labeller.label(other).energy
        assert energy is not None
        return energy

    assert labels.forces[0, 2] == pytest.approx(difference(moved, step), abs=tolerance)


def check_virial(level: Level, atoms: Atoms, tolerance: float, step: float = 0.005) -> None:
    labeller = make_labeller(level)
    labels = labeller.label(atoms)
    assert labels.virial is not None

    def strained(strain: float) -> float:
        other = atoms.copy()
        other.set_cell(atoms.cell.array @ np.diag([1, 1, 1 + strain]), scale_atoms=True)
        energy = labeller.label(other).energy
        assert energy is not None
        return energy

    assert labels.virial[2, 2] == pytest.approx(difference(strained, step), abs=tolerance)


@needs_pyscf
@pytest.mark.parametrize(
    ("settings", "tolerance"),
    [
        ({"method": "hf"}, 1e-4),
        ({"method": "pbe", "dispersion": "d4"}, 3e-3),  # of the grid, which moves with the atoms
        ({"method": "pbe0", "dispersion": "d3bj", "smearing": 1.0}, 3e-3),
        ({"method": "mp2"}, 1e-4),
        ({"method": "ccsd(t)"}, 1e-4),
    ],
)
def test_pyscf_forces_are_the_gradient_of_its_energy(settings: dict, tolerance: float) -> None:
    level = PyscfLevel(basis="sto-3g", convergence=1e-11, **settings)
    check_forces(level, bent_water(), tolerance, step=0.005)


@needs_pyscf
@pytest.mark.parametrize(("method", "dispersion"), [("hf", "d4"), ("hf", "d3bj")])
def test_forces_hold_the_dispersion(method: str, dispersion: str) -> None:
    """Of two atoms whose electrons hardly touch."""
    pair = Atoms("Ar2", positions=[[0, 0, 0], [0, 0, 3.8]])
    level = PyscfLevel(method=method, basis="sto-3g", dispersion=dispersion, convergence=1e-11)
    check_forces(level, pair, 1e-5)
    bare, found = (
        make_labeller(PyscfLevel(method=method, basis="sto-3g", dispersion=name)).label(pair)
        for name in ("none", dispersion)
    )
    assert bare.forces is not None
    assert found.forces is not None
    assert found.forces[0, 2] - bare.forces[0, 2] > 5e-3


@needs_pyscf
def test_pyscf_knows_the_energy_of_hydrogen() -> None:
    """An atom of one electron has no correlation: exactly -1/2 hartree in a complete basis."""
    atom = Atoms("H", info={"multiplicity": 2})
    found = make_labeller(PyscfLevel(method="hf", basis="cc-pvqz")).label(atom)
    assert found.energy == pytest.approx(-13.6057, abs=2e-3)
    assert (found.forces == np.zeros((1, 3))).all()


@needs_pyscf
def test_open_shell_triples_come_without_forces() -> None:
    level = PyscfLevel(method="ccsd(t)", basis="sto-3g", charge=1, multiplicity=2)
    labels = make_labeller(level).label(molecule("H2O"))
    assert labels.forces is None
    assert labels.energy is not None


@needs_pyscf
def test_pyscf_labels_cells_at_gamma() -> None:
    level = PyscfLevel(basis="gth-szv", pseudo="gth-pbe", cell_cutoff=60)
    check_forces(level, stretched_hydrogen(), 0.02)
    with pytest.raises(LabelError, match="without exact exchange and a pseudopotential"):
        make_labeller(PyscfLevel(method="pbe0")).label(stretched_hydrogen())


@needs_pyscf
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "pbf"}, "nor a functional"),
        ({"method": "mp2", "smearing": 0.1}, "smearing"),
        ({"method": "ccsd", "dispersion": "d4"}, "dispersion"),
    ],
)
def test_pyscf_refuses_impossible_levels(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_labeller(PyscfLevel(**settings))


@needs_xtb
@pytest.mark.parametrize("method", ["GFN1-xTB", "GFN2-xTB"])
def test_xtb_forces_and_virial(method: str) -> None:
    level = LEVEL.validate_python({"engine": "xtb", "method": method, "accuracy": 0.01})
    check_forces(level, bent_water(), 3e-3, step=0.005)
    if method == "GFN1-xTB":
        check_virial(level, stretched_hydrogen(), 3e-3)


@needs_gpaw
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_gpaw_forces_and_virial() -> None:
    atoms = bulk("Al") * (1, 1, 2)
    atoms.positions[0] += [0.1, 0.0, 0.15]
    level = GpawLevel(cutoff=250, kpoint_density=1.5, convergence=1e-7)
    check_forces(level, atoms, 0.02)


@needs_gpaw
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_gpaw_gives_a_cell_and_its_multiple_the_same_energy_an_atom() -> None:
    level = GpawLevel(cutoff=150, kpoint_density=1.4, gamma=False, convergence=1e-7)
    labeller = make_labeller(level)
    one, two = (labeller.label(bulk("Al") * (1, 1, n)).energy for n in (1, 2))
    assert two / 2 == pytest.approx(one, abs=1e-3)


@needs_cp2k
def test_cp2k_forces_and_virial() -> None:
    level = Cp2kLevel(basis="SZV-MOLOPT-SR-GTH", cutoff=240)
    check_forces(level, stretched_hydrogen(), 0.02)
    check_virial(level, stretched_hydrogen(), 0.02)


@needs_pyscf
def test_smearing_keeps_the_multiplicity() -> None:
    """The triplet of H2, 10 eV above the singlet; one electron cannot be smeared."""
    pair = molecule("H2")
    settings = {"method": "hf", "basis": "sto-3g"}

    def energy(atoms: Atoms, multiplicity: int, smearing: float) -> float:
        level = PyscfLevel(**settings, multiplicity=multiplicity, smearing=smearing)
        found = make_labeller(level).label(atoms).energy
        assert found is not None
        return found

    assert energy(pair, 3, 0.05) == pytest.approx(energy(pair, 3, 0.0), abs=1e-6)
    assert energy(pair, 3, 0.05) > energy(pair, 1, 0.05) + 5
    atom = Atoms("H")
    assert energy(atom, 2, 0.1) == pytest.approx(energy(atom, 2, 0.0), abs=1e-9)


@needs_pyscf
def test_smearing_keeps_the_dispersion() -> None:
    """Of a molecule with a gap, which smearing does not touch otherwise."""
    settings = {"method": "pbe", "basis": "sto-3g", "dispersion": "d3bj"}
    energies = [
        make_labeller(PyscfLevel(**settings, smearing=width)).label(bent_water()).energy
        for width in (0.0, 0.05)
    ]
    assert energies[1] == pytest.approx(energies[0], abs=1e-5)


def test_cp2k_holds_the_moment_of_a_multiplicity_with_smearing() -> None:
    free = write_input(bulk("Al", cubic=True), Cp2kLevel(smearing=0.1))
    assert "FIXED_MAGNETIC_MOMENT -100" in free
    assert "MAX_SCF 200" in free
    held = write_input(bulk("Fe"), Cp2kLevel(smearing=0.1, multiplicity=3))
    assert "FIXED_MAGNETIC_MOMENT 2" in held


def test_an_output_of_cp2k_is_read_in_our_units() -> None:
    text = (Path(__file__).parents[1] / "systems" / "data" / "cp2k_h2.out").read_text()
    with pytest.raises(LabelError, match="did not reach its end"):
        read_output(text, text, Atoms("H2", cell=[5, 5, 5], pbc=True))
    text += "  **** PROGRAM ENDED AT ****\n"
    found = read_output(text, text, Atoms("H2", cell=[5, 5, 5], pbc=True))
    assert found.energy == pytest.approx(-1.160372628354147 * Hartree, rel=1e-7)  # its own CODATA
    assert found.forces is not None
    exact = np.array([0.02170290, -0.02087463]) * Hartree / Bohr
    np.testing.assert_allclose(found.forces[:, 2], exact, atol=1e-7)
    assert found.virial is not None
    assert found.virial[2, 2] == pytest.approx(-1.51872486377 * GPa * 125, rel=1e-6)
    with pytest.raises(LabelError, match="no stress tensor"):
        read_output(text.replace("STRESS|", ""), text, Atoms("H2", cell=[5, 5, 5], pbc=True))


def test_cp2k_that_stops_unconverged_says_so() -> None:
    text = "SCF run NOT converged. To continue the calculation regardless, set IGNORE_..."
    with pytest.raises(LabelError, match="SCF did not converge"):
        read_output(text, "", bulk("Al"))
    with pytest.raises(LabelError, match="did not reach its end"):
        read_output("", "", bulk("Al"))


@pytest.mark.parametrize(
    ("level", "atoms", "message"),
    [
        pytest.param(
            XtbLevel(), Atoms("H2", [[0, 0, 0], [0, 0, 0.74]], cell=[6, 6, 15], pbc=[1, 1, 0]),
            "periodic in all directions", marks=needs_xtb,
        ),
        pytest.param(
            PyscfLevel(pseudo="gth-pbe", basis="gth-dzvp"), molecule("H2"), "is for cells",
            marks=needs_pyscf,
        ),
        pytest.param(
            PyscfLevel(method="pbe", pseudo="gth-pbe"),
            Atoms("H2", [[0, 0, 0], [0, 0, 0.74]], cell=[6, 6, 6], pbc=True),
            "needs a basis made for it, such as gth-dzvp; found def2-svp", marks=needs_pyscf,
        ),
        (
            AseLevel(calculator="ase.calculators.emt:EMT"), Atoms("Cu", info={"charge": 1}),
            "do not see the frame's charge, 1",
        ),
    ],
)  # fmt: skip
def test_what_an_engine_cannot_do_is_no_label(level: Level, atoms: Atoms, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        make_labeller(level).label(atoms)


@pytest.mark.parametrize(
    ("level", "message"),
    [
        pytest.param(PyscfLevel(method="mp2", density_fit=True), "density_fit", marks=needs_pyscf),
        pytest.param(
            PyscfLevel(method="ccsd(t)", density_fit=True), "of other integrals", marks=needs_pyscf
        ),
        (AseLevel(calculator="ase.calculators.emt:EMT", multiplicity=3), "do not see charge"),
    ],
)
def test_impossible_levels(level: Level, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_labeller(level)


def test_ase_calculators() -> None:
    level = AseLevel(calculator="ase.calculators.emt:EMT")
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=1)
    check_forces(level, atoms, 1e-5, step=1e-3)
    check_virial(level, atoms, 1e-4, step=1e-3)


@pytest.mark.parametrize(
    "level",
    [
        pytest.param(PyscfLevel(basis="sto-3g", max_steps=2), marks=needs_pyscf),
        pytest.param(XtbLevel(max_steps=2), marks=needs_xtb),
        pytest.param(Cp2kLevel(cutoff=100, max_steps=1, convergence=1e-14), marks=needs_cp2k),
    ],
)
def test_an_unconverged_frame_is_no_label(level: Level) -> None:
    atoms = stretched_hydrogen() if isinstance(level, Cp2kLevel) else molecule("H2O")
    with pytest.raises(LabelError, match="not converge"):
        make_labeller(level).label(atoms)


@pytest.mark.parametrize(
    "level",
    [pytest.param(PyscfLevel(), marks=needs_pyscf), pytest.param(XtbLevel(), marks=needs_xtb)],
)
def test_electrons_and_spin_must_fit(level: Level) -> None:
    atoms = molecule("H2O")
    atoms.info["charge"] = 1
    with pytest.raises(LabelError, match=r"9 electrons .* multiplicity 1"):
        make_labeller(level).label(atoms)


def test_a_missing_engine_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "PATH", "")
    with pytest.raises(ImportError, match="apt-get install cp2k"):
        make_labeller(Cp2kLevel())
    with pytest.raises(ImportError, match="no calculator nowhere:Nothing"):
        make_labeller(AseLevel(calculator="nowhere:Nothing"))


def test_a_metal_may_have_an_odd_number_of_electrons() -> None:
    one = bulk("Al")
    assert charge_and_multiplicity(one, GpawLevel(), metal=True) == (0, 1)
    with pytest.raises(LabelError, match=r"13 electrons .* multiplicity 1"):
        charge_and_multiplicity(one, GpawLevel())
    with pytest.raises(LabelError, match=r"13 electrons .* multiplicity 3"):
        charge_and_multiplicity(one, GpawLevel(multiplicity=3), metal=True)
