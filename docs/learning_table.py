"""Write the stored results of the worked examples into docs/learning.md.

    python docs/learning_table.py water aluminium malonaldehyde

Replaces what stands between the marks ``<!-- numbers: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from readme_table import fill

HERE = Path(__file__).parent
RESULTS = HERE.parent / "benchmarks" / "results"
Result = dict[str, Any]
ALUMINIUM = {
    "a0_A": ("lattice constant, Å", 4),
    "bulk_modulus_GPa": ("bulk modulus, GPa", 1),
    "C11_GPa": ("C11, GPa", 1),
    "C12_GPa": ("C12, GPa", 1),
    "C44_GPa": ("C44, GPa", 1),
    "vacancy_eV": ("vacancy, eV", 3),
    "X_longitudinal_THz": ("phonon at X, longitudinal, THz", 2),
    "X_transverse_THz": ("phonon at X, transverse, THz", 2),
    "L_longitudinal_THz": ("phonon at L, longitudinal, THz", 2),
    "L_transverse_THz": ("phonon at L, transverse, THz", 2),
}


def table(columns: list[str], rows: list[list[str]]) -> list[str]:
    """Return the lines of a table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def iterations(result: Result) -> list[str]:
    """One line an iteration."""
    records = result["iterations"]
    rival = "random_force_rmse_mev_per_A" in records[0]
    columns = ["iteration", "frames trained on", "force error, meV/Å"]
    columns += ["random selection, meV/Å"] if rival else []
    columns += ["accurate", "candidate", "failed", "selected"]
    rows = []
    for i, r in enumerate(records, 1):
        row = [str(i), str(r["training_frames"]), f"{r['control_force_rmse_mev_per_A']:.1f}"]
        row += [f"{r['random_force_rmse_mev_per_A']:.1f}"] if rival else []
        row += [f"{r['fractions'][part]:.0%}" for part in ("accurate", "candidate", "failed")]
        rows.append([*row, str(r["selected"])])
    return table(columns, rows)


def error(found: Result) -> str:
    """Write a force error with its standard error."""
    return f"{found['force_rmse_mev_per_A']:.1f} ± {found['standard_error']:.1f} meV/Å"


def spent(result: Result) -> list[list[str]]:
    """Labels, and processor and wall time."""
    cost = {kind: 60 * found["cpu_hours"] for kind, found in result["cost"].items()}
    parts = ", ".join(f"{kind} {minutes:.1f}" for kind, minutes in cost.items() if minutes > 0.05)
    return [
        ["labels of the loop", f"{result['labels']}, {result['failed_labels']} failed"],
        [f"processor minutes, {sum(cost.values()):.1f} in all", parts],
        ["wall time beside other programs, two workers", f"{result['wall_minutes']:.0f} min"],
    ]


def control(result: Result) -> list[str]:
    """Error of the final model on the last control frames."""
    found = result["control"]
    return [
        f"force error of the final model, {found['frames']} control frames",
        f"{error(found)}; the forces themselves: {found['force_rms_mev_per_A']:.0f} meV/Å",
    ]


def dynamics(run: Result) -> list[str]:
    """Return what a run of dynamics came to."""
    density = f", {run['density_g_cm3']:.2f} g/cm³" if run["ensemble"] == "npt" else ""
    return [
        f"dynamics at {run['temperature_K']:g} K",
        f"{run['picoseconds']:.0f} of {run['picoseconds_wanted']:.0f} ps without leaving a bound; "
        f"second half {run['mean_temperature_K']:.0f} K{density}; "
        f"highest {run['highest_temperature_K']:.0f} K",
    ]


def water(result: Result) -> list[str]:
    """Lines of the example on liquid water."""
    rows = []
    for state, found in result["by_state"].items():
        what = f"force error of the final model at {state}, {found['frames']} frames"
        rows.append([what, error(found)])
    for saved in result["labels_saved"]:
        what = f"frames at random for the error of {saved['training_frames']} frames of the loop"
        rows.append([what, f"{saved['random_frames']:.0f} (ratio {saved['ratio']:.2f})"])
    rows += [dynamics(run) for run in result["dynamics"]]
    return [*iterations(result), "", *table(["quantity", "value"], rows + spent(result))]


def aluminium(result: Result) -> list[str]:
    """Lines of the example on aluminium."""
    gpaw, model, rows = result["gpaw"], result["model"], []
    for name, (what, digits) in ALUMINIUM.items():
        gap = model[name] - gpaw[name]
        own, other = (f"{x[name]:.{digits}f}" for x in (gpaw, model))
        rows.append([what, own, other, f"{gap:+.{digits}f} ({100 * gap / gpaw[name]:+.1f} %)"])
    more = [control(result), *(dynamics(run) for run in result["dynamics"]), *spent(result)]
    return [
        *iterations(result),
        "",
        *table(["quantity", "GPAW", "model", "difference"], rows),
        "",
        *table(["quantity", "value"], more),
    ]


def malonaldehyde(result: Result) -> list[str]:
    """Lines of the example on malonaldehyde."""
    path = [
        [
            f"{round(point['shift_A'], 2) + 0:.2f}",
            f"{point['level_meV']:.1f}",
            f"{point['model_meV']:.1f}",
            f"{point['model_meV'] - point['level_meV']:+.1f}",
            f"{point['force_rmse_mev_per_A']:.0f}",
            f"{point['largest_force_of_level_mev_per_A']:.0f}",
        ]
        for point in result["path"]
    ]
    columns = ["O–H less O···H, Å", "level, meV", "model, meV", "difference", "force error, meV/Å"]
    columns += ["largest force of the level, meV/Å"]
    rows = [
        ["barrier of the model", f"{result['barrier_model_meV']:.1f} meV"],
        ["barrier of the level, same structures", f"{result['barrier_level_meV']:.1f} meV"],
        control(result),
        *spent(result),
    ]
    return [
        *iterations(result),
        "",
        *table(columns, path),
        "",
        *table(["quantity", "value"], rows),
    ]


def main() -> None:
    """Fill in the examples named."""
    examples: dict[str, Callable[[Result], list[str]]] = {
        "water": water,
        "aluminium": aluminium,
        "malonaldehyde": malonaldehyde,
    }
    for name in sys.argv[1:]:
        result = json.loads((RESULTS / f"learn-{name}.json").read_text(encoding="utf-8"))
        machine = result["machine"]
        made = f"`{result['command']}`, {result['date']}; {machine['processor']}, "
        made += f"{machine['cores']} cores shared with other programs."
        fill(HERE / "learning.md", "\n".join([*examples[name](result), "", made]), name)


if __name__ == "__main__":
    main()
