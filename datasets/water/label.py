"""Label frames with CP2K: `python datasets/water/label.py frames.extxyz --out labels.extxyz`.

Each frame has a folder WORK/frames/KEY, KEY a digest of its complete CP2K input, so the same
geometry is never computed twice, by whichever script. A finished frame is `label.json`, a
failed one `failure.json`; both appear by a rename and are never half written. Kill it at any
moment and start it again: it goes on with the frames that have neither.
"""

from __future__ import annotations

import argparse
import fcntl
import gzip
import hashlib
import io
import json
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import ase.io
import cp2k
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

DEFAULT_WORK = Path("~/.cache/huozi/datasets/water").expanduser()


def main() -> None:
    """Label an extxyz file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("frames", type=Path, help="Frames to label (anything ASE reads).")
    parser.add_argument("--out", type=Path, required=True, help="extxyz file for the labels.")
    add_options(parser)
    args = parser.parse_args()
    frames = [canonical(atoms) for atoms in ase.io.read(args.frames, ":")]
    run_all([partial(label_frame, a, args.work, args.ranks, args.retry) for a in frames], args.jobs)
    failed = write_labels(frames, args.work, args.out)
    raise SystemExit(1 if failed else 0)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options shared by the scripts of this folder."""
    parser.add_argument("--work", type=Path, default=DEFAULT_WORK, help="Folder of the runs.")
    parser.add_argument("--jobs", type=int, default=2, help="CP2K runs at the same time.")
    parser.add_argument("--ranks", type=int, default=1, help="MPI ranks of each run.")
    parser.add_argument("--retry", action="store_true", help="Try failed frames once more.")


def canonical(atoms: Atoms) -> Atoms:
    """Return a frame with its info alone, rounded to what is stored and computed (1e-8 Å)."""
    frame = Atoms(
        atoms.symbols,
        positions=np.round(atoms.positions, 8),
        cell=np.round(atoms.cell.array, 8),
        pbc=atoms.pbc,
    )
    frame.info = dict(atoms.info)
    return frame


def inputs(atoms: Atoms) -> dict[str, str]:
    """Return the frame's CP2K inputs by project name, in the order of the runs."""
    return {
        "guess": cp2k.dft_input(atoms, "guess", cp2k.GUESS),
        "final": cp2k.dft_input(atoms, "final", cp2k.FINAL),
    }


def frame_folder(atoms: Atoms, work: Path) -> Path:
    """Return the folder of a frame, named by the digest of its inputs."""
    digest = hashlib.sha256("".join(inputs(atoms).values()).encode()).hexdigest()
    return work / "frames" / digest[:20]


def write_aside(path: Path, content: bytes) -> None:
    """Write a whole file or nothing: aside, to the disk, renamed."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    with open(aside, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)


class BusyError(Exception):
    """Another process holds the folder."""


@contextmanager
def exclusive(folder: Path) -> Iterator[int]:
    """Hold a folder for this process and the children that inherit the descriptor given.

    The lock ends with the last of them, also by a kill, so nobody works in a folder where a
    CP2K whose parent was killed is still writing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"another process is at work in {folder}") from None
        yield lock.fileno()


def label_frame(atoms: Atoms, work: Path, ranks: int = 1, retry: bool = False) -> None:
    """Compute one frame unless it is finished."""
    folder = frame_folder(atoms, work)
    if is_done(folder) and not retry:
        return
    with exclusive(folder) as lock:
        if retry and (folder / "failure.json").exists():
            (folder / "final.out").unlink(missing_ok=True)
            (folder / "failure.json").unlink()
        if is_done(folder):
            return
        started = time.time()
        seconds = {}
        for project, text in inputs(atoms).items():
            if not cp2k.is_finished(folder, project, text):
                seconds[project] = round(cp2k.run(folder, project, text, lock, ranks), 1)
        wall = round(time.time() - started, 1)
        record(atoms, folder, {"cpu_seconds": seconds, "wall_seconds": wall})


def is_done(folder: Path) -> bool:
    """Tell whether a frame needs no more work: labelled, or recorded as failed."""
    return (folder / "label.json").exists() or (folder / "failure.json").exists()


def record(atoms: Atoms, folder: Path, timing: dict) -> None:
    """Turn the finished runs of a frame into label.json, or failure.json with the log's end."""
    output = folder / "final.out"
    outcome = cp2k.read_output(output.read_text(errors="replace") if output.exists() else "")
    problem = outcome.problem
    if not problem:
        try:
            text = next(folder.glob("final-forces*")).read_text()
            forces = cp2k.read_forces(text, list(atoms.symbols))
        except (StopIteration, ValueError) as error:
            problem = f"forces unusable: {error!r}"
    if problem:
        failure = {"problem": problem, "log": cp2k.tail(output) or cp2k.tail(folder / "final.err")}
        write_aside(folder / "failure.json", json.dumps(failure, indent=1).encode())
        return
    label = {"energy": outcome.energy, "forces": forces.tolist(), "scf_steps": outcome.scf_steps}
    write_aside(folder / "label.json", json.dumps(label | timing).encode())
    (folder / "orbitals.wfn").unlink(missing_ok=True)


def labelled(atoms: Atoms, work: Path) -> Atoms | None:
    """Return the frame with its energy (eV) and forces (eV/Å), or None if it has no label."""
    path = frame_folder(atoms, work) / "label.json"
    if not path.exists():
        return None
    label = json.loads(path.read_text())
    frame = atoms.copy()
    frame.info = dict(atoms.info)
    frame.calc = SinglePointCalculator(
        frame, energy=label["energy"], forces=np.array(label["forces"])
    )
    return frame


def run_all(tasks: Iterable[Callable[[], None]], jobs: int) -> None:
    """Run tasks on `jobs` threads; one that finds its folder busy is tried again later."""
    waiting: queue.Queue[Callable[[], None]] = queue.Queue()
    for task in tasks:
        waiting.put(task)
    errors: list[Exception] = []

    def work_off() -> None:
        while not errors:
            try:
                task = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                task()
            except BusyError:
                waiting.put(task)
                time.sleep(5)
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=work_off) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def write_labels(frames: list[Atoms], work: Path, out: Path) -> list[Path]:
    """Gather finished labels into an extxyz file (.gz too); return folders without a label."""
    results = [labelled(atoms, work) for atoms in frames]
    done = [frame for frame in results if frame is not None]
    missing = [frame_folder(a, work) for a, frame in zip(frames, results) if frame is None]
    if done:
        write_frames(out, done)
    print(f"{len(done)} of {len(frames)} frames labelled: {out}")
    for folder in missing:
        failure = folder / "failure.json"
        reason = json.loads(failure.read_text())["problem"] if failure.exists() else "not yet run"
        print(f"no label: {folder}: {reason}")
    return missing


def write_frames(out: Path, frames: list[Atoms]) -> None:
    """Write frames as extxyz, aside and renamed; compressed if the name ends in .gz."""
    out.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    ase.io.write(text, frames, format="extxyz")
    content = text.getvalue().encode()
    # Without a time stamp equal frames make equal files.
    write_aside(out, gzip.compress(content, mtime=0) if out.suffix == ".gz" else content)


if __name__ == "__main__":
    main()
