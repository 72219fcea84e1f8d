"""Psiformer: attention between electrons.

Departures from von Glehn et al. (arXiv:2211.13672): smooth inputs, among them sums over the
electrons that are near (attention would have to find them by comparing positions), orbitals from
Hartree-Fock (`ansatz.py`), and one weight matrix in place of two after each attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from huozi import kernels
from huozi.arrays import jnp
from huozi.wavefunction import features, jets
from huozi.wavefunction.ansatz import Ansatz
from huozi.wavefunction.jets import Jet, Value


@dataclass(frozen=True)
class Psiformer(Ansatz):
    """Attention in `heads` heads.

    Parameters
    ----------
    heads : int
        Divides the width; the other parameters are those of `Ansatz`.
    """

    heads: int = 4

    def __post_init__(self) -> None:
        """Refuse heads that cannot share the width."""
        if self.width % self.heads:
            raise ValueError(
                f"a width of {self.width} cannot be shared by {self.heads} heads; take a multiple"
            )

    def init_layers(self, matrix: Any) -> Any:
        """Parameters of `network`."""
        d = self.width
        layers = [
            {name: matrix(d, d) for name in ("q", "k", "v", "o", "mlp")} | {"bias": np.zeros(d)}
            for _ in range(self.layers)
        ]
        for first in layers[:1]:
            first["near"] = matrix(features.NEAR_FEATURES, d)
        return layers

    def network(self, h: Value, x: Value, layers: Any) -> Value:
        """Attend and apply one tanh layer, in turn."""
        h = self.together(h, x, layers)
        scale = (self.width // self.heads) ** -0.5
        for layer in layers:
            q, k, v = (
                self.project(h, weight) for weight in (layer["q"] * scale, layer["k"], layer["v"])
            )
            h = self.update(h, attend(q, k, v), layer)
        return h

    def together(self, h: Value, x: Value, layers: Any) -> Value:
        """Spread states of one electron to all coordinates and add the electrons that are near."""
        h = jets.spread_electrons(h)
        if not layers or self.up + self.down == 1:
            return h
        near = features.near_features(x, self.up, self.down, self.cell, self.precision)
        return jets.add(h, jets.dense(near, layers[0]["near"]))

    def project(self, stream: Value, weight: Any) -> Value:
        """Make queries, keys or values (N, H, c) of a stream (N, d)."""
        shape = (-1, self.heads, self.width // self.heads)
        return jets.linear(lambda u: (u @ weight).reshape(shape), stream)

    def update(self, h: Value, mixed: Value, layer: Any) -> Value:
        """Add what attention has mixed, (N, H, c), and then a tanh layer."""
        h = jets.linear(lambda u, m: u + m.reshape(u.shape) @ layer["o"], h, mixed)
        return jets.add(h, jets.elementwise(jnp.tanh, jets.dense(h, layer["mlp"], layer["bias"])))


def attend(q: Value, k: Value, v: Value) -> Value:
    """Average values with weights exp(q_i . k_j), (N, H, c) each.

    Derivatives come from the compiled kernel where there is one.
    """
    if isinstance(q, Jet) and q.stack.dtype == np.float32 and kernels.is_available():
        return Jet(kernels.attend(q.stack, k.stack, v.stack))
    weights = jets.softmax(jets.einsum("ihc,jhc->hij", q, k), axis=2)
    return jets.einsum("hij,jhc->ihc", weights, v)
