"""Psiformer: attention between electrons.

Departures from von Glehn et al. (arXiv:2211.13672): smooth inputs, orbitals from Hartree-Fock
(`ansatz.py`), and one weight matrix in place of two after each attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from huozi.arrays import jnp
from huozi.wavefunction import jets
from huozi.wavefunction.ansatz import Ansatz
from huozi.wavefunction.jets import Value


@dataclass(frozen=True)
class Psiformer(Ansatz):
    """Attention in `heads` heads.

    Parameters
    ----------
    heads : int
        Divides the width; the other parameters are those of `Ansatz`.
    """

    heads: int = 4

    def init_layers(self, matrix: Any) -> Any:
        """Parameters of `network`."""
        d = self.width
        return [
            {name: matrix(d, d) for name in ("q", "k", "v", "o", "mlp")} | {"bias": np.zeros(d)}
            for _ in range(self.layers)
        ]

    def network(self, h: Value, x: Value, layers: Any) -> Value:
        """Attend and apply one tanh layer, in turn."""
        h = jets.spread_electrons(h)
        scale = (self.width // self.heads) ** -0.5
        for layer in layers:
            q, k, v = (self.project(h, layer[name]) for name in "qkv")
            scores = jets.einsum("ihc,jhc->hij", q, k)
            weights = jets.softmax(jets.linear(lambda s: s * scale, scores), axis=2)
            h = self.update(h, jets.einsum("hij,jhc->ihc", weights, v), layer)
        return h

    def project(self, stream: Value, weight: Any) -> Value:
        """Make queries, keys or values (N, H, c) of a stream (N, d)."""
        shape = (-1, self.heads, self.width // self.heads)
        return jets.linear(lambda u: (u @ weight).reshape(shape), stream)

    def update(self, h: Value, mixed: Value, layer: Any) -> Value:
        """Add what attention has mixed, (N, H, c), and then a tanh layer."""
        h = jets.linear(lambda u, m: u + m.reshape(u.shape) @ layer["o"], h, mixed)
        return jets.add(h, jets.elementwise(jnp.tanh, jets.dense(h, layer["mlp"], layer["bias"])))
