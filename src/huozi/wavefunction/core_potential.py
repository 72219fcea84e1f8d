"""Effective core potentials: what stands for a nucleus and its core electrons.

    V psi / psi = sum_i V_local(r) + sum_l dV_l(r) (2 l + 1) / (4 pi)
                  int P_l(cos theta) psi(r_i -> R + r Omega) / psi dOmega

for every such nucleus at R, with r = |r_i - R| and theta the angle between Omega and r_i - R. The
integral is a sum over the twelve corners of an icosahedron, exact for products of harmonics up to
degree five, and turned at random so that it is right on average for all others.

Source: Mitas, Shirley & Ceperley, J. Chem. Phys. 95, 3467 (1991); the radial functions are sums of
c r^(n - 2) exp(-a r^2), for ccECP fitted by Bennett et al., J. Chem. Phys. 147, 224106 (2017).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from huozi.arrays import jax, jnp
from huozi.wavefunction.hamiltonian import distance

Array = jax.Array
Terms = tuple[tuple[int, float, float], ...]
"""Powers n, exponents a and coefficients c of a radial function."""

NAMES = ("ccecp",)
"""Potentials to choose from, by their names in PySCF's library."""

GOLDEN = (1 + 5**0.5) / 2
ICOSAHEDRON = np.array(
    [np.roll([0, s, t * GOLDEN], k) for s in (1, -1) for t in (1, -1) for k in range(3)]
) / np.hypot(1, GOLDEN)
"""Its corners, unit vectors (12, 3)."""


@dataclass(frozen=True)
class CorePotential:
    """What electrons feel beside the attraction by the charge of nucleus and core together.

    Parameters
    ----------
    symbol, name : str
        Element, and one of `NAMES`.
    core : int
        Electrons that are left out.
    local : Terms
        V_local, hartree.
    channels : tuple of Terms
        dV_l for l = 0, 1, ..., hartree.
    """

    symbol: str
    name: str
    core: int
    local: Terms
    channels: tuple[Terms, ...]


def core_potential(symbol: str, name: str) -> CorePotential | None:
    """Potential of an element from PySCF's library; None where there is no core to replace.

    Raises
    ------
    ImportError
        Without PySCF.
    ValueError
        If the name is none of `NAMES`, or the library lacks the element.
    """
    if name not in NAMES:
        raise ValueError(f"the core potential {name!r} is not known; choose {', '.join(NAMES)}")
    try:
        from pyscf.gto.basis import load_ecp
    except ImportError:
        raise ImportError("core potentials need PySCF: pip install 'huozi[pyscf]'") from None
    found = load_ecp(name, symbol)
    if not found:
        raise ValueError(f"{name} has no potential for {symbol}")
    core, channels = found
    if core == 0:
        return None
    by_degree = {
        degree: tuple((n, float(a), float(c)) for n, some in enumerate(powers) for a, c in some)
        for degree, powers in channels
    }
    local = by_degree.pop(-1)
    degrees = range(max(by_degree) + 1)
    return CorePotential(symbol, name, core, local, tuple(by_degree.get(d, ()) for d in degrees))


def core_energy(
    potentials: Sequence[CorePotential | None],
    nuclei: Array,
    x: Array,
    sign_and_log: Callable[[Array], tuple[Any, Array]],
) -> Array:
    """Energy V psi / psi of electrons in the core potentials, hartree.

    The turn of the icosahedron is drawn from the digits of the positions, so that the energy is a
    function of them.

    Parameters
    ----------
    potentials : sequence of CorePotential or None
        Of each nucleus.
    nuclei, x : (M, 3), (N, 3) arrays
        Bohr.
    sign_and_log : callable
        Sign and logarithm of |psi| at positions (N, 3).
    """
    corners = ICOSAHEDRON @ _random_turn(x)
    local, places, weights = jnp.zeros(()), [], []
    for a, potential in enumerate(potentials):
        if potential is None:
            continue
        vectors = x - nuclei[a]
        r = distance(vectors)
        local += _radial(potential.local, r).sum()
        cosines = (vectors / r[:, None]) @ corners.T
        weight = jnp.zeros_like(cosines)
        for degree, terms in enumerate(potential.channels):
            factor = (2 * degree + 1) / len(corners)
            weight += factor * _radial(terms, r)[:, None] * _legendre(degree, cosines)
        weights.append(weight)
        places.append(nuclei[a] + r[:, None, None] * corners)
    sign, log = sign_and_log(x)

    def ratio(move: tuple[Array, Array]) -> Array:
        electron, place = move
        moved_sign, moved_log = sign_and_log(x.at[electron].set(place))
        return sign * moved_sign * jnp.exp(moved_log - log)

    electrons = np.tile(np.repeat(np.arange(len(x)), len(corners)), len(places))
    moves = (jnp.asarray(electrons), jnp.stack(places).reshape(-1, 3))
    ratios = jax.lax.map(ratio, moves, batch_size=len(corners))
    return local + ratios @ jnp.stack(weights).ravel()


def _random_turn(x: Array) -> Array:
    """Rotation matrix (3, 3) from the digits of positions, by a random quaternion."""
    words = jax.lax.bitcast_convert_type(x, jnp.uint32).ravel()
    digits = jax.lax.reduce(words, np.uint32(0), jax.lax.bitwise_xor, (0,))
    q = jax.random.normal(jax.random.key(digits), (4,))
    w, v = q[0], q[1:]
    cross = jnp.cross(jnp.eye(3), v)
    return jnp.eye(3) + 2 * (w * cross + cross @ cross) / (q @ q)


def _radial(terms: Terms, r: Array) -> Array:
    total = jnp.zeros_like(r)
    for n, exponent, coefficient in terms:
        total += coefficient * r ** (n - 2) * jnp.exp(-exponent * r**2)
    return total


def _legendre(degree: int, cosines: Array) -> Array:
    before, now = jnp.zeros_like(cosines), jnp.ones_like(cosines)
    for d in range(degree):
        before, now = now, ((2 * d + 1) * cosines * now - d * before) / (d + 1)
    return now
