"""The summary against values computed by hand and by ASE."""

import json

import numpy as np
import pytest
from ase import units

from huozi.systems import Dataset, Frame, Labels, System, info
from huozi.systems.summary import formula


def test_summary(alloy):
    summary = info(alloy)
    assert (summary.frames, summary.atoms) == (60, 60 * 32)
    assert summary.elements == ("Cu", "Au")
    assert summary.compositions == {"Au16Cu16": 30, "Cu32": 30}
    assert summary.groups == {f"g{k}": 12 for k in range(5)}
    assert summary.periodicity == {"periodic": 60}
    assert summary.notes == ("made for tests",)
    atoms = [f.to_atoms() for f in alloy]
    density = [a.get_masses().sum() / a.get_volume() / (units.kg / units.m**3) / 1e3 for a in atoms]
    assert summary.density.mean == pytest.approx(np.mean(density))
    assert summary.density.max == pytest.approx(np.max(density))
    pressures = [-a.get_stress()[:3].sum() / 3 / units.GPa for a in atoms]
    assert summary.pressure.min == pytest.approx(np.min(pressures))
    forces = np.concatenate([a.get_forces() for a in atoms])
    assert summary.force_rms == pytest.approx(np.sqrt(np.mean(forces**2)))
    assert summary.force_max.max == pytest.approx(np.linalg.norm(forces, axis=1).max())
    energies = [a.get_potential_energy() / 32 for a in atoms]
    assert summary.energy.std == pytest.approx(np.std(energies))
    assert summary.energy_after_e0.std < summary.energy.std
    assert summary.e0_determined
    assert json.loads(json.dumps(summary.as_dict()))["sizes"]["max"] == 32


def test_unlabelled_and_mixed_frames(alloy):
    lone = Frame(System(np.array([8]), np.zeros((1, 3)), np.zeros((3, 3)), np.zeros(3, bool)))
    slab = Frame(
        System(np.array([6]), np.zeros((1, 3)), np.eye(3), np.array([True, True, False])),
        info={"config_type": "slab"},
    )
    summary = info(Dataset((lone, slab)))
    assert summary.periodicity == {"open": 1, "partly periodic": 1}
    assert summary.density is summary.energy is summary.pressure is summary.force_rms is None
    assert summary.e0 == {}
    assert summary.groups == {"slab": 1}
    labelled = Dataset((lone, Frame(lone.system, Labels(-3.0))))
    assert info(labelled).e0 == {"O": -3.0}
    assert info(labelled).e0_isolated == ("O",)
    assert info(labelled).energy.frames == 1


def test_no_frames():
    with pytest.raises(ValueError, match="no frames"):
        info(Dataset(()))


def test_formula_is_hills():
    assert formula([5, 2, 1, 1], (1, 6, 8, 17)) == "C2H5ClO"
    assert formula([2, 1], (1, 8)) == "H2O"
    assert formula([0, 1], (1, 8)) == "O"
