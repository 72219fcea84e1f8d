"""The quick pair potential: its own derivatives, and data it can represent exactly."""

from dataclasses import replace

import numpy as np
import pytest

from huozi.systems import Dataset, Frame, Labels, System
from huozi.systems.consistency import fitted_ratios, trajectory_ratios
from huozi.systems.pairfit import fit_pair_model


def test_forces_and_virial_are_derivatives_of_the_energy(alloy):
    model = fit_pair_model(alloy.frames)
    assert model.explained > 0.6
    system = alloy[1].system
    energy, forces, virial = model.predict(system)
    rng = np.random.default_rng(0)
    step = 1e-5
    move = rng.normal(size=forces.shape)
    strain = rng.normal(size=(3, 3))
    for moved, expected in (
        (lambda h: replace(system, positions=system.positions + h * move), -np.sum(forces * move)),
        (
            lambda h: replace(
                system,
                positions=system.positions @ (np.eye(3) + h * strain),
                cell=system.cell @ (np.eye(3) + h * strain),
            ),
            -np.sum(virial * strain),
        ),
    ):
        slope = (model.predict(moved(step))[0] - model.predict(moved(-step))[0]) / (2 * step)
        assert slope == pytest.approx(expected, rel=1e-6)


def test_its_own_labels_are_recovered(alloy):
    teacher = fit_pair_model(alloy.frames)

    def relabel(frame):
        energy, forces, virial = teacher.predict(frame.system)
        return replace(frame, labels=Labels(energy, forces, virial))

    taught = [relabel(f) for f in alloy]
    model = fit_pair_model(taught)
    assert model.explained > 0.999
    for ratio in fitted_ratios(taught, model):
        assert ratio.value == pytest.approx(1, abs=0.05)
        assert ratio.agrees


def test_trajectory_ratios_are_one(trajectory):
    (ratio,) = trajectory_ratios(trajectory.frames)
    assert (ratio.label, ratio.other) == ("energy", "forces")
    assert ratio.value == pytest.approx(1, abs=0.02)


def test_too_little_data(alloy):
    assert fit_pair_model([]) is None
    assert fit_pair_model(alloy.frames[:1]) is None
    still = [
        replace(f, labels=Labels(forces=np.zeros_like(f.system.positions))) for f in alloy.frames
    ]
    assert fit_pair_model(still) is None
    few = fitted_ratios(alloy.frames[:4], fit_pair_model(alloy.frames))
    assert [r.label for r in few] == ["virial"]  # 36 numbers; four energies are too few


def test_steps_that_are_no_steps(trajectory):
    bare = [replace(f, labels=Labels(f.labels.energy)) for f in trajectory]
    assert trajectory_ratios(bare) == []
    opened = [
        replace(f, system=replace(f.system, pbc=np.full(3, k % 2 == 0)))
        for k, f in enumerate(trajectory)
    ]
    assert trajectory_ratios(opened) == []
    assert trajectory_ratios(trajectory.frames[::15]) == []
    unlabelled = [replace(f, labels=replace(f.labels, virial=None)) for f in trajectory]
    stretched = [
        replace(f, system=replace(f.system, cell=f.system.cell * (1 + 0.001 * k)))
        for k, f in enumerate(unlabelled)
    ]
    assert trajectory_ratios(stretched) == []


def test_far_atoms_exert_nothing():
    lone = System(np.array([29]), np.zeros((1, 3)), np.zeros((3, 3)), np.zeros(3, bool))
    pair = System(np.array([29, 29]), np.eye(3)[:2] * 9, np.zeros((3, 3)), np.zeros(3, bool))
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(100):
        x = rng.normal(0, 2, (8, 3))
        system = System(np.full(8, 29), x, np.zeros((3, 3)), np.zeros(3, bool))
        frames.append(Frame(system, Labels(0.0, rng.normal(size=(8, 3)))))
    model = fit_pair_model(Dataset(tuple(frames)).frames)
    for system in (lone, pair):
        energy, forces, virial = model.predict(system)
        assert energy == 0
        assert not forces.any()
        assert not virial.any()
