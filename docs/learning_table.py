"""Write the stored results of benchmarks/learn_water.py into docs/learning.md.

    python docs/learning_table.py

Replaces what stands between the marks ``<!-- numbers: ... -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from readme_table import fill

HERE = Path(__file__).parent
RESULT = HERE.parent / "benchmarks" / "results" / "learn-water.json"


def iterations(result: dict[str, Any]) -> list[str]:
    """Return one line an iteration."""
    lines = [
        "| iteration | frames trained on | force error, meV/Å | random selection, meV/Å | accurate "
        "| selected |",
        "|---|---|---|---|---|---|",
    ]
    for i, r in enumerate(result["iterations"], 1):
        lines.append(
            f"| {i} | {r['training_frames']} | {r['control_force_rmse_mev_per_A']:.1f} "
            f"| {r['random_force_rmse_mev_per_A']:.1f} | {r['fractions']['accurate']:.1%} "
            f"| {r['selected']} |"
        )
    return lines


def whole(result: dict[str, Any]) -> list[str]:
    """Return what came out in the end."""
    lines = ["| quantity | value |", "|---|---|"]
    lines.append(f"| labels of the loop | {result['labels']} frames of 32 molecules |")
    for state, found in result["by_state"].items():
        lines.append(
            f"| force error of the final model at {state}, {found['frames']} frames "
            f"| {found['force_rmse_mev_per_A']:.1f} ± {found['standard_error']:.1f} meV/Å |"
        )
    for saved in result["labels_saved"]:
        lines.append(
            f"| frames at random for the error of {saved['training_frames']} frames of the loop "
            f"| {saved['random_frames']:.0f} (ratio {saved['ratio']:.2f}) |"
        )
    for run in result["dynamics"]:
        lines.append(
            f"| dynamics at {run['temperature_K']:g} K | {run['picoseconds']:.0f} of "
            f"{run['picoseconds_wanted']:.0f} ps without leaving a bound; mean temperature "
            f"{run['mean_temperature_K']:.0f} K, highest {run['highest_temperature_K']:.0f} K |"
        )
    parts = {kind: 60 * cost["cpu_hours"] for kind, cost in result["cost"].items()}
    text = ", ".join(f"{kind} {minutes:.1f}" for kind, minutes in parts.items())
    lines.append(f"| processor minutes, {sum(parts.values()):.1f} in all | {text} |")
    return lines


def main() -> None:
    """Fill in the page."""
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    machine = result["machine"]
    lines = [*iterations(result), "", *whole(result), ""]
    lines.append(f"Machine: {machine['processor']}, one of {machine['cores']} cores.")
    fill(HERE / "learning.md", "\n".join(lines))


if __name__ == "__main__":
    main()
