"""Fitting a functional to energies and forces at the densities of the current one.

The energy of a self-consistent field is stationary in its density, so at fixed density the
derivative of the energy by the model's parameters is exact. With features x_I and their motions
J_I = dx_I along nuclear coordinates and along mixtures of orbitals (`samples.py`),

    loss = sum_frames w_E^2 (E_delta - e)^2 / atoms^2 + w_F^2 |F_delta - f|^2 + w_P^2 |pull|^2
         + w_D^2 |pull - pull of the reference density|^2 + ridge^2 |w_1|^2 + curvature^2 |w_k>1|^2
    F_delta = - sum_I de/dx_I J_I(nuclei),      pull = sum_I de/dx_I J_I(orbitals)

where e and f are what the reference has beyond the base method's part at this density. The pull
measures the energy that the field gains by following the model away from this density; kept
small, the field stays stable and what was fitted at this density holds at the next. A reference
density says what the pull should be (`samples.missing_pull`): frames that have one are fitted to
that and not to zero. The linear
part has its minimum in closed form. A network, if wanted, starts from it, sees the leading
principal components of the features, and is found by L-BFGS with exact gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from huozi.arrays import jax, jnp
from huozi.functional.invariants import powers
from huozi.functional.model import Model, Params, atomic_energies
from huozi.functional.projection import Array, shell_counts
from huozi.functional.samples import PROBES, Sample

FLOOR = 1e-3
"""Added to the spread of a feature, so that one that hardly varies is not blown up."""


class FitConfig(BaseModel):
    """How a functional is fitted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    energy_weight: float = Field(
        100.0, ge=0, description="Weight of the energy per atom, 1/hartree."
    )
    force_weight: float = Field(1.0, ge=0, description="Weight of forces, bohr/hartree.")
    pull_weight: float = Field(0.01, ge=0, description="Weight of the pull, 1/sqrt(hartree).")
    density_weight: float = Field(
        0.03, ge=0, description="Weight of the pull where there is a density, 1/sqrt(hartree)."
    )
    ridge: float = Field(1e-2, gt=0, description="Penalty on coefficients, 1/hartree.")
    curvature: float = Field(
        30.0, gt=0, description="Penalty on coefficients of powers above the first, 1/hartree."
    )
    power: int = Field(
        3, ge=1, description="Highest power of the density matrix among the linear features."
    )
    hidden: int = Field(0, ge=0, description="Width of the network; 0 is the linear model.")
    components: int = Field(12, ge=1, description="Principal components that the network sees.")
    network_ridge: float = Field(1e-2, gt=0, description="Penalty on the network's weights.")
    steps: int = Field(300, ge=1, description="Steps of L-BFGS.")
    seed: int = Field(0, description="Random seed of the network.")


@dataclass(frozen=True, eq=False)
class Target:
    """A sample and what the reference has beyond the base method at its density.

    `kinds` (m,) are elements, `energy` is in hartree, `forces` (3 natm,) in hartree/bohr or None,
    `pull` (probes,) what it should be; None, without a reference density, is zero. `weight`
    multiplies that of the energy.
    """

    kinds: Array
    features: Array
    motions: Array
    energy: float
    forces: Array | None
    pull: Array | None = None
    weight: float = 1.0

    def aim(self, config: FitConfig) -> tuple[float, Array]:
        """Weight and wanted value of the pull."""
        if self.pull is None:
            return config.pull_weight, np.zeros(PROBES)
        return config.density_weight, self.pull


def target(
    sample: Sample,
    model: Model,
    kinds: Array,
    energy: float,
    forces: Array | None,
    weight: float = 1.0,
) -> Target:
    """Subtract the base method's part, that is all but the part of the model that was sampled."""
    slopes = np.asarray(_slopes(model.params, kinds, sample.features))
    own = np.einsum("if,ifd->d", slopes, sample.motions)
    beyond = None if forces is None else (forces - sample.forces).ravel() - own[:-PROBES]
    pull = own[-PROBES:] + sample.missing if len(sample.missing) else None
    excess = energy - (sample.energy - sample.delta)
    return Target(kinds, sample.features, sample.motions, excess, beyond, pull, weight)


@jax.jit
def _slopes(params: Params, kinds: Any, features: Any) -> Any:
    return jax.grad(lambda x: jnp.sum(atomic_energies(params, kinds, x)))(features)


