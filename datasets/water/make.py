"""Make the water data set: `python datasets/water/make.py` does all of it, or goes on with it.

Stages, which may also be asked for by name, in this order:
round0  classical walkers; each frame is labelled as soon as it exists
round1  a potential trained on round 0, walkers moved by it, their frames labelled
ship    the two files that the package carries
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import ase.io
import classical
import label
import model
from ase import Atoms

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
    """Sample classically and label; write labels/round0.extxyz.gz."""
    sample_and_label(
        [partial(classical.walk, walker, args.work) for walker in classical.round0_walkers()],
        args.labels / "round0.extxyz.gz",
        args,
    )


def round1(args: argparse.Namespace) -> None:
    """Sample with a potential trained on round 0 and label; write the train and test labels."""
    fitted = model.train_model(args.labels / "round0.extxyz.gz", args.work)
    for part, walkers in (
        ("test", model.held_out_walkers()),
        ("train", model.train_walkers()),
    ):
        samplers = [partial(model.walk, walker, fitted, args.work) for walker in walkers]
        sample_and_label(samplers, args.labels / f"round1_{part}.extxyz.gz", args)


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


def sample_and_label(
    samplers: list[Callable[[], list[Atoms]]], out: Path, args: argparse.Namespace
) -> None:
    """Label the frames of each sampler as soon as they exist; gather all of them in `out`."""

    def task(sampler: Callable[[], list[Atoms]]) -> None:
        for atoms in sampler():
            label.label_frame(atoms, args.work, args.ranks, args.retry)

    label.run_all([partial(task, sampler) for sampler in samplers], args.jobs)
    label.write_labels([frame for sampler in samplers for frame in sampler()], args.work, out)


STAGES = {"round0": round0, "round1": round1, "ship": ship}

if __name__ == "__main__":
    main()
