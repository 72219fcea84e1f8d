"""The compiled kernel: the same energies, forces and attention as JAX, several times faster."""

from huozi.kernels.library import (
    attend,
    evaluate,
    fill_table,
    instruction_set,
    is_available,
    load,
    machine_peak,
)

__all__ = [
    "attend",
    "evaluate",
    "fill_table",
    "instruction_set",
    "is_available",
    "load",
    "machine_peak",
]
