"""The ``moment`` architecture: one hop, strictly local, invariant by construction.

    A_i[lm, k] = sum_{z n} c[z_i, l, z n, k] P_i[lm, z n]
    D_i        = { A[00, k] } with { sum_m A[lm, q] A[lm, k] }      k < K, q < K', l <= l_max
    E_i        = E0[z_i] + MLP_{z_i}(D_i) - MLP_{z_i}(0)

The sum over neighbours (`huozi.potential.moments`) comes before the mixing, so a pair costs a
few hundred multiply-adds and not the evaluation of a network. The last term makes the energy of
an isolated atom exactly E0.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from huozi.arrays import jax, jnp
from huozi.potential.harmonics import MAX_DEGREE, degree_slices

Params = dict[str, Any]
WHITENING_FLOOR = 1e-4


class MomentConfig(BaseModel):
    """Size of the network; the defaults serve liquids, molecules and solids."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["moment"] = "moment"
    cutoff: float = Field(6.0, gt=0.5, le=20, description="Range of the interaction, Å.")
    radial: int = Field(12, ge=2, le=40, description="Radial functions per element.")
    degree: int = Field(3, ge=0, le=MAX_DEGREE, description="Largest angular degree l.")
    channels: int = Field(32, ge=1, description="Mixed channels K per degree.")
    partners: int = Field(8, ge=1, description="Channels K' that each channel is paired with.")
    hidden: tuple[PositiveInt, ...] = Field(
        (128, 128), min_length=1, description="Widths of the network."
    )

    @property
    def descriptor_size(self) -> int:
        """Number of invariants of an atom."""
        partners = min(self.partners, self.channels)
        return self.channels + (self.degree + 1) * self.channels * partners


def whitening_matrices(samples: list[Any], degree: int) -> np.ndarray:
    """Linear maps after which the moments of each element and degree are uncorrelated.

    The radial functions overlap strongly; without this step the optimiser spends most of its
    time undoing their correlation.

    Parameters
    ----------
    samples : list of (n_z, (degree + 1)^2, B) arrays
        Moments of atoms of each element, n_z >= 1.
    degree : int

    Returns
    -------
    (Z, degree + 1, B, B) array
    """
    matrices = []
    for moments in samples:
        for degree_slice in degree_slices(degree):
            x = np.asarray(moments[:, degree_slice], np.float64)
            if degree_slice.start == 0:
                x = x - x.mean(0)
            covariance = np.einsum("amb,amc->bc", x, x) / (x.shape[0] * x.shape[1])
            values, vectors = np.linalg.eigh(covariance)
            floor = WHITENING_FLOOR * max(float(values[-1]), 1e-6)
            matrices.append(vectors / np.sqrt(np.maximum(values, 0) + floor))
    size = matrices[0].shape[0]
    return np.array(matrices).reshape(len(samples), degree + 1, size, size)


def init(key: Any, config: MomentConfig, elements: int) -> Params:
    """Random parameters in whitened coordinates, to be trained; `fold` makes them a model.

    Parameters
    ----------
    key : JAX random key
    config : MomentConfig
    elements : int
        Number of elements Z.

    Returns
    -------
    dict
        ``mix`` (Z, L + 1, B, K) and per element ``layers[i].weight`` (Z, in, out), ``bias``
        (Z, out), and ``readout`` (Z, width), float32.
    """
    size = elements * config.radial
    widths = (config.descriptor_size, *config.hidden)
    keys = iter(jax.random.split(key, len(widths) + 1))

    def normal(*shape: int, scale: float) -> Any:
        return scale * jax.random.normal(next(keys), shape, jnp.float32)

    return {
        "mix": normal(elements, config.degree + 1, size, config.channels, scale=size**-0.5),
        "layers": [
            {
                "weight": normal(elements, before, after, scale=before**-0.5),
                "bias": jnp.zeros((elements, after), jnp.float32),
            }
            for before, after in pairwise(widths)
        ],
        "readout": normal(elements, widths[-1], scale=0.1 * widths[-1] ** -0.5),
    }


def fold(raw: Params, scaling: Params) -> Params:
    """Absorb whitening and standardisation into the weights.

    Parameters
    ----------
    raw : dict
        From `init`.
    scaling : dict
        ``whitening`` (Z, L + 1, B, B), ``mean`` and ``deviation`` (Z, D) of the descriptors,
        ``energy`` (Z,) eV.

    Returns
    -------
    dict
        Parameters of the shapes of `raw`, for `element_energies`.
    """
    first, *rest = raw["layers"]
    weight = first["weight"] / scaling["deviation"][:, :, None]
    bias = first["bias"] - jnp.einsum("zd,zdh->zh", scaling["mean"], weight)
    return {
        "mix": scaling["whitening"] @ raw["mix"],
        "layers": [{"weight": weight, "bias": bias}, *rest],
        "readout": raw["readout"] * scaling["energy"][:, None],
    }


def descriptors(mix: Any, moments: Any, config: MomentConfig) -> Any:
    """Invariants (n, D) of atoms of one element; mix (L + 1, B, K), moments (n, lm, B)."""
    parts = []
    for degree, degree_slice in enumerate(degree_slices(config.degree)):
        mixed = moments[:, degree_slice] @ mix[degree]
        if degree == 0:
            parts.append(mixed[:, 0])
        products = jnp.einsum("nmq,nmk->nqk", mixed[:, :, : config.partners], mixed)
        parts.append(products.reshape(len(mixed), -1))
    return jnp.concatenate(parts, axis=-1)


def network(layers: list[Params], readout: Any, x: Any) -> Any:
    """Residual network of one element: (n, D) -> (n,)."""
    for layer in layers:
        update = jax.nn.silu(x @ layer["weight"] + layer["bias"])
        x = x + update if x.shape[-1] == update.shape[-1] else update
    return x @ readout


def element_energies(
    params: Params, config: MomentConfig, element: int, moments: Any, noise: Any = 0.0
) -> Any:
    """Energies (n,) above E0, eV, of atoms of the model's element number `element`.

    `noise` (n, D) is added to the descriptors; training uses it against overfitting.
    """
    layers = [{k: v[element] for k, v in layer.items()} for layer in params["layers"]]
    readout = params["readout"][element]
    x = descriptors(params["mix"][element], moments, config)
    vacuum = network(layers, readout, jnp.zeros((1, x.shape[1]), x.dtype))
    return network(layers, readout, x + noise) - vacuum
