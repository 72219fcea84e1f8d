"""Write the stored results of benchmarks/wavefunction*.py into docs/wavefunction.md.

    python docs/wavefunction_table.py

Replaces what stands between each pair of marks ``<!-- numbers: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from learning_table import table
from matplotlib.figure import Figure
from readme_table import fill

from huozi.report import value_with_error
from huozi.units import HARTREE
from huozi.wavefunction.checkpoint import FORM

HERE = Path(__file__).parent
RESULTS = HERE.parent / "benchmarks" / "results"
Result = dict[str, Any]
GROUND = {
    "H2": "H2, 1.4 bohr",
    "H2 1.0": "H2, 1.0 bohr",
    "H2 2.0": "H2, 2.0 bohr",
    "H2 4.0": "H2, 4.0 bohr",
    "He": "He",
    "He triplet": "He, 1s2s triplet",
    "LiH": "LiH, 3.015 bohr",
    "Be": "Be",
    "B": "B",
    "H10": "H10, 1.8 bohr apart",
    "Be ccECP": "Be, ccECP",
}
CURVE_FORCES = {1.0: 0.3235, 2.0: -0.0888, 3.0: -0.0623, 4.0: -0.0226}
"""Hartree/bohr: finite differences of full configuration interaction in cc-pVQZ (PySCF)."""
LEVELS = {
    "H": ("1s", *4 * ("2s, 2p",)),
    "He": ("1¹S", "2³S", "2¹S"),
    "H2": ("X ¹Σg⁺", "b ³Σu⁺"),
    "Be": ("2s² ¹S", "2s2p ³P"),
}


def number(value: float, error: float, scale: float = 1, sign: str = "") -> str:
    """Write a number with its standard error, with a sign if it is a difference."""
    value, error = scale * value, scale * error
    tiny = f"{value:.7f} ± {error:.7f}"  # where two digits would take an exponent
    return (sign if value > 0 else "") + (tiny if error < 1e-5 else value_with_error(value, error))


def training(row: Result) -> str:
    """Write steps and seconds; what has an earlier form of wave function is marked."""
    older = "" if row.get("form") == FORM else " ¹"
    return f"{row['training_steps']:,} steps in {row['training_seconds']:,.0f} s{older}"


def ground(systems: dict[str, Result]) -> list[str]:
    """One line a system."""
    rows = []
    for name, title in GROUND.items():
        if name not in systems:
            continue
        row = systems[name]
        rows.append(
            [
                title,
                training(row) + ("" if row["quiet_machine"] else " ²"),
                f"{row['seconds']:.0f} s",
                number(row["energy_Ha"], row["stderr_Ha"]),
                f"{row['exact_Ha']:.6f}",
                number(row["above_exact_mHa"], 1e3 * row["stderr_Ha"], sign="+"),
                f"{row['variance_Ha2']:.1e}".replace("e-0", "e-"),
                row["verdict"].partition(":")[0],
            ]
        )
    columns = ["system", "training", "evaluation", "energy, Ha", "exact, Ha", "above exact, mHa"]
    return table([*columns, "variance, Ha²", "verdict"], rows)


def diffusion(systems: dict[str, Result]) -> list[str]:
    """One line a system whose energy was lowered by diffusion."""
    rows = []
    for name, title in GROUND.items():
        row = systems.get(name, {})
        if found := row.get("diffusion"):
            rows.append(
                [
                    title,
                    training(row) + ("" if row["quiet_machine"] else " ²"),
                    number(row["above_exact_mHa"], 1e3 * row["stderr_Ha"], sign="+"),
                    f"{found['seconds']:.0f} s",
                    f"{found['time_step']:.2g}",
                    number(found["energy_Ha"], found["stderr_Ha"]),
                    number(found["above_exact_mHa"], 1e3 * found["stderr_Ha"], sign="+"),
                    found["verdict"].partition(":")[0],
                ]
            )
    columns = ["system", "training", "before, above exact, mHa", "diffusion", "time step, 1/Ha"]
    return table([*columns, "energy, Ha", "above exact, mHa", "verdict"], rows)


def curve(systems: dict[str, Result]) -> list[str]:
    """One line a distance of H2, all by one network."""
    whole = systems["H2 curve"]
    rows = []
    for row in whole["geometries"]:
        distance = float(row["nuclei"].split()[-1])
        force, error = row["forces_Ha_per_bohr"][1][2], row["forces_stderr"][1][2]
        rows.append(
            [
                f"{distance:.1f}",
                number(row["energy_Ha"], row["stderr_Ha"]),
                number(row["above_exact_mHa"], 1e3 * row["stderr_Ha"], sign="+"),
                number(force, error),
                f"{CURVE_FORCES[distance]:.4f}",
            ]
        )
    columns = ["distance, bohr", "energy, Ha", "above exact, mHa", "force, Ha/bohr", "FCI/cc-pVQZ"]
    made = f"{training(whole)}, {whole['walkers']:,} walkers, {row['samples']:,} samples each."
    return [*table(columns, rows), "", made]


def excited(systems: dict[str, Result]) -> list[str]:
    """One line a state."""
    rows = []
    for name, levels in LEVELS.items():
        row, found = systems[name], systems[name]["states"]
        for k, level in enumerate(levels):
            error = found["energy_stderr"][k]
            gap = number(found["excitation_Ha"][k], found["excitation_stderr"][k], HARTREE)
            rows.append(
                [
                    "" if k else name,
                    "" if k else training(row),
                    level,
                    number(found["energy_Ha"][k], error),
                    number(row["above_exact_mHa"][k], 1e3 * error, sign="+"),
                    gap if k else "",
                    number(found["spin_squared"][k], max(found["spin_squared_stderr"][k], 1e-5)),
                ]
            )
    columns = ["system", "training", "state", "energy, Ha", "above exact, mHa"]
    return table([*columns, "above the first, eV", "⟨S²⟩"], rows)


def peers(systems: dict[str, Result]) -> list[str]:
    """One line a system and program."""
    rows = []
    for name, found in systems.items():
        ours, theirs = found["Huozi"], found["DeepQMC"]
        other = "none: no step was made"
        if "energy_Ha" in theirs:
            other = number(theirs["energy_Ha"], theirs["stderr_Ha"])
        lower = found.get("lower_by_joint_standard_errors")
        rows.append(
            [
                GROUND[name],
                f"{found['minutes']:.0f} min",
                f"{ours['training_steps']:,}",
                number(ours["energy_Ha"], ours["stderr_Ha"]),
                f"{theirs['steps']:,}",
                other,
                "" if lower is None else f"{lower:.0f} joint standard errors",
            ]
        )
    columns = ["system", "wall time", "steps, Huozi", "Huozi, Ha", "steps, DeepQMC", "DeepQMC, Ha"]
    return table([*columns, "Huozi lower by"], rows)


def plot(systems: dict[str, Result], path: Path) -> None:
    """Energy above the exact one against seconds, one panel a system."""
    figure = Figure(figsize=(4.2 * len(systems), 3.6), layout="constrained")
    panels = figure.subplots(1, len(systems), squeeze=False)[0]
    for axes, (name, found) in zip(panels, systems.items(), strict=True):
        for program in ("Huozi", "DeepQMC"):
            if not found[program]["course"]:
                continue  # not one step was made
            seconds, energies = zip(*found[program]["course"], strict=True)
            above = [1e3 * (energy - found["exact_Ha"]) for energy in energies]
            axes.plot(seconds, above, ".", markersize=3, label=program)
        axes.set(title=GROUND[name], xlabel="wall time, s", yscale="symlog")
        axes.axhline(0, color="0.6", linewidth=0.8)
    panels[0].set_ylabel("mean of one step above the exact energy, mHa")
    panels[0].legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Fill in every table whose results are stored."""
    tables: list[tuple[str, str, Callable[[dict[str, Result]], list[str]]]] = [
        ("ground", "wavefunction", ground),
        ("diffusion", "wavefunction", diffusion),
        ("curve", "wavefunction", curve),
        ("excited", "wavefunction-states", excited),
        ("peers", "peers-wavefunction", peers),
    ]
    for name, stored, lines in tables:
        path = RESULTS / f"{stored}.json"
        if path.exists():
            systems = json.loads(path.read_text(encoding="utf-8"))["systems"]
            fill(HERE / "wavefunction.md", "\n".join(lines(systems)), name)
            if lines is peers:
                plot(systems, HERE / "wavefunction-peers.png")


if __name__ == "__main__":
    main()
