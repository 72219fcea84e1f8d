"""Write the stored results of benchmarks/accuracy.py and joint.py into docs/accuracy.md.

    python docs/accuracy_table.py

Replaces what stands between the marks ``<!-- numbers: ... -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from readme_table import fill

HERE = Path(__file__).parent
RESULTS = HERE.parent / "benchmarks" / "results"
# Zuo et al., J. Phys. Chem. A 124, 731 (2020), on that work's own test sets: meV/atom, meV/Å.
PUBLISHED = {
    "si": ("Si", 5.51, 177),
    "ge": ("Ge", 10.55, 201),
    "li": ("Li", 0.85, 44),
    "mo": ("Mo", 4.04, 333),
}
HEAD = (
    "| data | frames: training, tested | steps | seconds | energy, meV/atom | force, meV/Å "
    "| qSNAP: energy, force |",
    "|---|---|---|---|---|---|---|",
)


def row(name: str, result: dict[str, Any]) -> str:
    """One line of the table."""
    title, *published = PUBLISHED.get(name, ("water, PBE0+TS",))
    other = "{:.2f}, {:.0f}".format(*published) if published else ""
    test = result["test"]
    runs = result.get("folds", [result])
    frames, steps, seconds = (
        sum(run[key] for run in runs) / len(runs) for key in ("train_frames", "steps", "seconds")
    )
    folds = f" in {len(runs)} folds" if len(runs) > 1 else ""
    return (
        f"| {title} | {frames:.0f}, {test['frames']}{folds} | {steps:,.0f} "
        f"| {seconds:.0f} | {test['energy_rmse_mev_per_atom']:.2f} "
        f"| {test['force_rmse_mev_per_A']:.1f} | {other} |"
    )


def joint(result: dict[str, Any]) -> list[str]:
    """Errors of the joint model over those of the models alone, on the first fold."""
    lines = [
        "",
        f"One model of all four after {result['steps']:,} steps ({result['seconds']:.0f} s), its "
        "errors on the first fold over those of each one's own model:",
        "",
        "| data | energy | force |",
        "|---|---|---|",
    ]
    for name, values in result["sets"].items():
        ratios = [f"{entry['ratio']:.2f}" for entry in values.values()]
        lines.append(f"| {PUBLISHED[name][0]} | {' | '.join(ratios)} |")
    return lines


def main() -> None:
    """Fill in the page."""
    lines, machines = list(HEAD), set()
    for name in ("water", *PUBLISHED):
        result = json.loads((RESULTS / f"accuracy-{name}.json").read_text(encoding="utf-8"))
        lines.append(row(name, result))
        machines.add(f"{result['machine']['processor']}, {result['machine']['cores']} cores")
    stored = RESULTS / "joint.json"
    if stored.exists():
        lines += joint(json.loads(stored.read_text(encoding="utf-8")))
    lines += ["", f"Machine: {'; '.join(sorted(machines))}."]
    fill(HERE / "accuracy.md", "\n".join(lines))


if __name__ == "__main__":
    main()
