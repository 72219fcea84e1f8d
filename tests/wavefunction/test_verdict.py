"""What the verdict says, clause by clause."""

from __future__ import annotations

import numpy as np
import pytest

from huozi.wavefunction import Estimate, Projection, judge, judge_projection

QUIET = np.random.default_rng(0).normal(0, 1e-5, 60)
FLAT, STEADY = -2.9 + QUIET, np.full(60, 0.01)
SPENT = np.linspace(0.02, 0.01, 60)


def said(energies, variances, references, energy=-2.9, spin=0.0):
    estimate = Estimate(
        energy, 1e-5, 0.01, 1.0, 0.5, 1.0, 100, 0, 0, [0.0] * 3, [0.0] * 3, [], [], spin, 1e-3
    )
    steps = [{"energy_Ha": e, "variance": v} for e, v in zip(energies, variances)]
    return judge(estimate, steps, references, unpaired=0)


@pytest.mark.parametrize(
    ("clauses", "energies", "variances", "references", "options"),
    [
        ([], FLAT, STEADY, {}, {}),
        (["still fell by 1.0"], FLAT - np.linspace(0, 6e-3, 60), STEADY, {}, {}),
        (["drift of the energy is known to"], -2.9 + 100 * QUIET, STEADY, {}, {}),
        (["drift of the energy is known to nan"], FLAT * np.nan, STEADY, {}, {}),
        (["too short to tell a drift"], FLAT[:20], STEADY[:20], {}, {}),
        # The energy is 0.4 (variance) above -2.91; the drift that comes with it is half as much.
        (
            ["still fell", "zero variance lies 10.0 mHa lower"],
            -2.91 + 0.4 * SPENT + QUIET, SPENT, {}, {"energy": -2.9},
        ),
        (["HF is lower, by 1.00 mHa"], FLAT, STEADY, {"HF": -2.901}, {}),
        (["no pure spin (<S^2> = 1.00)"], FLAT, STEADY, {}, {"spin": 1.0}),
        ([], FLAT, STEADY, {}, {"spin": 2.0}),
    ],
)  # fmt: skip
def test_every_reason_is_named(clauses, energies, variances, references, options):
    verdict, numbers = said(energies, variances, references, **options)
    assert verdict.startswith("not converged: " if clauses else "converged: no drift")
    assert len(verdict.removesuffix("; run train again with a larger budget").split("; ")) == max(
        len(clauses), 1
    )
    for clause in clauses:
        assert clause in verdict
    assert numbers["references_Ha"] == references


def test_what_lies_below_a_reference_is_said():
    verdict, numbers = said(FLAT, STEADY, {"HF": -2.8617})
    assert verdict == "converged: no drift, 38.3 mHa below HF"
    assert abs(numbers["drift_Ha"]) < 3 * numbers["drift_stderr_Ha"]


@pytest.mark.parametrize(
    ("clauses", "references", "found"),
    [
        ([], {"HF": -2.8}, {}),
        (["still fell by 0.50 mHa (give diffuse a larger budget)"], {}, {"drift_Ha": -5e-4}),
        ([], {}, {"drift_Ha": 5e-4}),
        ([], {}, {"drift_Ha": -5e-5}),
        (["known to 2.00 mHa only"], {}, {"drift_stderr_Ha": 2e-3}),
        (["known to nan mHa only"], {}, {"drift_stderr_Ha": np.nan}),
        (["5.0 % of the moves were refused (take a shorter"], {}, {"acceptance": 0.95}),
        (["0.8/Ha of imaginary time only"], {}, {"imaginary_time": 0.8}),
        (
            ["still fell", "HF is lower, by 1.00 mHa (its nodes are poor: train longer)"],
            {"HF": -2.901}, {"drift_Ha": -5e-4},
        ),
    ],
)  # fmt: skip
def test_every_reason_not_to_trust_a_projection_is_named(clauses, references, found):
    run = {
        "energy_Ha": -2.9, "stderr_Ha": 1e-5, "variance_Ha2": 0.01, "autocorrelation_time": 5.0,
        "acceptance": 0.99, "seconds": 1.0, "samples": 100, "lost": 0, "seed": 0,
        "time_step": 0.01, "imaginary_time": 9.0, "discarded": 0.1, "start_Ha": -2.89,
        "start_stderr_Ha": 1e-4, "drift_Ha": 0.0, "drift_stderr_Ha": 1e-5,
    }  # fmt: skip
    verdict = judge_projection(Projection(**run | found), references)
    assert verdict.startswith("not converged: " if clauses else "converged: no drift")
    assert len(verdict.split("; ")) == max(len(clauses), 1)
    for clause in clauses:
        assert clause in verdict
