"""Molecules: nuclei and electrons, in bohr and hartree."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from ase.data import atomic_numbers, chemical_symbols, ground_state_magnetic_moments

from huozi.units import BOHR
from huozi.wavefunction.cell import Cell
from huozi.wavefunction.core_potential import CorePotential, core_potential

UNITS = {"bohr": 1.0, "angstrom": 1.0 / BOHR}


@dataclass(frozen=True)
class Molecule:
    """Nuclei at fixed places and the numbers of electrons of either spin.

    Parameters
    ----------
    charges : tuple of int
        Of the M nuclei, e; of nucleus and core together where there is a core potential.
    positions : tuple of (float, float, float)
        Nuclei, bohr.
    up, down : int
        Electrons of either spin, up >= down.
    field : (float, float, float)
        Uniform electric field, hartree/(e bohr): a charge q at r has the energy -q field.r.
    potentials : tuple of CorePotential or None
        Of each nucleus, or empty.
    cell : Cell, optional
        In which all is repeated. Without nuclei, `charges` being empty, a gas of electrons.
    """

    charges: tuple[int, ...]
    positions: tuple[tuple[float, float, float], ...]
    up: int
    down: int
    field: tuple[float, float, float] = (0.0, 0.0, 0.0)
    potentials: tuple[CorePotential | None, ...] = ()
    cell: Cell | None = None

    @classmethod
    def parse(
        cls,
        text: str,
        unit: str = "bohr",
        charge: int = 0,
        spin: int | None = None,
        field: tuple[float, float, float] = (0.0, 0.0, 0.0),
        ecp: str | None = None,
        cell: str | None = None,
        twist: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> Molecule:
        """Read ``"Li 0 0 0; H 0 0 3.015"``.

        Parameters
        ----------
        text : str
            Symbol and three coordinates of each nucleus, separated by semicolons or lines.
        unit : str
            ``bohr`` or ``angstrom``.
        charge : int
            Total charge, e.
        spin : int, optional
            Unpaired electrons (2S). Without it: the ground state of a single atom without a cell,
            neutral or of a main group; 0 or 1 for everything else.
        field : (float, float, float)
            Uniform electric field, hartree/(e bohr), whatever the unit.
        ecp : str, optional
            Core potential for all elements that have a core, e.g. ``ccecp``.
        cell : str, optional
            Three lengths of a cell that repeats, or three vectors, in the unit.
        twist : (float, float, float)
            Of the cell, see `Cell`.

        Raises
        ------
        ValueError
            If the text, the unit, the charge, the spin, the field, the core potential or the cell
            makes no molecule.
        """
        if unit not in UNITS:
            raise ValueError(f"the unit {unit!r} is not known; choose one of {', '.join(UNITS)}")
        atoms = [part.split() for part in re.split(r"[;\n]", text) if part.strip()]
        if not atoms:
            raise ValueError("the molecule has no nuclei; write e.g. 'Li 0 0 0; H 0 0 3.015'")
        numbers = [_element(words) for words in atoms]
        positions = tuple(_place(words, UNITS[unit]) for words in atoms)
        box = None if cell is None else _cell(cell, UNITS[unit], twist)
        if any(twist) and not box:
            raise ValueError("a twist is of a cell; give one")
        if spin is None and len(numbers) == 1 and not box:
            spin = _spin_of_atom(numbers[0], numbers[0] - charge)
        found = [core_potential(chemical_symbols[z], ecp) if ecp else None for z in numbers]
        charges = tuple(z - (p.core if p else 0) for z, p in zip(numbers, found))
        up, down = _electrons(sum(charges) - charge, charge, spin)
        potentials = tuple(found) if any(found) else ()
        molecule = cls(charges, positions, up, down, field, potentials, box)
        molecule.check()
        return molecule

    @classmethod
    def electron_gas(
        cls,
        electrons: int,
        density_parameter: float,
        spin: int | None = None,
        twist: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> Molecule:
        """Electrons in a cube before a uniform positive background.

        Parameters
        ----------
        density_parameter : float
            r_s, radius of a ball as large as the volume for one electron, bohr.
        spin : int, optional
            Unpaired electrons; 0 or 1 without it.

        Raises
        ------
        ValueError
            If the density, the spin or the twist makes no gas.
        """
        if not 0 < density_parameter < np.inf:
            raise ValueError(f"the density parameter is positive; found {density_parameter}")
        up, down = _electrons(electrons, 0, spin)
        length = density_parameter * (4 * np.pi / 3 * electrons) ** (1 / 3)
        vectors = tuple(tuple(row) for row in (length * np.eye(3)).tolist())
        gas = cls((), (), up, down, cell=Cell(vectors, twist))
        gas.check()
        return gas

    def check(self) -> None:
        """Refuse nuclei that coincide, a field that is no vector, and what no cell can have.

        Raises
        ------
        ValueError
        """
        if self.cell:
            self.cell.check()
            if any(self.field) or any(self.potentials):
                kind = "an electric field" if any(self.field) else "core potentials"
                raise ValueError(f"{kind} cannot be had in a cell; leave out one or the other")
            charge = sum(self.charges) - self.electrons
            if self.charges and charge:
                raise ValueError(f"nuclei in a cell must be neutralised; the charge is {charge:+d}")
        if len(self.field) != 3 or not np.isfinite(self.field).all():
            raise ValueError(f"a field has three finite components; found {self.field}")
        place = self.nuclei
        for i in range(len(place)):
            for j in range(i):
                apart = place[i] - place[j]
                distance = np.linalg.norm(self.cell.nearest(apart) if self.cell else apart)
                if distance < 1e-3:
                    raise ValueError(
                        f"nuclei {j + 1} and {i + 1} are {distance:.2g} bohr apart; "
                        "at least 0.001 is expected: check coordinates and unit"
                    )

    @property
    def electrons(self) -> int:
        """Number of electrons."""
        return self.up + self.down

    @property
    def nuclei(self) -> np.ndarray:
        """Positions as an array (M, 3), bohr."""
        return np.array(self.positions, float).reshape(-1, 3)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Atomic numbers."""
        cores = [p.core if p else 0 for p in self.potentials] or [0] * len(self.charges)
        return tuple(z + core for z, core in zip(self.charges, cores))

    @property
    def bare(self) -> tuple[bool, ...]:
        """Which nuclei are bare, so that the wave function has a cusp there."""
        return tuple(p is None for p in self.potentials) or (True,) * len(self.charges)

    @property
    def name(self) -> str:
        """Symbols of the nuclei, e.g. ``LiH``."""
        if not self.charges:
            return f"gas of {self.electrons} electrons"
        return "".join(chemical_symbols[z] for z in self.numbers)

    @property
    def nuclear_repulsion(self) -> float:
        """Energy of the nuclei among themselves, hartree."""
        place, z = self.nuclei, self.charges
        pairs = [(i, j) for i in range(len(z)) for j in range(i)]
        return float(sum(z[i] * z[j] / np.linalg.norm(place[i] - place[j]) for i, j in pairs))

    @property
    def nuclear_energy(self) -> float:
        """Energy of the nuclei among themselves and in the field, hartree.

        In a cell it is part of the electrons' potential.
        """
        if self.cell:
            return 0.0
        return self.nuclear_repulsion - float(np.array(self.charges) @ self.nuclei @ self.field)


