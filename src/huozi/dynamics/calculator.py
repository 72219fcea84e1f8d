"""Any force field as a calculator of ASE, which opens ASE's optimisers, phonons, NEB, ..."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from huozi.arrays import jax, jnp
from huozi.dynamics.table import Table, build_table, room
from huozi.neighbors import Evaluate, Evaluation, ForceField
from huozi.systems.frame import voigt_stress


class ForceFieldCalculator(Calculator):
    """Energy, forces and stress of a force field, for ASE.

    The neighbour table has a skin and is renewed only when an atom (or the cell) has moved too
    far; a call costs one evaluation on the device, as in the MD loop.

    Parameters
    ----------
    force_field : ForceField
    skin : float
        Å; larger ones make fewer searches and more costly evaluations.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 (ASE)
    ignored_changes = {"initial_charges", "initial_magmoms"}  # noqa: RUF012 (ASE)

    def __init__(self, force_field: ForceField, skin: float = 0.6) -> None:
        super().__init__()
        self.force_field = force_field
        self.skin = skin
        self._evaluate: Evaluate | None = None
        self._table: Table | None = None

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Fill ``results``; ASE calls this when something changed.

        Raises
        ------
        ValueError
            If an element is unknown to the force field, or a position is not finite.
        """
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms
        assert atoms is not None
        if self._evaluate is None or "numbers" in system_changes:
            self._evaluate = self.force_field.bind(atoms.numbers)
            self._table = None
        if "pbc" in system_changes or ("cell" in system_changes and not atoms.pbc.all()):
            self._table = None
        energy, forces, virial = self._current(atoms)
        self.results = {"energy": float(energy), "forces": np.array(forces)}
        self.results["free_energy"] = self.results["energy"]
        if atoms.pbc.all():
            self.results["stress"] = voigt_stress(np.array(virial), atoms.get_volume())

    def _current(self, atoms: Atoms) -> Evaluation:
        """Evaluate with the present table, or with a new one if that no longer holds."""
        positions, cell, pbc = atoms.positions, atoms.cell.array, atoms.pbc
        periodic = bool(pbc.all())
        if self._table is not None:
            evaluation, held = _evaluate_checked(
                self._evaluate, positions, cell, self._table, periodic
            )
            if held:
                return evaluation
        width = None if self._table is None else self._table.width
        cutoff = self.force_field.cutoff
        self._table = build_table(positions, cell, pbc, cutoff, self.skin, width)
        return _evaluate_checked(self._evaluate, positions, cell, self._table, periodic)[0]


def _evaluate_and_check(
    evaluate: Evaluate, positions: Any, cell: Any, table: Table, moves_cell: bool
) -> tuple[Evaluation, Any]:
    positions, cell = jnp.asarray(positions), jnp.asarray(cell)
    evaluation = evaluate(positions, cell, table.neighbors)
    return evaluation, room(table, positions, cell, moves_cell) >= 0


_evaluate_checked = jax.jit(_evaluate_and_check, static_argnames="moves_cell")
