"""Jastrow factors: the exact cusps, and a small network for pairs of electrons.

Kato's conditions: where an electron meets a nucleus the spherical average of psi has the
logarithmic slope -Z, where two electrons meet 1/2 (opposite spins) or, after division by the
distance, 1/4 (same spin). All other parts of the wave functions here have continuous gradients,
so these slopes are met exactly and the local energy stays bounded.

Source: Kato, Comm. Pure Appl. Math. 10, 151 (1957); Pack & Byers Brown, J. Chem. Phys. 45, 556
(1966); electron-electron form of von Glehn et al., arXiv:2211.13672.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from huozi.arrays import jax, jnp
from huozi.wavefunction import jets
from huozi.wavefunction.features import PAIR_FEATURES, distance, kink, pair_features
from huozi.wavefunction.jets import Value

Array = jax.Array
Params = dict[str, Any]


def nuclear_cusp(r2: Value, cusps: np.ndarray) -> Value:
    """Sum over nuclei of -Z (r - rounded(r)), for each electron, (N,).

    The slope at a nucleus is -Z; some 1/Z away from it the function is constant. `cusps` are the
    charges Z, zero where a core potential rounds off the wave function.

    Times the smooth exp(-Z rounded(r)) it is the hydrogen-like exp(-Z r), exactly.
    """
    return jets.linear(lambda k: -(cusps * k).sum(-1), kink(r2, cusps))


def electron_cusp(r2: Value, same: np.ndarray, params: Params) -> Value:
    """-a^2 s / (a + r) of each pair, (P,): slope s = 1/4 or 1/2 where r vanishes."""
    slope = jnp.where(same, 0.25, 0.5)
    length = jax.nn.softplus(jnp.where(same, params["same"], params["opposite"]))
    return jets.elementwise(lambda r: -slope * length**2 / (length + r), distance(r2))


def init_cusp() -> Params:
    """Ranges of the electron-electron cusps, before softplus."""
    return {"same": np.array(0.5), "opposite": np.array(0.5)}


def init_pair_network(rng: np.random.Generator, features: int, width: int) -> Params:
    """Parameters of `pair_network`; its output starts at zero."""
    return {
        "pair": rng.normal(size=(PAIR_FEATURES, width)) / np.sqrt(PAIR_FEATURES),
        "electron": rng.normal(size=(features, width)) / np.sqrt(2 * features),
        "spin": rng.normal(size=(2, width)),
        "out": np.zeros(width),
    }


def pair_network(
    electrons: Value,
    separations2: Value,
    pairs: tuple[np.ndarray, np.ndarray, np.ndarray],
    params: Params,
) -> Value:
    """Sum over pairs of w . tanh(A p_ij + B (f_i + f_j) + c_spin), symmetric in i and j.

    Parameters
    ----------
    electrons : (N, F)
        One-electron features f, jets of the electron alone.
    separations2 : (P,)
        Squared distances of the pairs, jets of the pair alone.
    """
    i, j, same = pairs
    count = (electrons.value if isinstance(electrons, jets.Jet) else electrons).shape[0]
    features = jets.cast(pair_features(separations2), params["pair"].dtype)
    apart = jets.by_both(jets.dense(features, params["pair"]))
    both = jets.of_both(jnp.add, jets.dense(electrons, params["electron"]), i, j)
    bias = params["spin"][same.astype(int)]
    hidden = jets.elementwise(jnp.tanh, jets.shift(jets.add(apart, both), bias))
    return jets.sum_both(jets.linear(lambda v: v @ params["out"], hidden), i, j, count)
