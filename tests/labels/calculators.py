"""Calculators with faults, for tests."""

from __future__ import annotations

from typing import Any

from ase.calculators.emt import EMT


class FragileEMT(EMT):
    """EMT that fails, as an SCF might, for about a part `fault` of all configurations."""

    def __init__(self, fault: float = 0.1, **settings: Any) -> None:
        super().__init__(**settings)
        self.fault = fault

    def calculate(self, *arguments: Any, **settings: Any) -> None:
        super().calculate(*arguments, **settings)
        if abs(self.results["energy"] * 1e5) % 1 < self.fault:
            raise RuntimeError("SCF did not converge (made to fail)")
