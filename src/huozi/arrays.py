"""JAX with 64-bit numbers switched on.

Every module that computes with JAX imports it from here. Networks run in float32 because
their arrays say so; energies, coordinates and cells are float64, which JAX would silently
truncate without this switch (docs/decisions/002-float64.md).
"""

import jax
import jax.numpy as jnp

jax.config.update("jax_enable_x64", True)

__all__ = ["jax", "jnp"]
