"""Units and constants: eV, Å, fs, K, amu, e (CODATA 2014 through ASE).

Times are in fs and velocities in Å/fs everywhere in Huozi; ASE's own unit of time
(10.18 fs) appears only where ASE objects are read or written.
"""

from ase import units as _ase

KB = float(_ase.kB)
"""Boltzmann constant, eV/K."""

ASE_TIME = 1.0 / float(_ase.fs)
"""One ASE unit of time, fs."""

AMU_A2_FS2 = 1.0 / (float(_ase.fs) ** 2)
"""One amu Å^2/fs^2, eV: kinetic energy = 0.5 m v^2 AMU_A2_FS2."""

GPA = 1.0 / float(_ase.GPa)
"""One eV/Å^3, GPa."""

HARTREE = float(_ase.Hartree)
"""One hartree, eV."""

BOHR = float(_ase.Bohr)
"""One bohr, Å."""

AMU_A3_GCM3 = float(_ase._amu) * 1e3 / 1e-24
"""One amu/Å^3, g/cm^3."""
