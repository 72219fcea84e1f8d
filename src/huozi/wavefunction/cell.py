"""Periodic cells: smooth periodic distances, twisted boundaries, plane waves, Ewald sums.

In place of the vector d between two particles and of d^2 the wave functions see

    v = sum_i a_i sin(w_i) / 2 pi,    r^2 = |v|^2 + |sum_i a_i (1 - cos w_i) / 2 pi|^2

with w_i = b_i . d, of the lattice vectors a_i and the reciprocal ones b_i (a_i . b_j = 2 pi where
i = j, else 0). Both repeat with the cell and have all derivatives; near a particle they are d and
d^2 to second order, so that cusps stay exact, and r vanishes at its images alone.

Through a boundary a wave function may turn its sign (a twist of 1/2 of the reciprocal vector).
Orbitals at nuclei then are made of cos(w_i / 2) and a_i sin(w_i / 2) / pi in the directions of the
twist. At other twists wave functions are complex; these are not there.

The energy is that of all charges, their images, and a uniform background that makes the cell
neutral, with the mean potential zero.

Source: distances as Cassella et al., Phys. Rev. Lett. 130, 036401 (2023); Ewald sums as Fraser et
al., Phys. Rev. B 53, 1814 (1996); twists Lin, Zong & Ceperley, Phys. Rev. E 64, 016702 (2001).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.scipy.special import erfc
from numpy.typing import NDArray

from huozi.arrays import jax, jnp
from huozi.wavefunction import jets
from huozi.wavefunction.jets import Value

Array = jax.Array
Floats = NDArray[np.floating]

SPLIT = 3.2
"""Over the cube root of the volume: where Ewald's sums are split, 1/bohr; both are as long then."""

LAST = 4.9
"""Square root of -log of the terms that are left out, 4e-11."""