def _element(words: list[str]) -> int:
    symbol = words[0].capitalize()
    if symbol not in atomic_numbers or symbol == "X":
        raise ValueError(f"{words[0]!r} is no chemical element; found in {' '.join(words)!r}")
    return int(atomic_numbers[symbol])


def _place(words: list[str], scale: float) -> tuple[float, float, float]:
    try:
        x, y, z = (float(word) * scale for word in words[1:])
    except ValueError:
        raise ValueError(
            f"a nucleus needs a symbol and three coordinates; found {' '.join(words)!r}"
        ) from None
    if not np.isfinite([x, y, z]).all():
        raise ValueError(f"coordinates must be finite; found {' '.join(words)!r}")
    return x, y, z


def _cell(text: str, scale: float, twist: tuple[float, float, float]) -> Cell:
    try:
        numbers = scale * np.array([float(word) for word in text.split()])
    except ValueError:
        numbers = np.zeros(0)
    if numbers.size not in (3, 9):
        raise ValueError(f"a cell has three lengths or three vectors; found {text!r}")
    rows = np.diag(numbers) if numbers.size == 3 else numbers.reshape(3, 3)
    x, y, z = (tuple(row) for row in rows.tolist())
    return Cell((x, y, z), twist)


def _spin_of_atom(charge: int, electrons: int) -> int | None:
    """Unpaired electrons of an atom's ground state; None if it is not known.

    Ions of main groups have that of the atom with as many electrons; those of transition metals
    fill d orbitals first.
    """
    if electrons != charge and not (_in_main_group(charge) and _in_main_group(electrons)):
        return None
    moment = ground_state_magnetic_moments[electrons]
    # Of heavy elements the table lacks some and has others of the wrong parity.
    if np.isfinite(moment) and (electrons - round(moment)) % 2 == 0:
        return round(moment)
    return None


def _in_main_group(number: int) -> bool:
    return any(first <= number <= last for first, last in ((1, 20), (31, 38), (49, 56), (81, 88)))


def _electrons(count: int, charge: int, spin: int | None) -> tuple[int, int]:
    if count < 1:
        raise ValueError(f"a charge of {charge:+d} leaves {count} electrons; at least 1 is needed")
    if spin is None:
        spin = count % 2
    if spin < 0 or spin > count or (count - spin) % 2:
        raise ValueError(
            f"{count} electrons cannot have {spin} unpaired ones; "
            f"{'an even' if count % 2 == 0 else 'an odd'} number from 0 to {count} is expected"
        )
    return (count + spin) // 2, (count - spin) // 2
