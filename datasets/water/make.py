"""Make the water data set: `python datasets/water/make.py` does all of it, or goes on with it.

Stages, which may also be asked for by name, in this order:
round0  classical walkers; each frame is labelled as soon as it exists
round1  a potential trained on round 0, walkers moved by it, their frames labelled
ship    the two files that the package carries
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import ase.io
import classical
import label
import model
from ase import Atoms
from classical import Walker

HERE = Path(__file__).resolve().parent
LABELS = HERE / "labels"
SHIPPED = HERE.parents[1] / "src" / "huozi" / "demo" / "data"


def main() -> None:
    """Run the stages asked for, all by default."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stages", nargs="*", metavar="stage", help=", ".join(STAGES))
    parser.add_argument("--labels", type=Path, default=LABELS, help="Folder of the labels.")
    parser.add_argument("--shipped", type=Path, default=SHIPPED, help="Folder for `ship`.")
    label.add_options(parser)
    args = parser.parse_args()
    unknown = sorted(set(args.stages) - set(STAGES))
    if unknown:
        parser.error(f"unknown stage {', '.join(unknown)}; there are {', '.join(STAGES)}")
    for name, stage in STAGES.items():
        if not args.stages or name in args.stages:
            stage(args)


def round0(args: argparse.Namespace) -> None:
    """Sample classically and label; labels/round0.extxyz.gz."""
    gather(args.labels / "round0.extxyz.gz", classical.round0_walkers(), classical.walk, args)


def round1(args: argparse.Namespace) -> None:
    """Sample with a potential trained on round 0 and label; labels/round1_{test,train}."""
    fitted = cache(partial(model.train_model, args.labels / "round0.extxyz.gz", args.work))
    training = threading.Lock()

    def walk(walker: Walker, work: Path) -> list[Atoms]:
        with training:
            potential = fitted()
        return model.walk(walker, potential, work)

    gather(args.labels / "round1_train.extxyz.gz", model.train_walkers(), walk, args)
    gather(args.labels / "round1_test.extxyz.gz", model.held_out_walkers(), walk, args)


def ship(args: argparse.Namespace) -> None:
    """Join the labels to the files of the package: rounds 0 and 1 to train, round 1 to test."""
    parts = {"train": ("round0", "round1_train"), "test": ("round1_test",)}
    for part, names in parts.items():
        frames = [
            frame for name in names for frame in ase.io.read(args.labels / f"{name}.extxyz.gz", ":")
        ]
        for frame in frames:  # round 0 is classical: no reference for structure
            frame.info["equilibrium"] = frame.info["round"] > 0
        path = args.shipped / f"water_{part}.extxyz.gz"
        label.write_frames(path, frames)
        print(f"{len(frames)} frames, {path.stat().st_size / 1e6:.1f} MB: {path}")


def gather(
    out: Path,
    walkers: list[Walker],
    walk: Callable[[Walker, Path], list[Atoms]],
    args: argparse.Namespace,
) -> None:
    """Label the frame of each walker as soon as it exists; `out` grows by every label.

    Walkers whose frame is in `out` are finished, on whatever machine that was.
    """
    found = ase.io.read(out, ":") if out.exists() else []
    labels = {frame.info["source"]: frame for frame in found}
    writing = threading.Lock()

    def task(walker: Walker) -> None:
        for atoms in walk(walker, args.work):
            label.label_frame(atoms, args.work, args.ranks, args.retry)
            frame = label.labelled(atoms, args.work)
            if frame is not None:
                with writing:
                    labels[walker.name] = frame
                    label.write_frames(out, [labels[name] for name in names if name in labels])

    names = [walker.name for walker in walkers]
    missing = [walker for walker in walkers if walker.name not in labels]
    label.run_all([partial(task, walker) for walker in missing], args.jobs)
    print(f"{len(labels)} of {len(walkers)} frames labelled: {out}")


STAGES = {"round0": round0, "round1": round1, "ship": ship}

if __name__ == "__main__":
    main()
