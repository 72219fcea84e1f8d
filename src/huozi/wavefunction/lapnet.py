"""LapNet: attention whose weights are cheap to derive.

Queries and keys come from a stream in which each electron sees only itself, so the weight of
(i, j) depends on two electrons and its jets have six derivatives, not 3N; only what the weights
mix, the values, comes from the stream of all electrons. After Li et al., Nat. Mach. Intell. 6,
209 (2024).

Departures: smooth inputs, orbitals from Hartree-Fock (`ansatz.py`), one tanh layer between the
attentions of either stream and one weight matrix after each attention, no layer norm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from huozi.arrays import jax, jnp
from huozi.wavefunction import jets, psiformer
from huozi.wavefunction.jets import Jet, Value

Array = jax.Array


@dataclass(frozen=True)
class LapNet(psiformer.Psiformer):
    """Sparse attention in `heads` heads; the parameters are those of `Psiformer`."""

    def init_layers(self, matrix: Any) -> Any:
        """Parameters of `network`."""
        layers = super().init_layers(matrix)
        for layer in layers[1:]:
            layer["own"] = {"weight": matrix(self.width, self.width), "bias": np.zeros(self.width)}
        return layers

    def network(self, h: Value, x: Value, layers: Any) -> Value:
        """Attend and apply one tanh layer, in turn; the own stream has tanh layers only."""
        own, h = h, self.together(h, x, layers)
        scale = (self.width // self.heads) ** -0.5
        for number, layer in enumerate(layers):
            if number:
                own = jets.add(own, jets.elementwise(jnp.tanh, jets.dense(own, **layer["own"])))
            q, k = (self.project(own, weight) for weight in (layer["q"] * scale, layer["k"]))
            v = self.project(h, layer["v"])
            h = self.update(h, attend(q, k, v), layer)
        return h


def attend(q: Value, k: Value, v: Value) -> Value:
    """Average values with weights exp(q_i . k_j), (N, H, c).

    Parameters
    ----------
    q, k : (N, H, c)
        Jets of one electron each, (5, N, H, c).
    v : (N, H, c)
        Spread to all coordinates.
    """
    if not isinstance(q, Jet):
        return psiformer.attend(q, k, v)
    scores = _scores(q, k)
    largest = jax.lax.stop_gradient(scores.value.max(1, keepdims=True))
    weights = jets.elementwise(jnp.exp, jets.shift(scores, -largest))
    share = jets.elementwise(jnp.reciprocal, _sum_partners(weights))
    return jets.bilinear(lambda u, s: u * s[..., None], _weigh(weights, v), share)


def _compare(q: Array, k: Array) -> Array:
    """Scores (N, N, H) of queries and keys (N, H, c)."""
    return jets.einsum("ihc,jhc->ijh", q, k)


def _scores(q: Jet, k: Jet) -> Jet:
    """Scores (N, N, H), derived by three coordinates of i and then three of j.

    Where i = j all belongs to i.
    """
    same = jnp.eye(q.value.shape[0], dtype=q.stack.dtype)[..., None]
    by_i = jax.vmap(lambda u: _compare(u, k.value))(q.stack[1:])
    by_j = jax.vmap(lambda u: _compare(q.value, u))(k.stack[1:])
    cross = (q.gradient * k.gradient).sum((0, -1))
    laplacian = by_i[-1] + by_j[-1] + 2 * same * cross
    parts = (by_i[:-1] + same * by_j[:-1], (1 - same) * by_j[:-1])
    return Jet(jnp.concatenate([_compare(q.value, k.value)[None], *parts, laplacian[None]]))


def _sum_partners(pairs: Jet) -> Jet:
    """Sum over j of jets of pairs (8, N, N, ...), spread to all coordinates."""
    count = pairs.value.shape[0]
    by_i, by_j = jnp.split(pairs.gradient, 2)
    moved = np.arange(count)
    gradient = jnp.moveaxis(by_j, 2, 0).at[moved, :, moved].add(by_i.sum(2).swapaxes(0, 1))
    value, laplacian = pairs.value.sum(1)[None], pairs.laplacian.sum(1)[None]
    return Jet(jnp.concatenate([value, gradient.reshape(-1, *value.shape[1:]), laplacian]))


def _weigh(weights: Jet, v: Jet) -> Jet:
    """Sum of w_ij v_j: what moves the weights, what moves the values, and what moves both."""
    count = v.value.shape[0]
    by_weights = _sum_partners(jets.linear(lambda w: w[..., None] * v.value, weights)).stack
    by_values = jnp.einsum("ijh,zjhc->zihc", weights.value, v.stack)
    slopes = v.gradient.reshape(count, 3, *v.value.shape)
    own = slopes[np.arange(count), :, np.arange(count)].swapaxes(0, 1)
    by_i, by_j = jnp.split(weights.gradient, 2)
    cross = (by_i.swapaxes(0, 1)[..., None] * slopes).sum((1, 2))
    cross += (by_j[..., None] * own[:, None]).sum((0, 2))
    both = by_weights.at[0].set(0) + by_values
    return Jet(both.at[-1].add(2 * cross))
