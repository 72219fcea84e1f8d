"""Calculators with faults, for tests."""

from __future__ import annotations

import time
from typing import Any

from ase.calculators.emt import EMT


class FragileEMT(EMT):
    """EMT that fails, as an SCF might, for about a part `fault` of all configurations."""

    def __init__(self, fault: float = 0.1, seconds: float = 0.0, **settings: Any) -> None:
        super().__init__(**settings)
        self.fault, self.seconds = fault, seconds

    def calculate(self, *arguments: Any, **settings: Any) -> None:
        time.sleep(self.seconds)
        super().calculate(*arguments, **settings)
        if abs(self.results["energy"] * 1e5) % 1 < self.fault:
            raise RuntimeError("SCF did not converge (made to fail)")
