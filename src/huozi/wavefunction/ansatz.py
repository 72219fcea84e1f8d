"""Wave functions of Jastrow factor and determinants whose orbitals are shaped by a network.

    psi = exp(J) A,    A = det[sum_m w_m phi_m(i) phi_m(j)], or sum_k w_k det[phi_kj(i)] det[...]
    phi_kj(i) = Phi_kj(r_i) (1 + a_kj . h_i) + envelope_kj(r_i) (b_kj . h_i)

The first is a geminal (`geminals.py`), the second a sum of determinants of the electrons of
either spin. h_i are the network's outputs, Phi starts as Hartree-Fock's orbitals, J holds the exact
cusps and a network for pairs. What makes h_i is all that one ansatz (`psiformer.py`, `ferminet.py`,
`lapnet.py`) has for itself; `pair_product.py` also puts another product in the determinants' place.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from huozi.arrays import jax, jnp
from huozi.wavefunction import determinants as slater
from huozi.wavefunction import features, geminals, jastrow, jets
from huozi.wavefunction.cell import Cell
from huozi.wavefunction.jets import Value
from huozi.wavefunction.molecule import Molecule
from huozi.wavefunction.orbitals import Basis, hartree_fock

Array = jax.Array
Params = dict[str, Any]


@dataclass(frozen=True)
class Ansatz(ABC):
    """A wave function of given electrons and nuclear charges; its parameters are kept outside.

    Parameters
    ----------
    charges, bare : tuple of int, tuple of bool
        Of the nuclei, see `Molecule`.
    up, down : int
        Electrons of either spin.
    width, layers, determinants, pair_width : int
        Size of the network, and width of the networks for pairs.
    precision : str
        Of the network, ``float32`` or ``float64``; all else is float64.
    pairing : str
        ``geminals``, which have as many orbitals for each of Hartree-Fock's as there would be
        `determinants`, or ``determinants``.
    cell : Cell, optional
        That repeats.
    """

    of_geometry: ClassVar[tuple[str, ...]] = ("coefficients", "basis", "weights")
    """Parameters that every geometry has for itself; see `geometries.py`."""

    charges: tuple[int, ...]
    bare: tuple[bool, ...]
    up: int
    down: int
    width: int = 16
    layers: int = 2
    determinants: int = 4
    pair_width: int = 16
    precision: str = "float32"
    pairing: str = "geminals"
    cell: Cell | None = None

    @classmethod
    def for_molecule(cls, molecule: Molecule, **sizes: Any) -> Self:
        """Build the ansatz of a molecule; `sizes` are the class's own.

        Without pairs of electrons there are determinants, of which one alone trains badly.
        """
        sizes = {"pairing": "geminals" if molecule.down else "determinants"} | sizes
        form = (molecule.charges, molecule.bare, molecule.up, molecule.down)
        return cls(*form, cell=molecule.cell, **sizes)

    @property
    def basis(self) -> Basis:
        """Functions of the orbitals."""
        return Basis(self.charges, self.bare, self.cell, self.up)

    @property
    def inputs(self) -> int:
        """What a network sees of one electron: features and the spin."""
        return features.ELECTRON_FEATURES * len(self.charges) + 1

    def init(self, seed: int, molecule: Molecule | None) -> Params:
        """Parameters that make Hartree-Fock's determinant times the cusps.

        Without a molecule the orbitals are zero: the form of the parameters, to read files into.
        """
        rng = np.random.default_rng(seed)

        def matrix(rows: int, columns: int, scale: float = 1.0) -> np.ndarray:
            return scale * rng.normal(size=(rows, columns)) / np.sqrt(rows)

        d, inputs = self.width, self.inputs
        layers = self.init_layers(matrix)
        basis = self.basis
        orbitals, exponents = np.zeros((basis.size, basis.size)), basis.init(1.0)
        if molecule:
            start = hartree_fock(molecule, basis)
            orbitals = start.orbitals[:, start.usable(self.up)]
            exponents = start.exponents
        coefficients, weights = self.start(orbitals)
        params = {
            "cusp": jastrow.init_cusp(),
            "pairs": jastrow.init_pair_network(rng, inputs, self.pair_width),
            "input": {"weight": matrix(inputs, d), "bias": np.zeros(d)},
            "layers": layers,
            "orbitals": {
                spin: self._init_orbital(chosen.shape[1:], matrix)
                for spin, chosen in coefficients.items()
            },
            "coefficients": coefficients,
            "basis": exponents,
            "weights": weights,
        }
        return jax.tree.map(jnp.asarray, params)

    @abstractmethod
    def init_layers(self, matrix: Any) -> Any:
        """Parameters of `network`; `matrix(rows, columns)` draws one."""

    @abstractmethod
    def network(self, h: Value, x: Value, layers: Any) -> Value:
        """Let electrons see each other: from one-electron states (N, d) to outputs (N, d).

        A permutation of electrons of the same spin must permute the outputs.

        Parameters
        ----------
        h : (N, d)
            Of each electron alone, in the network's precision; the outputs are spread to all
            coordinates (`jets.spread_electrons`).
        x : (N, 3)
            Positions, or their jets (`jets.seed`).
        """

    def start(self, found: np.ndarray) -> tuple[Params, np.ndarray]:
        """Coefficients (size, K, columns) of up and down, from those of Hartree-Fock, (size, n).

        And the weights, with which they make its determinant.
        """
        size = (self.up, self.down, found.shape[1])
        if self.pairing == "geminals":
            sets = geminals.paired(*size, self.determinants * self.down)
            weights = (np.arange(sets[1].size) < self.down).astype(float)
        else:
            sets = slater.configurations(*size, self.determinants)
            weights = np.eye(self.determinants)[0]
        return {spin: found[:, chosen] for spin, chosen in zip(("up", "down"), sets)}, weights

    def antisymmetric(
        self, up: Value | None, down: Value | None, weights: Array
    ) -> tuple[Array | None, Value]:
        """Sign (None for jets) and logarithm of what is antisymmetric in electrons of one spin.

        Parameters
        ----------
        up, down : (K, n, columns), or None
            Orbitals of the electrons (rows); None where a spin has no electrons.
        weights : array
        """
        form = geminals.log_geminal if self.pairing == "geminals" else slater.log_sum
        return form(up, down, weights)

    def _init_orbital(self, shape: tuple[int, ...], matrix: Any) -> Params:
        return {
            "envelope": self.basis.init_envelopes(shape, matrix),
            "factor": matrix(self.width, int(np.prod(shape)), 0.01),
            "term": matrix(self.width, int(np.prod(shape)), 0.01),
        }

    def log_psi(self, params: Params, nuclei: Array, x: Value) -> Value:
        """Logarithm of |psi|, for positions (N, 3) or their jets (`jets.seed`)."""
        return self.sign_and_log(params, nuclei, x)[1]

    def sign_and_log(self, params: Params, nuclei: Array, x: Value) -> tuple[Array | None, Value]:
        """Sign (None for jets) and logarithm of |psi|."""
        vectors, r2 = features.to_nuclei(x, nuclei, self.cell)
        basis = self.basis.values(params["basis"], x, nuclei, (vectors, r2))
        small = jax.tree.map(lambda p: p.astype(self.precision), params)
        inputs = self._inputs(vectors, r2)
        stream = self.network(jets.dense(inputs, **small["input"]), x, small["layers"])
        up, down = (self._matrix(params, small, basis, stream, spin) for spin in ("up", "down"))
        sign, orbitals = self.antisymmetric(up, down, params["weights"])
        factors = [orbitals, jets.sum_electrons(jastrow.nuclear_cusp(r2, self.basis.cusps))]
        i, j, same = features.electron_pairs(self.up, self.down)
        if len(i):
            _, apart2 = features.between(x, i, j, self.cell)
            cusps = jastrow.electron_cusp(apart2, same, params["cusp"])
            factors.append(jets.sum_both(jets.by_both(cusps), i, j, self.up + self.down))
            network = jastrow.pair_network(inputs, apart2, (i, j, same), small["pairs"])
            factors.append(jets.cast(network, jnp.float64))
        return sign, jets.linear(lambda *f: sum(f), *factors)

    def _inputs(self, vectors: Value, r2: Value) -> Value:
        """One-electron features and the spin, (N, F)."""
        charges = np.array(self.charges, float)
        basis = self.basis
        seen = features.electron_features(vectors, r2, charges, basis.cusps, basis.rounding)
        seen = jets.cast(seen, self.precision)
        widened = jets.linear(lambda v: jnp.pad(v, ((0, 0), (0, 1))), seen)
        spins = np.zeros((self.up + self.down, self.inputs), self.precision)
        spins[: self.up, -1], spins[self.up :, -1] = 1.0, -1.0
        return jets.shift(widened, spins)

    def _matrix(
        self, params: Params, small: Params, basis: Value, stream: Value, spin: str
    ) -> Value | None:
        """Orbitals of the electrons of one spin, (K, n, columns)."""
        rows = slice(None, self.up) if spin == "up" else slice(self.up, None)
        n = self.up if spin == "up" else self.down
        if n == 0:
            return None
        p, net = params["orbitals"][spin], small["orbitals"][spin]

        def expand(coefficients: Array, functions: slice) -> Value:
            flat = coefficients.reshape(coefficients.shape[0], -1)
            own = jets.linear(lambda v: v[rows, functions] @ flat, basis)
            return jets.spread_electrons(own, self.up + self.down, rows)

        start = expand(params["coefficients"][spin], slice(None))
        envelope = expand(p["envelope"], slice(len(p["envelope"])))
        h = jets.linear(lambda v: v[rows], stream)
        factor, term = (
            jets.cast(jets.dense(h, net[name]), jnp.float64) for name in ("factor", "term")
        )
        orbitals = jets.add(
            jets.multiply(start, jets.shift(factor, jnp.ones(()))), jets.multiply(envelope, term)
        )
        shape = p["envelope"].shape[1:]
        return jets.linear(lambda v: v.reshape(n, *shape).swapaxes(0, 1), orbitals)
