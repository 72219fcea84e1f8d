"""Reading molecules, and refusing what is none."""

from __future__ import annotations

import pytest

from huozi.units import BOHR
from huozi.wavefunction import Molecule


def test_lithium_hydride():
    molecule = Molecule.parse("Li 0 0 0; H 0 0 3.015")
    assert (molecule.charges, molecule.up, molecule.down) == ((3, 1), 2, 2)
    assert molecule.name == "LiH"
    assert molecule.nuclear_repulsion == pytest.approx(3 / 3.015)


def test_angstrom_lines_and_charge():
    molecule = Molecule.parse("h 0 0 0\nH 0 0 1", unit="angstrom", charge=1)
    assert molecule.electrons == 1
    assert molecule.nuclei[1, 2] == pytest.approx(1 / BOHR)


@pytest.mark.parametrize(
    ("symbol", "unpaired"), [("H", 1), ("He", 0), ("B", 1), ("C", 2), ("N", 3), ("O", 2), ("Ne", 0)]
)
def test_atoms_have_their_ground_state_spin(symbol, unpaired):
    molecule = Molecule.parse(f"{symbol} 0 0 0")
    assert molecule.up - molecule.down == unpaired


@pytest.mark.parametrize(
    ("symbol", "charge", "unpaired"),
    [("N", -1, 2), ("O", 1, 3), ("B", -1, 2), ("H", -1, 0), ("Ca", 1, 1), ("Ti", 2, 0)],
)
def test_ions_of_main_groups_too(symbol, charge, unpaired):
    """N- is a triplet like O. Titanium's is none that a neutral atom tells: none is assumed."""
    molecule = Molecule.parse(f"{symbol} 0 0 0", charge=charge)
    assert molecule.up - molecule.down == unpaired


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "no nuclei"),
        ("Xx 0 0 0", {}, "no chemical element"),
        ("H 0 0", {}, "three coordinates"),
        ("H 0 0 0 0", {}, "three coordinates"),
        ("H 0 0 nan", {}, "finite"),
        ("H 0 0 0; H 0 0 0", {}, "apart"),
        ("H 0 0 0", {"unit": "nm"}, "unit"),
        ("H 0 0 0", {"charge": 1}, "leaves 0 electrons"),
        ("He 0 0 0", {"spin": 1}, "even"),
        ("H 0 0 0", {"spin": 3}, "unpaired"),
    ],
)
def test_what_is_no_molecule(text, options, message):
    with pytest.raises(ValueError, match=message):
        Molecule.parse(text, **options)
