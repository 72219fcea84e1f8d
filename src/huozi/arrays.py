"""JAX with 64-bit numbers switched on.

Every module that computes with JAX imports it from here. Networks run in float32 because
their arrays say so; energies, coordinates and cells are float64, which JAX would silently
truncate without this switch (docs/decisions/002-float64.md).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

jax.config.update("jax_enable_x64", True)

AXIS = "device"
"""Name of the axis of arrays that devices share."""


def device_mesh(count: int) -> Mesh | None:
    """Return the devices that share a computation; None for a single one.

    Raises
    ------
    ValueError
        If there are fewer devices, or several processes of which some would have none.
    """
    available = jax.device_count()
    if count > available or (jax.process_count() > 1 and count != available):
        raise ValueError(
            f"devices: {count} are asked for, {available} are there, in {jax.process_count()} "
            "processes; several processes use all devices, and one processor counts as several "
            "with XLA_FLAGS=--xla_force_host_platform_device_count=N"
        )
    return Mesh(np.array(jax.devices()[:count]), (AXIS,)) if count > 1 else None


__all__ = ["AXIS", "device_mesh", "jax", "jnp"]
