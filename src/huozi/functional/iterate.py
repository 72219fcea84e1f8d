"""Self-consistent fields with a functional, its fit, and the two in turn.

A run folder keeps one file for each field, named by what it was computed from, and one folder for
each iteration with its model and statistics; the same command in the same folder goes on where it
was. An iteration's model replaces the one before it only if its fit does better on frames held out
of it (`heldout.py`). A model that makes the fields worse is not kept: the fit is repeated at the
densities of the best one with four times the weight on the pull.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from huozi.files import write_json
from huozi.functional.data import Reference, check_labels
from huozi.functional.fit import FitConfig, fit, target
from huozi.functional.heldout import clearly_better, folds
from huozi.functional.model import Model, load_model, zero_model
from huozi.functional.projection import Array, published_basis
from huozi.functional.samples import Sample, take_sample
from huozi.functional.scf import attach, base_method, orbital_digests
from huozi.systems import weights_of_errors
from huozi.workflow import THREAD_VARIABLES, available_cores

KCAL = 627.5094740631
"""One hartree, kcal/mol."""
WORSE = 1.05
Report = Callable[[dict[str, Any]], None]


class IterateConfig(BaseModel):
    """How a functional is trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: str = Field("hf", description="Base method: hf, or a functional by PySCF's name.")
    orbitals: str = Field("cc-pvdz", description="Orbital basis, by PySCF's name.")
    projection: list[Any] = Field(
        default_factory=published_basis,
        description="Projection basis, shells in PySCF's format. [default: that of DeePKS]",
    )
    iterations: int = Field(4, ge=1, description="Fits at most.")
    processes: int = Field(default_factory=available_cores, ge=1, description="Fields at a time.")
    fit: FitConfig = Field(default_factory=FitConfig, description="Settings of the fit.")


