"""Density functional theory in Gaussians and plane waves by CP2K, with an input of our own.

CP2K goes on with unconverged orbitals and only warns, so its output is read with care.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.units import GPa, create_units
from numpy.typing import NDArray

from huozi.labels.labeller import LabelError, charge_and_multiplicity, checked
from huozi.labels.settings import Cp2kLevel
from huozi.systems import Labels
from huozi.units import KB

_CODATA = create_units("2018")
HARTREE = _CODATA["Hartree"]
HARTREE_PER_BOHR = _CODATA["Hartree"] / _CODATA["Bohr"]
LEAST = 8.0
"""Oldest version whose output is understood."""

INPUT = """\
&GLOBAL
  PROJECT label
  RUN_TYPE ENERGY_FORCE
  PRINT_LEVEL MEDIUM
&END GLOBAL
&FORCE_EVAL
  METHOD QUICKSTEP
  STRESS_TENSOR {stress}
  &DFT
    BASIS_SET_FILE_NAME BASIS_MOLOPT
    BASIS_SET_FILE_NAME GTH_BASIS_SETS
    POTENTIAL_FILE_NAME GTH_POTENTIALS
    CHARGE {charge}
    MULTIPLICITY {multiplicity}
    UKS {spin}
    &MGRID
      CUTOFF {level.cutoff}
      REL_CUTOFF {level.rel_cutoff}
    &END MGRID
    &QS
      EPS_DEFAULT 1.0E-12
    &END QS
    &POISSON
      PERIODIC {periodic}
      POISSON_SOLVER {solver}
    &END POISSON
    &SCF
      SCF_GUESS ATOMIC
      EPS_SCF {level.convergence}
      MAX_SCF {steps}
{solver_block}
    &END SCF
    &XC
      &XC_FUNCTIONAL
{functional}
      &END XC_FUNCTIONAL
{dispersion}
    &END XC
  &END DFT
  &PRINT
    &FORCES
      FILENAME forces
      NDIGITS 12
    &END FORCES
    &STRESS_TENSOR
    &END STRESS_TENSOR
  &END PRINT
  &SUBSYS
    &CELL
      A {cell[0]}
      B {cell[1]}
      C {cell[2]}
      PERIODIC {periodic}
    &END CELL
    &COORD
{coordinates}
    &END COORD
{kinds}
  &END SUBSYS
