"""Ground-state energies by Huozi and by DeepQMC, on the same cores in the same wall time.

    benchmarks/peers/install.sh FOLDER
    python benchmarks/peers/compare_wavefunction.py H2 LiH Be H10 --peers FOLDER --out runs

One after the other; set-up and compilation count. Huozi trains for six sevenths of the time and
samples with a fresh seed in the rest. Of DeepQMC the mean over the last fifth of its training
steps is taken, for which its walkers are drawn anew at each step. Nothing else should run
meanwhile; a finished run is not repeated. Writes benchmarks/results/peers-wavefunction.json, of
which docs/wavefunction_table.py makes the table and the figure.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from results import FOLDER, save  # noqa: E402

from huozi.wavefunction import Molecule  # noqa: E402
from huozi.workflow import RunFolder  # noqa: E402
from wavefunction import SYSTEMS, run_folder, solve  # noqa: E402

TRAINING = 6 / 7  # of Huozi's time
SIZE = "ansatz.omni_factory.embedding_dim=64"  # of 256: a step of H2 takes a fourth of the time


def deepqmc(name: str, options: argparse.Namespace, folder: Path) -> dict:
    """Energy, error and course by DeepQMC in its own environment."""
    text, settings, _ = SYSTEMS[name]
    molecule = Molecule.parse(text, **settings)
    described = {
        "charges": list(molecule.charges),
        "coords": molecule.nuclei.tolist(),
        "charge": 0,
        "spin": molecule.up - molecule.down,
    }
    (folder / "molecule.json").write_text(json.dumps(described))
    done = folder / "deepqmc.json"
    if not done.exists():
        python = options.peers.resolve() / "deepqmc" / "bin" / "python"
        command = [python, HERE / "run_deepqmc.py", folder / "molecule.json"]
        command += [str(60 * options.minutes), folder / "deepqmc", SIZE]
        done.write_bytes(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return json.loads(done.read_text())


def huozi(name: str, options: argparse.Namespace, folder: Path) -> dict:
    """The same by Huozi, with its defaults."""
    settings = argparse.Namespace(
        ansatz=options.ansatz,
        budget=f"{60 * TRAINING * options.minutes:.0f}s",
        evaluation=f"{60 * (1 - TRAINING) * options.minutes:.0f}s",
        steps=None,
        samples=None,
        walkers=None,
        out=folder,
        quiet=options.quiet,
    )
    found = solve(name, settings)
    events = list(RunFolder(run_folder(name, settings)).events("steps"))
    course = [[e["seconds"], e["geometries"][0]["energy_Ha"]] for e in events]
    return found | {"course": course[:: max(1, len(course) // 200)]}


def main() -> None:
    """Both programs for every system."""
    parser = argparse.ArgumentParser(description=__doc__)
    single = [
        name
        for name, (text, settings, _) in SYSTEMS.items()
        if isinstance(text, str) and "ecp" not in settings
    ]
    parser.add_argument("systems", nargs="+", choices=single)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--ansatz", default="psiformer")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--quiet", action="store_true", help="Nothing else runs on the machine.")
    options = parser.parse_args()
    stored = FOLDER / "peers-wavefunction.json"
    systems = json.loads(stored.read_text())["systems"] if stored.exists() else {}
    for name in options.systems:
        folder = (options.out / name.replace(" ", "-")).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        rows = {"Huozi": huozi(name, options, folder), "DeepQMC": deepqmc(name, options, folder)}
        ours, theirs = rows["Huozi"], rows["DeepQMC"]
        if "energy_Ha" in theirs:
            error = (ours["stderr_Ha"] ** 2 + theirs["stderr_Ha"] ** 2) ** 0.5
            lower = (theirs["energy_Ha"] - ours["energy_Ha"]) / error
            rows["lower_by_joint_standard_errors"] = lower
        systems[name] = rows | {
            "exact_Ha": SYSTEMS[name][2],
            "minutes": options.minutes,
            "quiet_machine": options.quiet,
        }
        save("peers-wavefunction", {"systems": systems}, sys.argv)


if __name__ == "__main__":
    main()
