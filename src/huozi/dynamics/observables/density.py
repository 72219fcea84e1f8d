"""Mass density."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from huozi.dynamics.observables.blocks import Average, block_average
from huozi.dynamics.observables.rdf import check_periodic
from huozi.units import AMU_A3_GCM3


def density(frames: Sequence[Atoms]) -> Average:
    """Mass density in g/cm^3, averaged over frames, with its standard error.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        Four or more periodic frames.

    Returns
    -------
    Average
        See `block_average`.

    Raises
    ------
    ValueError
        If a frame has no cell or there are fewer than four frames.
    """
    values = []
    for index, atoms in enumerate(frames):
        check_periodic(atoms, index)
        values.append(atoms.get_masses().sum() / atoms.cell.volume * AMU_A3_GCM3)
    return block_average(np.array(values))