&END FORCE_EVAL
"""
OT = """\
      &OUTER_SCF
        EPS_SCF {level.convergence}
        MAX_SCF 10
      &END OUTER_SCF
      &OT
        MINIMIZER DIIS
        PRECONDITIONER FULL_SINGLE_INVERSE
      &END OT"""
SMEAR = """\
      ADDED_MOS {empty}
      &SMEAR ON
        METHOD FERMI_DIRAC
        ELECTRONIC_TEMPERATURE {kelvin}
        FIXED_MAGNETIC_MOMENT {moment}
      &END SMEAR
      &MIXING
        METHOD BROYDEN_MIXING
        ALPHA 0.2
      &END MIXING"""
D3 = """\
      &VDW_POTENTIAL
        POTENTIAL_TYPE PAIR_POTENTIAL
        &PAIR_POTENTIAL
          TYPE DFTD3(BJ)
          PARAMETER_FILE_NAME dftd3.dat
          REFERENCE_FUNCTIONAL {level.method}
          R_CUTOFF 15.0
        &END PAIR_POTENTIAL
      &END VDW_POTENTIAL"""
FUNCTIONALS = {
    "PBE": "        &PBE\n        &END PBE",
    "REVPBE": "        &PBE\n          PARAMETRIZATION REVPBE\n        &END PBE",
    "PBESOL": "        &PBE\n          PARAMETRIZATION PBESOL\n        &END PBE",
    "BLYP": "        &BECKE88\n        &END BECKE88\n        &LYP\n        &END LYP",
    "PADE": "        &PADE\n        &END PADE",
}


class Cp2kLabeller:
    """Energy and forces, and the virial of cells; Gamma point.

    Source: Kühne et al., J. Chem. Phys. 152, 194103 (2020).
    """

    def __init__(self, level: Cp2kLevel) -> None:
        self._level = level
        found = [path for name in level.command if (path := shutil.which(name))]
        if not found:
            raise ImportError(
                "the label engine cp2k needs the program cp2k: apt-get install cp2k "
                "(or conda install -c conda-forge cp2k)"
            )
        self._program = found[0]
        answer = subprocess.run([self._program, "--version"], capture_output=True, text=True)
        version = re.search(r"CP2K version (\d+\.\d+)", answer.stdout)
        if version is None or float(version[1]) < LEAST:
            raise ImportError(f"{self._program} is not CP2K {LEAST} or newer")
        self.code = f"CP2K {version[1]}"
        suffix = "" if level.dispersion == "none" else "-D3(BJ)"
        self.level = f"{level.method}{suffix}/{level.basis}({level.cutoff:g} Ry)"

    def label(self, atoms: Atoms) -> Labels:
        """See `huozi.labels.Labeller`."""
        with tempfile.TemporaryDirectory(prefix="huozi-cp2k-") as folder:
            (Path(folder) / "label.inp").write_text(write_input(atoms, self._level))
            ran = subprocess.run(
                [self._program, "-i", "label.inp"],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
            sys.stdout.write(ran.stdout)  # into the task's log
            forces = "".join(p.read_text() for p in Path(folder).glob("label-forces*"))
        return checked(read_output(ran.stdout, forces, atoms), atoms)


def write_input(atoms: Atoms, level: Cp2kLevel) -> str:
    """Return CP2K's input for a frame.

    Raises
    ------
    LabelError
        If the frame is periodic in some directions but not all.
    """
    charge, multiplicity = charge_and_multiplicity(atoms, level)
    periodic = bool(atoms.pbc.all())
    if atoms.pbc.any() and not periodic:
        raise LabelError("CP2K labels molecules and cells periodic in all directions alone")
    box = atoms.copy()
    if not periodic:
        # The wavelet solver of open boundaries asks for a cube with room at its faces.
        box.center(5.0)
        box.set_cell(np.eye(3) * box.cell.lengths().max())
        box.center()
    smearing = smearing_block(level, len(atoms), multiplicity) if level.smearing else ""
    return INPUT.format(
        steps=level.max_steps * (10 if smearing else 1),
        level=level,
        charge=charge,
        multiplicity=multiplicity,
        spin="T" if multiplicity > 1 else "F",
        periodic="XYZ" if periodic else "NONE",
        solver="PERIODIC" if periodic else "WAVELET",
        stress="ANALYTICAL" if periodic else "NONE",
        solver_block=smearing or OT.format(level=level),
        functional=FUNCTIONALS[level.method],
        dispersion=D3.format(level=level) if level.dispersion == "d3bj" else "",
        cell=[" ".join(f"{x:.10f}" for x in row) for row in box.cell.array],
        coordinates="\n".join(
            f"      {symbol} {x:.10f} {y:.10f} {z:.10f}"
            for symbol, (x, y, z) in zip(box.symbols, box.positions)
        ),
        kinds="\n".join(
            f"    &KIND {symbol}\n      BASIS_SET {level.basis}\n      POTENTIAL {level.pseudo}\n"
            "    &END KIND"
            for symbol in sorted(set(box.symbols))
        ),
    )


def smearing_block(level: Cp2kLevel, atoms: int, multiplicity: int) -> str:
    """Return the part of the input for diagonalisation with fractional occupations.

    Two Fermi levels keep the multiplicity; a negative moment, CP2K's default, is free.
    """
    moment = multiplicity - 1 if multiplicity > 1 else -100
    return SMEAR.format(kelvin=level.smearing / KB, empty=max(10, atoms), moment=moment)


def read_output(text: str, forces: str, atoms: Atoms) -> Labels:
    """Return the labels that an output and a forces file hold.

    Raises
    ------
    LabelError
        If the run did not end, did not converge, or the numbers are not there.
    """
    # Newer versions stop there; older ones go on.
    if "PROGRAM ENDED AT" not in text and not re.search(r"SCF .*NOT converged", text):
        raise LabelError("CP2K did not reach its end")
    if (
        not re.search(r"SCF (run|loop) converged", text)
        or "SCF run NOT converged" in text.split("outer SCF loop converged")[-1]
    ):
        raise LabelError("SCF did not converge")
    energies = re.findall(r"ENERGY\| Total FORCE_EVAL \( QS \) energy.*:\s+(\S+)", text)
    rows = [line.split() for line in forces.splitlines()]
    rows = [row for row in rows if len(row) == 6 and row[0].isdigit()]
    if not energies or [row[2] for row in rows] != list(atoms.symbols):
        raise LabelError("CP2K wrote no energy, or not the forces of these atoms")
    values = np.array([[float(x) for x in row[3:]] for row in rows]) * HARTREE_PER_BOHR
    virial = _virial(text, atoms.get_volume()) if atoms.pbc.all() else None
    return Labels(float(energies[-1]) * HARTREE, values, virial)


def _virial(text: str, volume: float) -> NDArray[np.floating]:
    """Virial, eV, from the printed stress tensor: CP2K's pressure tensor has our sign."""
    rows = re.findall(r"STRESS\| +[xyz] +(-?\d\S+) +(\S+) +(\S+)", text)
    unit = re.search(r"Analytical stress tensor \[(\w+)\]", text)
    scale = {"GPa": GPa, "bar": GPa * 1e-4}.get(unit[1] if unit else "")
    if len(rows) < 3 or scale is None:
        raise LabelError("CP2K wrote no stress tensor")
    return np.array(rows[:3], float) * scale * volume
