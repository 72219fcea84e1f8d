"""FermiNet: streams of one and of two electrons.

    h_i' = h_i + tanh(V [h_i, mean_up h, mean_down h, mean_up_j g_ij, mean_down_j g_ij] + b)
    g_ij' = g_ij + tanh(W g_ij + c)

Departures from Pfau et al., Phys. Rev. Research 2, 033429 (2020): smooth inputs, and orbitals from
Hartree-Fock (`ansatz.py`). As g_ij depends on one separation only, its jets have three
derivatives until they enter h_i.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from huozi.arrays import jax, jnp
from huozi.wavefunction import features, jets
from huozi.wavefunction.ansatz import Ansatz
from huozi.wavefunction.jets import Value

Array = jax.Array


@dataclass(frozen=True)
class FermiNet(Ansatz):
    """One-electron stream of `width`, two-electron stream of `pair_width`; see `Ansatz`."""

    def init_layers(self, matrix: Any) -> Any:
        """Parameters of `network`."""
        d, w = self.width, self.pair_width
        pairs = [{"weight": matrix(3 + features.PAIR_FEATURES, w), "bias": np.zeros(w)}] + [
            {"weight": matrix(w, w), "bias": np.zeros(w)} for _ in range(self.layers - 1)
        ]
        return [
            {"one": {"weight": matrix(3 * d + 2 * w, d), "bias": np.zeros(d)}, "two": two}
            for two in pairs[: self.layers]
        ]

    def network(self, h: Value, x: Value, layers: Any) -> Value:
        """Return the outputs of the one-electron stream."""
        count = self.up + self.down
        i, j = np.nonzero(~np.eye(count, dtype=bool))
        spins = np.arange(count) >= self.up
        # Averages over the electrons of either spin; over the partners j of every electron i.
        electrons = np.stack([spins == spin for spin in (False, True)]).astype(self.precision)
        electrons /= np.maximum(electrons.sum(1, keepdims=True), 1)
        partners = electrons[:, None, j] * (i == np.arange(count)[:, None])
        h = jets.spread_electrons(h)
        g = self._pairs(x, i, j) if count > 1 else None
        for number, layer in enumerate(layers):
            means = jets.linear(
                lambda v: jnp.broadcast_to((electrons @ v).ravel(), (count, 2 * v.shape[-1])), h
            )
            if g is None:
                seen = jets.linear(lambda v: jnp.zeros((count, 2 * self.pair_width), v.dtype), h)
            else:
                change = jets.elementwise(jnp.tanh, jets.dense(g, **layer["two"]))
                g = change if number == 0 else jets.add(g, change)
                seen = jets.linear(
                    lambda v: jnp.einsum("sip,pw->isw", partners, v).reshape(count, -1),
                    jets.spread_pairs(g, i, j, count),
                )
            together = jets.linear(lambda *v: jnp.concatenate(v, -1), h, means, seen)
            update = jets.elementwise(jnp.tanh, jets.dense(together, **layer["one"]))
            h = jets.add(h, update)
        return h

    def _pairs(self, x: Value, i: np.ndarray, j: np.ndarray) -> Value:
        """Directions, distances and closeness of ordered pairs, (P, 7)."""
        apart, r2 = features.between(x, i, j, self.cell)
        scale = jets.elementwise(lambda s: 1 / (1 + s), features.rounded(r2, 1.0))
        directions = jets.bilinear(lambda v, s: v * s[..., None], apart, scale)
        both = jets.linear(
            lambda u, v: jnp.concatenate([u, v], -1), directions, features.pair_features(r2)
        )
        return jets.cast(both, self.precision)
