"""Products of antisymmetric pair functions in place of determinants.

    psi = exp(J) A_up A_down,    A = prod_i g_i^(2 - n) prod_(i<j) f_ij    (n electrons of one spin)
    f_ij = sum_k w_k (phi_k1(i) phi_k2(j) - phi_k2(i) phi_k1(j)),
    g_i^2 = sum_k w_k^2 (phi_k1(i)^2 + phi_k2(i)^2);    one electron alone has A = sum_k w_k phi_k1

After DeePWF (Han, Zhang & E, J. Comput. Phys. 399, 108929 (2019)): the exchange of two electrons
of one spin turns the sign of one factor, and the number of factors grows like N^2. Two electrons
of one spin have one factor, a determinant, so the start is Hartree-Fock exactly. For more the
form is poorer than a determinant: it vanishes wherever any two electrons agree in the ratio of two
orbitals (for one term, and orbitals of one electron).

Departures: a_ij = sum_k w_k phi_k1(i) phi_k2(j) is a sum of products of orbitals, which
see the other electrons through averages; the powers of g, without which n - 1 orbitals of every
electron would be multiplied; the cusps, and Hartree-Fock's orbitals as start (`ansatz.py`).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from huozi.arrays import jax, jnp
from huozi.wavefunction import determinants as slater
from huozi.wavefunction import jets
from huozi.wavefunction.ansatz import Ansatz
from huozi.wavefunction.jets import Value

Array = jax.Array
Params = dict[str, Any]

HIGHER = 0.2
"""Part of the higher occupied orbitals, in turn, in the first two: valence electrons need more than
the ratio of two orbitals of which one is a core. Chains of atoms would be better without it."""


@dataclass(frozen=True)
class PairProduct(Ansatz):
    """`determinants`, here of two orbitals each, are added in every pair function; see `Ansatz`."""

    def __post_init__(self) -> None:
        """Refuse twists where an electron is in an even number of pairs: no sign would turn."""
        if (
            self.cell
            and any(self.cell.twist)
            and any(n > 1 and n % 2 for n in (self.up, self.down))
        ):
            raise ValueError(
                "pairproduct has no twist for three, five, ... electrons of one spin; "
                "take another ansatz"
            )

    def init_layers(self, matrix: Any) -> Any:
        """Parameters of `network`."""
        d = self.width
        return [
            {"own": matrix(d, d), "means": matrix(2 * d, d), "bias": np.zeros(d)}
            for _ in range(self.layers)
        ]

    def network(self, h: Value, x: Value, layers: Any) -> Value:
        """Add tanh(V h_i + W [mean_up h, mean_down h] + b), layer by layer."""
        spins = np.arange(self.up + self.down) >= self.up
        electrons = np.stack([spins == spin for spin in (False, True)]).astype(self.precision)
        electrons /= np.maximum(electrons.sum(1, keepdims=True), 1)
        h = jets.spread_electrons(h)
        for layer in layers:
            seen = jets.linear(
                lambda v, p=layer: v @ p["own"] + (electrons @ v).ravel() @ p["means"], h
            )
            h = jets.add(h, jets.elementwise(jnp.tanh, jets.shift(seen, layer["bias"])))
        return h

    def start(self, found: np.ndarray) -> tuple[Params, np.ndarray]:
        """Coefficients (size, K, 2): the lowest two orbitals with part of others, then pairs."""
        chosen = {"up": self._pairs(found, self.up), "down": self._pairs(found, self.down)}
        return chosen, np.eye(self.determinants)[0]

    def _pairs(self, found: np.ndarray, electrons: int) -> np.ndarray:
        size = min(electrons, 2)
        sets = sorted(itertools.combinations(range(found.shape[1]), size), key=lambda s: s[::-1])
        sets = (sets + sets[:1] * self.determinants)[: self.determinants]
        chosen = found[:, np.array(sets, int).reshape(-1, size)]
        for column in range(size):
            chosen[:, 0, column] += HIGHER * found[:, column + 2 : electrons : 2].sum(1)
        return chosen

    def antisymmetric(
        self, up: Value | None, down: Value | None, weights: Array
    ) -> tuple[Array | None, Value]:
        """Logarithm of |A_up A_down| and its sign."""
        found = [log_product(orbitals, weights) for orbitals in (up, down) if orbitals is not None]
        signs, logarithms = zip(*found)
        sign = None if signs[0] is None else jnp.stack(signs).prod()
        return sign, jets.linear(lambda *terms: sum(terms), *logarithms)


def log_product(orbitals: Value, weights: Array) -> tuple[Array | None, Value]:
    """Logarithm of |prod_i g_i^(2 - n) prod_(i<j) f_ij|, or of |sum_k w_k phi_k| if n = 1.

    Parameters
    ----------
    orbitals : (K, n, 2), or (K, 1, 1)
    weights : (K,)

    Returns
    -------
    sign : array, or None for jets
    logarithm : as the orbitals
    """
    orbitals, scale = slater.scaled(orbitals)
    shape = (orbitals.value if isinstance(orbitals, jets.Jet) else orbitals).shape
    if shape[1] == 1:
        factors = jets.linear(lambda v: weights @ v[:, 0], orbitals)
    else:
        i, j = np.triu_indices(shape[1], 1)
        factors = jets.bilinear(
            lambda u, v: weights @ (u[:, i] * v[:, j] - u[:, j] * v[:, i]),
            *(jets.linear(lambda v, c=c: v[..., c], orbitals) for c in (0, 1)),
        )
    signs, logarithms = slater.log_absolute(factors)
    total = jets.linear(lambda v: v.sum(), logarithms)
    if shape[1] > 2:
        squares = jets.elementwise(jnp.square, orbitals)
        sizes = jets.linear(lambda v: jnp.square(weights) @ v.sum(-1), squares)
        _, logs = slater.log_absolute(sizes)
        total = jets.linear(lambda t, v: t + (1 - shape[1] / 2) * v.sum(), total, logs)
    return None if signs is None else signs.prod(), jets.shift(total, scale)