def fit(targets: Sequence[Target], start: Model, config: FitConfig) -> Model:
    """Fit all parameters to samples taken at one set of densities.

    Parameters
    ----------
    targets : sequence of Target
    start : Model
        For base, orbitals and basis; its parameters are replaced.
    config : FitConfig

    Raises
    ------
    ValueError
        If there are no targets, or an element of the model occurs in none.
    """
    if not targets:
        raise ValueError("no frames to fit: none of the fields converged")
    params = standardise(targets, start)
    used = np.array(powers(shell_counts(start.basis)))
    mask = (used >= 1) & (used <= config.power)
    if any(np.abs(t.features[:, used == 0]).max() > 1e-8 for t in targets):
        mask |= used == 0
    params = fit_linear(targets, params, used, mask, config)
    if config.hidden:
        from huozi.functional.network import fit_network

        params = fit_network(targets, params, used, mask, config)
    return replace(start, params=params)


def standardise(targets: Sequence[Target], start: Model) -> Params:
    """Return parameters of the zero model with mean and spread of the features of each element."""
    kinds = np.concatenate([t.kinds for t in targets])
    features = np.concatenate([t.features for t in targets])
    missing = [s for k, s in enumerate(start.elements) if not np.any(kinds == k)]
    if missing:
        raise ValueError(f"no frame with {', '.join(missing)}, which the model is to know")
    own = [features[kinds == k] for k in range(len(start.elements))]
    elements, count = len(own), features.shape[1]
    return {
        "mean": np.stack([x.mean(0) for x in own]),
        "scale": np.stack([x.std(0) + FLOOR for x in own]),
        "constant": np.zeros(elements),
        "linear": np.zeros((elements, count)),
        "weight": np.zeros((count, 1)),
        "bias": np.zeros((elements, 1)),
        "readout": np.zeros(1),
    }


def fit_linear(
    targets: Sequence[Target], params: Params, order: Array, mask: Array, config: FitConfig
) -> Params:
    """Closed-form ridge regression of constants and of coefficients of features `mask`.

    `order` has the power of the density matrix in each feature (`powers`): those above the first
    are penalised by `config.curvature`, since nothing holds them where there are no data.
    """
    elements, chosen = len(params["constant"]), np.flatnonzero(mask)
    size = elements * (1 + len(chosen))
    normal, right = np.zeros((size, size)), np.zeros(size)
    for t in targets:
        rows, values = _linear_rows(t, params, chosen, config)
        normal += rows.T @ rows
        right += rows.T @ values
    # The constants of elements in fixed proportion are not unique: a tiny penalty chooses.
    penalty = np.empty((elements, 1 + len(chosen)))
    penalty[:, 0] = 1e-10
    penalty[:, 1:] = np.where(order[chosen] > 1, config.curvature, config.ridge) ** 2
    solution = np.linalg.solve(normal + np.diag(penalty.ravel()), right).reshape(elements, -1)
    linear = np.zeros_like(params["linear"])
    linear[:, chosen] = solution[:, 1:]
    return {**params, "constant": solution[:, 0], "linear": linear}


def _linear_rows(
    t: Target, params: Params, chosen: Array, config: FitConfig
) -> tuple[Array, Array]:
    """Weighted equations of one target: energy, forces, pull."""
    elements, atoms = len(params["constant"]), len(t.kinds)
    energy, moves = [], []
    for k in range(elements):
        own = t.kinds == k
        scale = params["scale"][k, chosen]
        x = (t.features[own][:, chosen] - params["mean"][k, chosen]) / scale
        energy += [own.sum(), *x.sum(0)]
        j = t.motions[own][:, chosen].sum(0) / scale[:, None]
        moves.append(np.concatenate([np.zeros((1, j.shape[1])), j]).T)
    motion = np.concatenate(moves, axis=1)
    weight = t.weight * config.energy_weight / atoms
    rows = [weight * np.array(energy)[None]]
    values = [np.array([weight * t.energy])]
    if t.forces is not None:
        rows.append(-config.force_weight * motion[:-PROBES])
        values.append(config.force_weight * t.forces)
    weight, wanted = t.aim(config)
    rows.append(weight * motion[-PROBES:])
    values.append(weight * wanted)
    return np.concatenate(rows), np.concatenate(values)
