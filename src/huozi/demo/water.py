"""What experiments say of liquid water."""

from __future__ import annotations

import math

DENSITY = (0.95, 1.05)
"""Range of densities, g/cm^3, in which the numbers below may stand beside a simulation's."""

OXYGEN_PEAK = "2.57 ± 0.05 at 2.80 Å"
"""First peak of g_OO at 295 K (Skinner et al., J. Chem. Phys. 138, 074506 (2013))."""

VISCOSITY = 0.89
"""Shear viscosity at 298 K, mPa s (Huber et al., J. Phys. Chem. Ref. Data 38, 101 (2009))."""

SOURCES = (
    "Experiment: diffusion from Holz, Heil & Sacco, Phys. Chem. Chem. Phys. 2, 4740 (2000), "
    "at the temperature of the run; g(r) at 295 K from Skinner et al., J. Chem. Phys. 138, "
    "074506 (2013)."
)


def diffusion(temperature: float) -> float | None:
    """Self-diffusion coefficient of water, 1e-5 cm^2/s; None outside of 273 to 373 K.

    Source: Holz, Heil & Sacco, Phys. Chem. Chem. Phys. 2, 4740 (2000), fit of equation 1.
    """
    if not 273 <= temperature <= 373:
        return None
    return 1.635e-8 * math.pow(temperature / 215.05 - 1, 2.063) * 1e9
