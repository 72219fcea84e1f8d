"""How far force fields differ on the same atoms: what an ensemble says of its own error.

Source: Zhang, Lin, Wang, Car & E, Phys. Rev. Materials 3, 023804 (2019); the six numbers are those
of deepmd-kit's ``model_devi.out`` and of ``pair_style huozi``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

DEVIATIONS = ("max_devi_v", "min_devi_v", "avg_devi_v", "max_devi_f", "min_devi_f", "avg_devi_f")
"""Names of the six numbers of `deviations`."""


def force_deviation(forces: Array) -> Array:
    """Deviation of the force on each atom, sqrt(<|F - <F>|^2>) over the members.

    Parameters
    ----------
    forces : (members, n, 3) array
        eV/Å.

    Returns
    -------
    (n,) array
        eV/Å.
    """
    spread = np.asarray(forces, np.float64)
    spread = spread - spread.mean(axis=0)
    return np.sqrt(np.square(spread).sum(axis=2).mean(axis=0))


def deviations(forces: Array, virials: Array) -> Array:
    """Largest, least and mean deviation: of the virial, and of the forces.

    Parameters
    ----------
    forces : (members, n, 3) array
        eV/Å; at least one atom.
    virials : (members, 3, 3) array
        eV.

    Returns
    -------
    (6,) array
        Named by `DEVIATIONS`. Three of the virial, eV per atom: largest, least and root mean
        square of the standard deviations of its nine components. Three of the forces, eV/Å:
        largest, least and mean over the atoms of `force_deviation`.
    """
    force = force_deviation(forces)
    virial = np.std(np.asarray(virials, np.float64), axis=0) / len(force)
    of_virial = [virial.max(), virial.min(), np.sqrt(np.mean(virial**2))]
    return np.array([*of_virial, force.max(), force.min(), force.mean()])
