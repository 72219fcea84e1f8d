"""Write the numbers of a finished demo into both READMEs.

    python docs/readme_table.py demo-run/results.json

Replaces what stands between the marks ``<!-- numbers: ... -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from huozi.files import atomic_path
from huozi.report import value_with_error

ROOT = Path(__file__).parents[1]

ENGLISH = {
    "forces": "error of forces on {frames} unseen frames (RMSE)",
    "energy": "error of energies on them (RMSE)",
    "drift": "energy drift at constant energy",
    "diffusion": "diffusion coefficient of oxygen, this box",
    "deviation": "largest deviation of g({pair}) from the reference",
    "where": " at {distance:.2f} Å",
    "speed": "speed of the simulation",
    "time": "wall time of everything",
    "made": "Made by `{command}` on {processor}, {cores} cores; table: `docs/readme_table.py`.",
    "quantity": "quantity",
    "value": "value",
}
CHINESE = {
    "forces": "{frames} 个未见构型上力的误差（RMSE）",
    "energy": "同一批构型上能量的误差（RMSE）",
    "drift": "恒定能量模拟中的能量漂移",
    "diffusion": "氧的扩散系数（本盒子）",
    "deviation": "g({pair}) 与参考数据的最大偏差",
    "where": "（{distance:.2f} Å 处）",
    "speed": "模拟速度",
    "time": "全部用时",
    "made": "由 `{command}` 得出，{processor}，{cores} 核；表格：`docs/readme_table.py`。",
    "quantity": "物理量",
    "value": "数值",
}


def table(numbers: dict[str, Any], words: dict[str, str]) -> str:
    """Markdown table of the numbers that the demo found."""
    test, warm = numbers["test"], numbers["constant_temperature"]
    rows = [
        (words["forces"].format(**test), f"{test['force_rmse_mev_per_A']:.1f} meV/Å"),
        (words["energy"], f"{test['energy_rmse_mev_per_atom']:.2f} meV/atom"),
    ]
    drift = numbers["constant_energy"]["drift_meV_per_atom_per_ps"]
    if drift:
        text = value_with_error(drift["value"], drift["error"])
        rows.append((words["drift"], f"{text} meV/atom/ps"))
    oxygen = warm.get("diffusion_1e-5_cm2_s", {}).get("O")
    if oxygen:
        text = value_with_error(oxygen["value"], oxygen["error"])
        rows.append((words["diffusion"], f"({text})·10⁻⁵ cm²/s"))
    for pair, entry in warm.get("radial_distribution", {}).items():
        if "deviation" in entry:
            gap = entry["deviation"]
            text = value_with_error(gap["largest"], gap["error"])
            where = words["where"].format(distance=gap["r_A"])
            rows.append((words["deviation"].format(pair=pair), f"{text}{where}"))
    rows.append((words["speed"], f"{numbers['ns_per_day']:.2g} ns/day"))
    rows.append((words["time"], f"{sum(numbers['seconds'].values()) / 60:.1f} min"))
    lines = [f"| {words['quantity']} | {words['value']} |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in rows]
    made = words["made"].format(command=command(numbers), **numbers["machine"])
    return "\n".join([*lines, "", made])


def command(numbers: dict[str, Any]) -> str:
    """Return the command that made the numbers, with the options that differ from the defaults."""
    parts = ["huozi", "demo"]
    if not numbers["data"]["embedded"]:
        parts += ["--data", "DATA"]
    settings = numbers["settings"]
    for name, default in (("train_budget", 300.0), ("picoseconds", 10.0), ("temperature", 300.0)):
        if settings[name] != default:
            parts += [f"--{name.replace('_', '-')}", f"{settings[name]:g}"]
    return shlex.join(parts)


def fill(path: Path, text: str, name: str = "") -> None:
    """Put a text between the marks of a page: its only ones, or those with this name."""
    mark = rf"(<!-- numbers: {re.escape(name)}.*?-->\n)"
    parts = re.split(mark, path.read_text(encoding="utf-8"))
    if len(parts) != 3:
        raise ValueError(f"{path} has {len(parts) // 2} places for the numbers {name}, not one")
    before, mark, rest = parts
    _, end, after = rest.partition("<!-- end -->")
    with atomic_path(path) as temporary:
        temporary.write_text(f"{before}{mark}{text}\n{end}{after}", encoding="utf-8")


def main() -> None:
    """Fill in both files."""
    numbers = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    for name, words in (("README.md", ENGLISH), ("README.zh.md", CHINESE)):
        fill(ROOT / name, table(numbers, words))


if __name__ == "__main__":
    main()