@dataclass(frozen=True)
class Statistics:
    """Errors of self-consistent fields against references.

    Energies in kcal/mol, forces in mHa/Å, `loss` as the fit has it without penalties (mean over
    frames); `energies_Ha` and `references_Ha` in the order of the frames.
    """

    frames: int
    converged: int
    cycles: float
    energy_mae_kcal_per_mol: float
    energy_mae_kcal_per_mol_per_heavy_atom: float
    energy_bias_kcal_per_mol: float
    force_rmse_mHa_per_A: float | None
    loss: float
    energies_Ha: list[float]
    references_Ha: list[float]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON."""
        return dict(self.__dict__)


def statistics(
    frames: Sequence[Reference], samples: Sequence[Sample], config: FitConfig
) -> Statistics:
    """Compare fields with references."""
    from huozi.units import BOHR

    energies = np.array([s.energy for s in samples])
    references = np.array([f.energy for f in frames])
    error = (energies - references) * KCAL
    heavy = np.array([max(1, np.sum(f.numbers > 1)) for f in frames])
    atoms = np.array([len(f.numbers) for f in frames])
    pairs = [(s.forces, f.forces) for s, f in zip(samples, frames) if f.forces is not None]
    squares = [float(np.sum((a - b) ** 2)) for a, b in pairs]
    loss = np.sum((config.energy_weight * (energies - references) / atoms) ** 2)
    loss += config.force_weight**2 * sum(squares)
    count = sum(a.size for a, _ in pairs)
    return Statistics(
        frames=len(frames),
        converged=sum(s.converged for s in samples),
        cycles=round(float(np.mean([s.cycles for s in samples])), 1),
        energy_mae_kcal_per_mol=float(np.abs(error).mean()),
        energy_mae_kcal_per_mol_per_heavy_atom=float(np.abs(error / heavy).mean()),
        energy_bias_kcal_per_mol=float(error.mean()),
        force_rmse_mHa_per_A=1e3 * float(np.sqrt(sum(squares) / count)) / BOHR if count else None,
        loss=float(loss) / len(frames),
        energies_Ha=energies.tolist(),
        references_Ha=references.tolist(),
    )


def sample_key(frame: Reference, model: Model, orbitals: Any) -> str:
    """Digest of everything that a field is computed from."""
    total = hashlib.sha256(f"sample-1 {frame.geometry_key()} {model.base}".encode())
    total.update(json.dumps([orbitals, model.basis, model.orbitals]).encode())
    for name in sorted(model.params):
        total.update(np.ascontiguousarray(model.params[name]).tobytes())
    if frame.density is not None:
        total.update(np.ascontiguousarray(frame.density, np.float64).tobytes())
    return total.hexdigest()[:32]


def compute_sample(
    frame: Reference, model: Model, orbitals: Any, place: Path, guess: Path | None = None
) -> Path:
    """Converge the field of one frame and keep its sample in a file."""
    mf = attach(base_method(frame.molecule(orbitals), model.base), model)
    mf.conv_tol, mf.conv_tol_grad, mf.max_cycle = 1e-9, 1e-5, 100
    start = Sample.load(guess).density if guess is not None and guess.exists() else None
    mf.kernel(start)
    take_sample(mf, model.basis, density=frame.density).save(place)
    return place


def compute_samples(
    frames: Sequence[Reference],
    model: Model,
    config: IterateConfig,
    folder: Path,
    guesses: Sequence[Path] | None = None,
    report: Report = lambda event: None,
) -> list[Path]:
    """Converge the fields of all frames, several at a time; those kept are not computed again."""
    places = [folder / f"{sample_key(f, model, config.orbitals)}.npz" for f in frames]
    missing = sorted(
        (i for i, p in enumerate(places) if not p.exists()), key=lambda i: -len(frames[i].numbers)
    )
    done = len(places) - len(missing)
    report({"event": "fields", "done": done, "total": len(places)})
    if not missing:
        return places
    with single_threads(), _pool(min(config.processes, len(missing))) as pool:
        jobs = {
            pool.submit(
                compute_sample,
                frames[i],
                model,
                config.orbitals,
                places[i],
                guesses[i] if guesses else None,
            ): frames[i]
            for i in missing
        }
        for job in as_completed(jobs):
            try:
                job.result()
            except ValueError as error:
                raise ValueError(f"{jobs[job].source}: {error}") from error
            done += 1
            report({"event": "fields", "done": done, "total": len(places)})
    return places


def held_out_energy(frame: Reference, model: Model, orbitals: Any, guess: Path) -> float:
    """Self-consistent energy of one frame, hartree; infinite if the field does not converge."""
    mf = attach(base_method(frame.molecule(orbitals), model.base), model)
    mf.conv_tol, mf.max_cycle = 1e-8, 100
    energy = float(mf.kernel(Sample.load(guess).density))
    return energy if mf.converged else float("inf")


def held_out_errors(
    frames: Sequence[Reference],
    places: Sequence[Path],
    model: Model,
    config: IterateConfig,
    settings: FitConfig,
) -> Array:
    """Errors of self-consistent energies of frames that were held out of a fit.

    Parameters
    ----------
    frames : sequence of Reference
    places : sequence of Path
        Samples of their fields with `model`.
    model : Model
        At whose densities is fitted.
    config : IterateConfig
    settings : FitConfig

    Returns
    -------
    (n,) array
        kcal/mol per heavy atom, fold after fold of `folds(frames)`.
    """
    samples = [Sample.load(p) for p in places]
    held = folds(frames)
    if not held:
        return np.zeros(0)
    with single_threads(), _pool(config.processes) as pool:
        jobs = []
        for fold in held:
            rest = np.setdiff1d(np.arange(len(frames)), fold)
            fitted = fit_samples(
                [frames[i] for i in rest], [samples[i] for i in rest], model, settings
            )
            jobs += [
                pool.submit(held_out_energy, frames[i], fitted, config.orbitals, places[i])
                for i in fold
            ]
        energies = np.array([job.result() for job in jobs])
    chosen = [frames[i] for fold in held for i in fold]
    heavy = np.array([max(1, np.sum(f.numbers > 1)) for f in chosen])
    return (energies - np.array([f.energy for f in chosen])) * KCAL / heavy


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Open worker processes; after a fault or an interruption what waits is not begun.

    Raises
    ------
    ValueError
        If the system ends a worker, as it does when memory is short.
    """
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
    try:
        yield pool
    except BrokenProcessPool:
        raise ValueError(
            "a worker process was ended from outside, perhaps for lack of memory; the same command "
            "goes on with what is missing, fewer --processes need less"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def single_threads() -> Iterator[None]:
    """Let processes that are started meanwhile use one thread each: frames are the parallelism."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def fit_samples(
    frames: Sequence[Reference], samples: Sequence[Sample], model: Model, config: FitConfig
) -> Model:
    """Fit a model to the converged fields of the current one."""
    targets = []
    errors = [f.energy_error and f.energy_error / len(f.numbers) for f in frames]
    weights = np.sqrt(weights_of_errors(errors))
    for frame, sample, weight in zip(frames, samples, weights, strict=True):
        if sample.converged:
            symbols = frame_symbols(frame)
            kinds = np.array([model.elements.index(s) for s in symbols])
            labels = (frame.energy, frame.forces, float(weight))
            targets.append(target(sample, model, kinds, *labels))
    return fit(targets, model, config)


def frame_symbols(frame: Reference) -> list[str]:
    """Chemical symbols of the atoms."""
    from ase.data import chemical_symbols

    return [chemical_symbols[z] for z in frame.numbers]


def start_model(frames: Sequence[Reference], config: IterateConfig) -> Model:
    """Return the zero model of the elements that occur."""
    digests: dict[str, str] = {}
    for frame in {tuple(sorted(set(f.numbers))): f for f in frames}.values():
        digests |= orbital_digests(frame.molecule(config.orbitals))
    return zero_model(config.base, digests, basis=config.projection, name=config.orbitals)


def evaluate(
    model: Model,
    frames: Sequence[Reference],
    cache: Path,
    processes: int | None = None,
    report: Report = lambda event: None,
) -> Statistics:
    """Self-consistent energies and forces of a model, against references."""
    config = IterateConfig(
        base=model.base,
        orbitals=model.orbital_name,
        projection=model.basis,
        processes=processes or available_cores(),
    )
    places = compute_samples(frames, model, config, cache, None, report)
    return statistics(frames, [Sample.load(p) for p in places], config.fit)


def iterate(
    frames: Sequence[Reference],
    out: Path,
    config: IterateConfig | None = None,
    valid: Sequence[Reference] = (),
    report: Report = lambda event: None,
) -> Model:
    """Train a functional; leaves ``model.safetensors`` in the run folder.

    Parameters
    ----------
    frames : sequence of Reference
    out : Path
        Run folder; run again to resume.
    config : IterateConfig, optional
    valid : sequence of Reference
        Frames that are compared with after each iteration and never fitted.
    report : callable
        Receives events: ``fields`` (done, total), ``iteration``, ``rollback``, ``kept``, ``base``.

    Returns
    -------
    Model
        The last one that did better on held-out frames than the one before it; the zero model,
        that is the base method itself, if no fit improves its own frames.

    Raises
    ------
    ValueError
        If the labels cannot be those of the molecules, or the folder holds another run.
    """
    config = config or IterateConfig()
    identity = _claim(out, frames, config)
    model, settings = start_model(frames, config), config.fit
    best: tuple[Model, list[Path], Statistics] | None = None
    for k in range(config.iterations + 1):
        guesses = best[1] if best else None
        places = compute_samples(frames, model, config, out / "fields", guesses, report)
        samples = [Sample.load(p) for p in places]
        found = statistics(frames, samples, config.fit)
        event = {"event": "iteration", "iteration": k, **found.to_dict()}
        if k:
            event["held_out_kcal_per_mol_per_heavy_atom"] = rms(_held_out(out, k))
        if k == 0:
            energies = np.array([s.energy for s in samples])
            check_labels(frames, energies, [s.forces for s in samples])
            write_json(out / "config.json", identity)
        elif valid:
            event["valid"] = evaluate(
                model, valid, out / "fields", config.processes, report
            ).to_dict()
        write_json(out / "iterations" / f"{k}.json", event)
        report(event)
        if best is None or _accepted(found, best[2]):
            best = (model, places, found)
            if k:
                model.save(out / "model.safetensors")
        else:
            settings = settings.model_copy(update={"pull_weight": 4 * settings.pull_weight})
            _save_best(best[0], frames, settings, out)
            report({"event": "rollback", "iteration": k, "pull_weight": settings.pull_weight})
        if k == config.iterations:
            break
        model = _next_model(frames, best[0], best[1], k + 1, out, config, settings)
        kept = best[0].metadata.get("iteration", 0)
        if kept and not clearly_better(_held_out(out, k + 1), _held_out(out, kept)):
            report({"event": "kept", "iteration": kept})
            break
        if k == 0 and not (out / "model.safetensors").exists():
            model.save(out / "model.safetensors")
    if best is not None and best[0].metadata.get("iteration", 0) == 0:
        _save_best(best[0], frames, settings, out)
        report({"event": "base", "base": config.base})
    return load_model(out / "model.safetensors")


def _save_best(model: Model, frames: Sequence[Reference], settings: FitConfig, out: Path) -> None:
    """Leave a model, of iteration 0 the base method, as that of the run."""
    iteration = model.metadata.get("iteration", 0)
    kept = model if iteration else described(model, 0, frames, settings)
    kept.save(out / "model.safetensors")


def _next_model(
    frames: Sequence[Reference],
    model: Model,
    places: Sequence[Path],
    iteration: int,
    out: Path,
    config: IterateConfig,
    settings: FitConfig,
) -> Model:
    """Fit at the fields of a model; first on the others of each fold, to see what it is worth."""
    place = out / "iterations" / f"{iteration}.safetensors"
    judged = out / "held-out" / f"{iteration}.json"
    if not judged.exists():
        errors = held_out_errors(frames, places, model, config, settings)
        write_json(judged, errors.tolist())
    if not place.exists():
        fitted = fit_samples(frames, [Sample.load(p) for p in places], model, settings)
        described(fitted, iteration, frames, settings).save(place)
    return load_model(place)


def _held_out(out: Path, iteration: int) -> Array:
    path = out / "held-out" / f"{iteration}.json"
    return np.array(json.loads(path.read_text(encoding="utf-8")), float)


def rms(errors: Array) -> float | None:
    """Root mean square, None if there are no errors."""
    return float(np.sqrt(np.mean(errors**2))) if len(errors) else None


def _accepted(found: Statistics, best: Statistics) -> bool:
    return found.converged >= best.converged and found.loss <= WORSE * best.loss


def described(
    model: Model, iteration: int, frames: Sequence[Reference], settings: FitConfig
) -> Model:
    """Return the model with a note of how it was fitted."""
    metadata = {
        "iteration": iteration,
        "frames": len(frames),
        "data": _digest(frames),
        "fit": settings.model_dump(),
    }
    return replace(model, metadata=metadata)


def _digest(frames: Sequence[Reference]) -> str:
    total = hashlib.sha256()
    for f in frames:
        total.update(f.geometry_key().encode())
        total.update(np.float64(f.energy).tobytes())
        if f.forces is not None:
            total.update(np.ascontiguousarray(f.forces, np.float64).tobytes())
        if f.density is not None:
            total.update(np.ascontiguousarray(f.density, np.float64).tobytes())
    return total.hexdigest()[:32]


def _claim(out: Path, frames: Sequence[Reference], config: IterateConfig) -> dict[str, Any]:
    """Return what the run is, after a look whether the folder holds another.

    It is written once the labels have been checked, so that bad ones may be taken out.
    """
    wanted = {"data": _digest(frames), **config.model_dump(exclude={"processes", "iterations"})}
    wanted = json.loads(json.dumps(wanted))
    place = out / "config.json"
    if place.exists():
        kept = json.loads(place.read_text(encoding="utf-8"))
        changed = [name for name in wanted if kept.get(name) != wanted[name]]
        if changed:
            raise ValueError(
                f"{out} holds a run with other {', '.join(changed)}; choose another folder"
            )
    found: dict[str, Any] = wanted
    return found
