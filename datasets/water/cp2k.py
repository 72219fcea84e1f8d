"""CP2K for the water data set: the level of theory, input files, runs and parsing.

Everything that decides a label is in this file. A frame costs two runs on the same basis:
`guess` converges the orbitals on a coarse grid, where a step is cheap, and `final` takes them
over on the fine grid and needs only a few steps. Energies and forces are those of `final`.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.units import create_units

CODATA = create_units("2018")
HARTREE = CODATA["Hartree"]  # eV
HARTREE_PER_BOHR = CODATA["Hartree"] / CODATA["Bohr"]  # eV/Å


@dataclass(frozen=True)
class Grid:
    """Numerical settings of one run: plane-wave cutoffs in Ry, thresholds in hartree units."""

    cutoff: int
    rel_cutoff: int
    levels: int
    eps_default: str
    eps_scf: str
    inner_steps: int
    outer_loops: int


GUESS = Grid(200, 20, 4, "1.0E-8", "1.0E-4", inner_steps=8, outer_loops=8)
FINAL = Grid(1150, 50, 6, "1.0E-10", "2.0E-5", inner_steps=15, outer_loops=6)

DFT_TEMPLATE = """\
&GLOBAL
  PROJECT {project}
  RUN_TYPE {run_type}
  PRINT_LEVEL MEDIUM
&END GLOBAL
&FORCE_EVAL
  METHOD QUICKSTEP
  &DFT
    BASIS_SET_FILE_NAME GTH_BASIS_SETS
    POTENTIAL_FILE_NAME GTH_POTENTIALS
    WFN_RESTART_FILE_NAME orbitals.wfn
    &MGRID
      CUTOFF {grid.cutoff}
      REL_CUTOFF {grid.rel_cutoff}
      PROGRESSION_FACTOR 2.0
      NGRIDS {grid.levels}
    &END MGRID
    &QS
      METHOD GPW
      EPS_DEFAULT {grid.eps_default}
    &END QS
    &SCF
      SCF_GUESS {guess}
      EPS_SCF {grid.eps_scf}
      MAX_SCF {grid.inner_steps}
      &OUTER_SCF
        EPS_SCF {grid.eps_scf}
        MAX_SCF {grid.outer_loops}
      &END OUTER_SCF
      &OT
        MINIMIZER DIIS
        PRECONDITIONER FULL_SINGLE_INVERSE
      &END OT
      &PRINT
        &RESTART
          FILENAME =orbitals.wfn
          BACKUP_COPIES 0
        &END RESTART
      &END PRINT
    &END SCF
    &XC
      &XC_FUNCTIONAL
        &PBE
          PARAMETRIZATION REVPBE
        &END PBE
      &END XC_FUNCTIONAL
      &VDW_POTENTIAL
        POTENTIAL_TYPE PAIR_POTENTIAL
        &PAIR_POTENTIAL
          TYPE DFTD3
          PARAMETER_FILE_NAME dftd3.dat
          REFERENCE_FUNCTIONAL revPBE
          R_CUTOFF 15.0
        &END PAIR_POTENTIAL
      &END VDW_POTENTIAL
    &END XC
  &END DFT
  &PRINT
    &FORCES
      FILENAME forces
      NDIGITS 12
    &END FORCES
  &END PRINT
  &SUBSYS
    &CELL
      ABC {abc}
    &END CELL
    &COORD
{coordinates}
    &END COORD
    &KIND O
      BASIS_SET TZV2P-GTH
      POTENTIAL GTH-PBE-q6
    &END KIND
    &KIND H
      BASIS_SET TZV2P-GTH
      POTENTIAL GTH-PBE-q1
    &END KIND
  &END SUBSYS
