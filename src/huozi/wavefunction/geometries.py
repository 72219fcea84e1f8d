"""Parameters of one network for several geometries of a molecule.

What a wave function names in `of_geometry` (`ansatz.py`: coefficients and exponents of the
orbitals and weights of the determinants, which start from each geometry's own Hartree-Fock)
is stacked along a first axis, one entry per geometry. All other parameters are shared.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from huozi.arrays import jax, jnp

Array = jax.Array
Params = dict[str, Any]


def stack(wave_function: Any, each: Sequence[Params]) -> Params:
    """Join the parameters of every geometry; the shared ones are those of the first."""
    own = wave_function.of_geometry
    return {
        name: jax.tree.map(lambda *leaves: jnp.stack(leaves), *(p[name] for p in each))
        if name in own
        else value
        for name, value in each[0].items()
    }


@functools.partial(jax.jit, static_argnums=0)
def select(wave_function: Any, params: Params, geometry: int | Array) -> Params:
    """Take the parameters of one geometry."""
    return _of_own(wave_function, lambda leaf: leaf[geometry], params)


def spread(wave_function: Any, gradient: Params, geometry: Array, count: int) -> Params:
    """Widen derivatives by the parameters of one geometry of `count` to those by all."""
    here = jnp.arange(count) == geometry
    return _of_own(wave_function, lambda leaf: jnp.multiply.outer(here, leaf), gradient)


def _of_own(wave_function: Any, change: Any, params: Params) -> Params:
    own = wave_function.of_geometry
    return {n: jax.tree.map(change, p) if n in own else p for n, p in params.items()}