@dataclass(frozen=True)
class Cell:
    """A cell that repeats in three directions.

    Parameters
    ----------
    vectors : tuple of three tuples of three floats
        Lattice vectors, bohr.
    twist : (float, float, float)
        0 or 0.5 for each reciprocal vector: what a wave function is multiplied by when an electron
        crosses the cell along a lattice vector is 1 or -1.
    """

    vectors: tuple[tuple[float, float, float], ...]
    twist: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def check(self) -> None:
        """Refuse vectors that span no cell, and twists at which no real wave function is.

        Raises
        ------
        ValueError
        """
        if np.shape(self.vectors) != (3, 3) or not np.isfinite(self.vectors).all():
            raise ValueError(f"a cell has three vectors of three numbers; found {self.vectors}")
        lengths = np.linalg.norm(self.matrix, axis=1)
        if not self.volume > 1e-3 * lengths.prod():
            raise ValueError(f"the vectors of the cell lie in a plane: {self.vectors}")
        if len(self.twist) != 3 or not set(self.twist) <= {0.0, 0.5}:
            raise ValueError(f"a twist is 0 or 0.5 in each of three directions; found {self.twist}")

    @property
    def matrix(self) -> Floats:
        """Lattice vectors as rows, (3, 3), bohr."""
        return np.array(self.vectors, float)

    @property
    def reciprocal(self) -> Floats:
        """Reciprocal vectors as rows, (3, 3), 1/bohr."""
        return 2 * np.pi * np.linalg.inv(self.matrix).T

    @property
    def volume(self) -> float:
        """Bohr^3."""
        return float(abs(np.linalg.det(self.matrix)))

    @property
    def own_energy(self) -> float:
        """Energy of one charge of 1 e among its images and the background, hartree."""
        return float(self.energy(np.ones(1), np.zeros((1, 3))))

    @property
    def offset(self) -> Floats:
        """Wave vector of the twist, (3,), 1/bohr."""
        return np.array(self.twist) @ self.reciprocal

    def smooth(self, d: Value) -> tuple[Value, Value]:
        """Periodic vectors v (..., 3) and squared distances r^2 (...) of vectors d (..., 3)."""
        rows = self.matrix / (2 * np.pi)
        angles = jets.linear(lambda v: v @ self.reciprocal.T, d)
        v, rest = (
            jets.linear(lambda u: u @ rows, jets.elementwise(function, angles))
            for function in (jnp.sin, lambda w: 2 * jnp.square(jnp.sin(w / 2)))
        )
        return v, jets.add(jets.squared_length(v), jets.squared_length(rest))

    def twisted(self, d: Value) -> tuple[Value, Value]:
        """Factors (...) and vectors (..., 3), 1 and d to second order, that turn their signs.

        They do where `d` (..., 3) goes along a lattice vector with a twist.
        """
        turning = np.array(self.twist) > 0
        rates = self.reciprocal * np.where(turning, 0.5, 1.0)[:, None]
        angles = jets.linear(lambda v: v @ rates.T, d)

        def component(function: Any, i: int) -> Value:
            return jets.elementwise(function, jets.linear(lambda v: v[..., i], angles))

        even = [
            component(jnp.cos if turns else jnp.ones_like, i) for i, turns in enumerate(turning)
        ]
        odd = [component(jnp.sin, i) for i in range(3)]
        vectors = [jets.multiply(jets.multiply(odd[i], even[i - 1]), even[i - 2]) for i in range(3)]
        rows = self.matrix / np.where(turning, np.pi, 2 * np.pi)[:, None]
        together = jets.linear(lambda *v: jnp.stack(v, -1) @ rows, *vectors)
        return jets.multiply(jets.multiply(even[0], even[1]), even[2]), together

    def nearest(self, d: Array | Floats) -> Array:
        """Vectors (..., 3) to the image whose lattice coordinates are within one half."""
        d = jnp.asarray(d)
        return d - jnp.round(self.coordinates(d)) @ self.matrix

    def wrapped(self, x: Array) -> Array:
        """Positions (..., 3) in the cell."""
        return x - jnp.floor(self.coordinates(x)) @ self.matrix

    def coordinates(self, x: Array) -> Array:
        """Positions (..., 3) as multiples of the lattice vectors."""
        return x @ np.linalg.inv(self.matrix)

    def plane_waves(self, least: int) -> tuple[Floats, Floats]:
        """Wave vectors (n, 3) and phases (n,) of functions cos(k . r - phase), by length.

        Those of k and -k are one, a cosine and a sine. Whole shells, of `least` functions or more.
        """
        radius = (6 * np.pi**2 * least / self.volume) ** (1 / 3)
        while True:
            k = _within(self.reciprocal, radius, np.array(self.twist))
            squares = np.square(k).sum(1)
            if len(k) >= least:
                break
            radius *= 1.2
        order = np.argsort(squares, kind="stable")
        last = squares[order[least - 1]] * (1 + 1e-9) + 1e-12
        found = [k[n] for n in order if squares[n] <= last and _is_first(k[n])]
        # The constant has no sine.
        vectors = [(each, phase) for each in found for phase in (0.0, np.pi / 2)[: 1 + each.any()]]
        return np.array([v for v, _ in vectors]), np.array([phase for _, phase in vectors])

    def energy(self, charges: Array | Floats, places: Array | Floats) -> Array:
        """Energy of point charges (n,), at (n, 3) bohr, with all their images, hartree."""
        alpha = SPLIT / self.volume ** (1 / 3)
        i, j = np.triu_indices(len(places), 1)
        matrix, reciprocal = self.matrix, self.reciprocal
        farthest = np.linalg.norm(matrix, axis=1).sum() / 2
        images = _within(matrix, LAST / alpha + farthest)
        apart = self.nearest(places[i] - places[j])[:, None] + images
        r = jnp.sqrt(jnp.square(apart).sum(-1) + 1e-24)
        near = (charges[i] * charges[j] * (erfc(alpha * r) / r).sum(-1)).sum()
        k = _within(reciprocal, 2 * alpha * LAST)
        k = k[[_is_first(each) and bool(each.any()) for each in k]]
        squares = np.square(k).sum(1)
        angles = places @ k.T
        structure = jnp.square(charges @ jnp.cos(angles)) + jnp.square(charges @ jnp.sin(angles))
        far = (np.exp(-squares / (4 * alpha**2)) / squares) @ structure
        own = np.linalg.norm(images, axis=1)
        own = own[own > 0]
        with_images = (erfc(alpha * own) / own).sum() / 2 - alpha / np.sqrt(np.pi)
        background = -np.pi / (2 * alpha**2 * self.volume) * charges.sum() ** 2
        waves = 4 * np.pi / self.volume * far
        return near + waves + with_images * jnp.square(charges).sum() + background


def _within(rows: Floats, radius: float, offset: Floats | None = None) -> Floats:
    """Vectors n @ rows of whole numbers n (plus an offset) no longer than `radius`."""
    shift = np.zeros(3) if offset is None else offset
    # n_i is the component along the i-th vector of the inverse, whose length bounds it.
    reach = np.ceil(radius * np.linalg.norm(np.linalg.inv(rows), axis=0)).astype(int) + 1
    axes = [np.arange(-n, n + 1) for n in reach]
    found = (np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3) + shift) @ rows
    return found[np.square(found).sum(1) <= radius**2]


def _is_first(k: Floats) -> bool:
    """Tell one of k and -k: that whose first component that is not zero is positive."""
    size = np.abs(k).max()
    for component in k:
        if abs(component) > 1e-9 * size:
            return bool(component > 0)
    return True