&END FORCE_EVAL
"""


def dft_input(atoms: Atoms, project: str, grid: Grid) -> str:
    """Return the CP2K input of one run of a frame; `project` is "guess" or "final"."""
    check_frame(atoms)
    guess = project == "guess"
    return DFT_TEMPLATE.format(
        project=project,
        run_type="ENERGY" if guess else "ENERGY_FORCE",
        guess="ATOMIC" if guess else "RESTART",
        grid=grid,
        abc=" ".join(f"{edge:.8f}" for edge in atoms.cell.lengths()),
        coordinates="\n".join(
            f"{symbol} {x:.8f} {y:.8f} {z:.8f}"
            for symbol, (x, y, z) in zip(atoms.symbols, atoms.positions)
        ),
    )


def check_frame(atoms: Atoms) -> None:
    """Refuse what this level of theory is not set up for."""
    others = sorted(set(atoms.symbols) - {"H", "O"})
    if others:
        raise ValueError(f"expected only H and O, found {', '.join(others)}")
    if not atoms.pbc.all() or not np.allclose(atoms.cell.angles(), 90):
        raise ValueError("expected an orthorhombic cell, periodic in three directions")


@dataclass(frozen=True)
class Outcome:
    """What one CP2K output says. `problem` is empty if the numbers may be used."""

    energy: float  # eV
    scf_steps: int
    problem: str


def read_output(text: str) -> Outcome:
    """Return energy (eV), SCF steps and the reason, if any, for which the run is no label."""
    energies = re.findall(r"ENERGY\| Total FORCE_EVAL \( QS \) energy.*:\s+(\S+)", text)
    steps = len(re.findall(r"^ +\d+ OT ", text, flags=re.MULTILINE))
    if "PROGRAM ENDED AT" not in text:
        problem = "CP2K did not reach its end"
    elif "outer SCF loop converged" not in text:
        # Version 2023.1 goes on with unconverged orbitals and only warns.
        problem = "SCF did not converge"
    elif not energies:
        problem = "no energy in the output"
    else:
        problem = ""
    return Outcome(float(energies[-1]) * HARTREE if energies else float("nan"), steps, problem)


def read_forces(text: str, symbols: list[str]) -> np.ndarray:
    """Return forces (n, 3) in eV/Å from CP2K's FORCES file, its atoms checked with `symbols`."""
    rows = [line.split() for line in text.splitlines()]
    rows = [row for row in rows if len(row) == 6 and row[0].isdigit()]
    if [row[2] for row in rows] != symbols:
        raise ValueError(f"forces of {len(rows)} atoms do not match the frame's {len(symbols)}")
    forces = np.array([[float(x) for x in row[3:]] for row in rows]) * HARTREE_PER_BOHR
    if not np.isfinite(forces).all():
        raise ValueError("a force is not finite")
    return forces


def run(folder: Path, project: str, text: str, lock: int, ranks: int = 1) -> float:
    """Run CP2K on `text` in `folder` to PROJECT.out; return the seconds of processor time.

    The open file descriptor `lock` is handed down, so that the lock outlives this process if
    it is killed and CP2K is not. There is no time limit: the run may be stopped and continued.

    Raises
    ------
    InterruptedError
        If CP2K was ended from outside.
    """
    (folder / f"{project}.inp").write_text(text)
    (folder / f"{project}.out").unlink(missing_ok=True)  # CP2K appends
    command = ["nice", "-n", "19", "cp2k.psmp", "-i", f"{project}.inp", "-o", f"{project}.out"]
    if ranks > 1:
        mpi = ["mpirun.openmpi", "--allow-run-as-root", "--bind-to", "none", "-n", str(ranks)]
        command[3:3] = mpi
    with open(folder / f"{project}.err", "wb") as errors:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            pass_fds=(lock,),
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode < 0 or process.returncode > 128:
        # Somebody ended it: that says nothing about the frame, which must stay unfinished.
        raise InterruptedError(f"CP2K was ended by a signal in {folder}; run again to go on")
    return usage.ru_utime + usage.ru_stime


def is_finished(folder: Path, project: str, text: str) -> bool:
    """Tell whether `run` on this very input reached its end, even if nobody was waiting."""
    given, output = folder / f"{project}.inp", folder / f"{project}.out"
    return (
        given.exists()
        and given.read_text() == text
        and output.exists()
        and "PROGRAM ENDED AT" in tail(output)
    )


def tail(path: Path, lines: int = 25) -> str:
    """Return the last lines of a log, for a failure record."""
    text = path.read_text(errors="replace") if path.exists() else ""
    return "\n".join(text.splitlines()[-lines:])
