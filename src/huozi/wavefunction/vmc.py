"""Optimise a wave function within a wall-time budget; interrupted at any moment, it resumes."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from huozi.arrays import device_mesh, jax, jnp
from huozi.wavefunction import checkpoint
from huozi.wavefunction.ansatz import Ansatz
from huozi.wavefunction.cell import Cell
from huozi.wavefunction.core_potential import CorePotential
from huozi.wavefunction.diffusion import Projection, diffuse
from huozi.wavefunction.evaluate import Estimate, StatesEstimate, evaluate, evaluate_states
from huozi.wavefunction.excited import States, copy_count
from huozi.wavefunction.ferminet import FermiNet
from huozi.wavefunction.geometries import select
from huozi.wavefunction.lapnet import LapNet
from huozi.wavefunction.molecule import Molecule
from huozi.wavefunction.optimize import Problem, State, make_step, start_state
from huozi.wavefunction.pair_product import PairProduct
from huozi.wavefunction.psiformer import Psiformer
from huozi.wavefunction.sampler import equilibrate
from huozi.wavefunction.settings import AnsatzConfig, TrainConfig
from huozi.workflow import RunFolder

Report = Callable[[dict[str, Any]], None]

KINDS: dict[str, type[Ansatz]] = {
    "psiformer": Psiformer,
    "ferminet": FermiNet,
    "lapnet": LapNet,
    "pairproduct": PairProduct,
}

LOG_SECONDS = 1.0
LOGGED = ("variance", "acceptance", "distance", "damping", "freedom")
RECOVERIES = 5
"""Times a run may fall back to an earlier state before it gives up."""

BROKEN, SOUND = 10.0, 2.0
"""Times the least spread of local energies: a broken wave function, one fit for a checkpoint."""

STALE = 10
"""Intervals after which a checkpoint is written though energies spread wider than `SOUND`."""

LEAST_SPREAD = 0.01
"""Hartree; narrower spreads are not told apart, or a nearly exact wave function would be broken."""


@dataclass(frozen=True)
class Trained:
    """An optimised wave function.

    Parameters
    ----------
    problems : tuple of Problem
        One per geometry.
    state : State
        `state.average` are the parameters to use.
    path : Path or None
        Run folder.
    steps : int
    seconds : float
        Wall time, earlier sessions included.
    """

    problems: tuple[Problem, ...]
    state: State
    path: Path | None
    steps: int
    seconds: float

    def evaluate(self, geometry: int = 0, **options: Any) -> Estimate:
        """Evaluate the averaged parameters at one geometry; see `huozi.wavefunction.evaluate`.

        Raises
        ------
        ValueError
            If the wave function is one of several states.
        """
        if copy_count(self.problems[geometry].wave_function) > 1:
            raise ValueError("this wave function is of several states: use evaluate_states")
        return evaluate(*self._at(geometry), **options)

    def diffuse(self, geometry: int = 0, **options: Any) -> Projection:
        """Diffusion Monte Carlo with the averaged parameters; see `huozi.wavefunction.diffuse`."""
        return diffuse(*self._at(geometry), **options)

    def evaluate_states(self, geometry: int = 0, **options: Any) -> StatesEstimate:
        """Evaluate all states; see `huozi.wavefunction.evaluate_states`.

        Raises
        ------
        ValueError
            If the wave function is one of a single state.
        """
        if copy_count(self.problems[geometry].wave_function) == 1:
            raise ValueError("this wave function is of one state: use evaluate")
        return evaluate_states(*self._at(geometry), **options)

    def _at(self, geometry: int) -> tuple[Problem, Any, jax.Array, jax.Array]:
        """Problem, averaged parameters, walkers and width of one geometry."""
        state, problem = self.state, self.problems[geometry]
        params = select(problem.wave_function, state.average, geometry)
        return problem, params, state.x[geometry], state.width[geometry]


@dataclass(frozen=True)
class VMC:
    """Variational Monte Carlo of one molecule, in one or several geometries, with one ansatz.

    Parameters
    ----------
    molecules : Molecule or sequence of Molecule
        Several geometries share the network, and the walkers are split over them.
    wave_function : Psiformer, or another ansatz with `init`, `log_psi` and `of_geometry`
    """

    molecules: Molecule | Sequence[Molecule]
    wave_function: Any

    def problems(self, chunk: int | None = None, devices: int = 1) -> tuple[Problem, ...]:
        """Every geometry with the ansatz; by itself `chunk` is what fits a processor's cache.

        Raises
        ------
        ValueError
            If nuclei, electrons or fields differ.
        """
        given = self.molecules
        molecules = [given] if isinstance(given, Molecule) else given
        first = molecules[0]
        for other in molecules:
            if other.field != first.field:
                raise ValueError(f"geometries need the same field: {first.field}, {other.field}")
            if other.cell != first.cell:
                raise ValueError(f"geometries need the same cell: {first.cell}, {other.cell}")
            if _form_of(other) != _form_of(first):
                raise ValueError(
                    "geometries need the same nuclei in the same order and the same electrons; "
                    f"found {first.name} ({first.up} + {first.down} electrons) and {other.name} "
                    f"({other.up} + {other.down})"
                )
        if getattr(self.wave_function, "cell", first.cell) != first.cell:
            raise ValueError(f"the wave function is of another cell than {first.name}")
        if first.cell and copy_count(self.wave_function) > 1:
            raise ValueError("several states cannot be had in a cell; leave out one or the other")
        electrons = first.electrons * copy_count(self.wave_function)
        chunk = chunk or min(64, max(32, 1024 // electrons**2))
        return tuple(Problem(each, self.wave_function, chunk, devices) for each in molecules)

    def train(
        self,
        out: str | Path | None = None,
        report: Report | None = None,
        config: TrainConfig | None = None,
        **settings: Any,
    ) -> Trained:
        """Optimise; the same call with the same folder resumes an interrupted run.

        Parameters
        ----------
        out : path, optional
            Run folder; without one nothing is written.
        report : callable, optional
            Called with each logged event, for a display.
        config : TrainConfig, optional
            Its `ansatz` is not looked at: the wave function is there already.
        **settings
            Single settings, in place of `config`.

        Raises
        ------
        ValueError
            If the folder holds a run of something else, if geometries do not fit together, or
            if the wave function breaks down again and again.
        """
        config = config or TrainConfig.read(None, settings)
        config = config.model_copy(update={"ansatz": _described(self.wave_function, config.ansatz)})
        session = _Session(self, config, out, report)
        with session.folder.alone() if session.folder else nullcontext():
            return session.run()


def build(molecules: Molecule | Sequence[Molecule], ansatz: AnsatzConfig) -> VMC:
    """Return the variational Monte Carlo of geometries with the ansatz of the settings."""
    kind = KINDS[ansatz.kind]
    sizes = ansatz.model_dump(include={field.name for field in dataclasses.fields(kind)})
    if ansatz.states > 1:
        sizes["pairing"] = "determinants"
    elif ansatz.pairing is None:
        del sizes["pairing"]  # the molecule decides
    first = molecules if isinstance(molecules, Molecule) else molecules[0]
    single = kind.for_molecule(first, **sizes)
    return VMC(molecules, States(single, ansatz.states) if ansatz.states > 1 else single)


def _described(wave_function: Any, otherwise: AnsatzConfig) -> AnsatzConfig:
    """Find the settings of a wave function, so that its run folder tells what it is.

    `otherwise` for a class that is not of this package.
    """
    single = wave_function.ansatz if isinstance(wave_function, States) else wave_function
    for name, kind in KINDS.items():
        if type(single) is kind:
            sizes = {f: getattr(single, f) for f in AnsatzConfig.model_fields if hasattr(single, f)}
            return AnsatzConfig(kind=name, states=copy_count(wave_function), **sizes)
    return otherwise


def load_run(path: str | Path) -> Trained:
    """Read a run folder.

    Raises
    ------
    FileNotFoundError
        If the folder holds no checkpoint of a wave function.
    """
    path = Path(path)
    if not (path / "checkpoint.safetensors").exists():
        raise FileNotFoundError(
            f"{path} holds no wave function (checkpoint.safetensors); "
            "make one with: huozi wavefunction train"
        )
    described = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
    molecules = [_molecule_from(each) for each in described["molecules"]]
    config = TrainConfig.read(None, described["training"])
    devices = min(config.devices, jax.device_count())
    problems = build(molecules, config.ansatz).problems(config.chunk, devices)
    state, header = checkpoint.load(path / "checkpoint.safetensors", _form(problems, config))
    return Trained(problems, state, path, int(state.step), header["seconds"])


class _Session:
    """One run, or the rest of one."""

    def __init__(
        self, vmc: VMC, config: TrainConfig, out: str | Path | None, report: Report | None
    ) -> None:
        self.begun = time.monotonic()
        self.config = config
        self.problems = vmc.problems(config.chunk, config.devices)
        walkers = config.walkers_for(self.problems[0].electrons)
        if walkers < 2 * len(self.problems):
            raise ValueError(
                f"{walkers} walkers are too few for {len(self.problems)} geometries; "
                "at least two for each are needed"
            )
        if walkers // len(self.problems) % config.devices:
            raise ValueError(
                f"{walkers} walkers of {len(self.problems)} geometries cannot be shared by "
                f"{config.devices} devices; take a multiple"
            )
        device_mesh(config.devices)  # or says that there are too few
        self.folder = RunFolder(Path(out)) if out is not None else None
        self.report = report
        self.spent = 0.0
        self.scale = 1.0
        self.recoveries = 0
        self.least = np.inf  # spread of the local energies so far, hartree
        self.window: list[dict[str, np.ndarray]] = []
        self.logged = self.saved = self.begun

    def run(self) -> Trained:
        """Make all steps that the budget allows."""
        state = self.prepare()
        if not int(state.step) and self.done(0) >= 1:
            raise ValueError(
                f"setting up took {self.seconds:.0f} s, all of the budget of "
                f"{self.config.budget:g} s; give a larger --budget, or --steps"
            )
        step = make_step(self.problems, self.config)
        good = state
        while (done := self.done(int(state.step))) < 1:
            fresh, stats = step(state, done, self.scale)
            values = {name: np.asarray(value) for name, value in stats.items()}
            if self.is_broken(values):
                state = self.recover(good, int(state.step))
                continue
            state = fresh
            self.note(state, values)
            age = time.monotonic() - self.saved
            sound = values["spread"].max() < SOUND * self.least
            every = self.config.checkpoint_every
            if age > (every if sound else STALE * max(every, 1.0)):
                self.save(state)
                good = state
        self.log_window(state)
        self.save(state)
        return Trained(self.problems, state, self.path, int(state.step), self.seconds)

    @property
    def path(self) -> Path | None:
        """The run folder."""
        return self.folder.path if self.folder else None

    @property
    def seconds(self) -> float:
        """Wall time so far, earlier sessions included."""
        return self.spent + time.monotonic() - self.begun

    def done(self, step: int) -> float:
        """Completed part of the run."""
        if self.config.steps is not None:
            return step / self.config.steps
        return self.seconds / self.config.budget

    def prepare(self) -> State:
        """Start, or read the checkpoint of an earlier session."""
        described = {
            "verb": "wavefunction",
            "molecules": [dataclasses.asdict(problem.molecule) for problem in self.problems],
            "training": self.config.model_dump(mode="json"),
        }
        described = yaml.safe_load(yaml.safe_dump(_plain(described)))
        if self.folder:
            before = self.folder.stored_config("wavefunction")
            file = self.folder.path / "checkpoint.safetensors"
            if file.exists():
                if before is None:
                    raise ValueError(f"{file} has lost its config.yaml; choose another folder")
                self.refuse_another(before, described)
                state, header = checkpoint.load(file, _form(self.problems, self.config))
                self.spent = header["seconds"]
                self.scale = header["scale"]
                self.emit("resume", step=int(state.step), done=self.done(int(state.step)))
                return state
        state = start_state(self.problems, self.config)
        if self.folder:
            self.folder.events_path.unlink(missing_ok=True)  # of a run that failed at its start
            self.folder.write_config(described)
        moved, widths = [], []
        for g, problem in enumerate(self.problems):
            params = select(problem.wave_function, state.params, g)
            x, width, rounds = equilibrate(
                problem, params, state.x[g], state.width[g], state.key, self.config.moves
            )
            moved.append(x)
            widths.append(width)
            self.emit("equilibrated", rounds=rounds, done=0.0, step=0)
        return dataclasses.replace(state, x=jnp.stack(moved), width=jnp.stack(widths))

    def refuse_another(self, found: dict[str, Any], described: dict[str, Any]) -> None:
        """Stop if the folder's settings are others; budget and steps may grow."""
        assert self.folder is not None
        free = ("budget", "steps", "checkpoint_every", "devices", "chunk")
        wanted = {f"training.{n}": v for n, v in described["training"].items() if n not in free}
        # By way of the settings, as below of a molecule: older folders lack what was added since.
        old_training = TrainConfig.read(None, found.get("training"))
        there = {f"training.{n}": v for n, v in old_training.model_dump(mode="json").items()}
        wanted["molecules"] = described["molecules"]
        old = [_molecule_from(each) for each in found.get("molecules", [])]
        there["molecules"] = [_plain(dataclasses.asdict(each)) for each in old]
        for name, value in wanted.items():
            if there.get(name) != value:
                raise ValueError(
                    f"{self.folder.path} holds a run with {name} = {there.get(name)!r}, not "
                    f"{value!r}; give the same settings, or another --out"
                )
        self.folder.write_config(described)

    def note(self, state: State, values: dict[str, np.ndarray]) -> None:
        """Keep what a step gave; log about once a second."""
        self.window.append(values)
        if values["lost"]:
            self.emit("lost_walkers", step=int(state.step), walkers=int(values["lost"]))
        if time.monotonic() - self.logged > LOG_SECONDS:
            self.log_window(state)

    def log_window(self, state: State) -> None:
        """Log the averages of the last second."""
        if not self.window:
            return
        rows = {name: np.array([w[name] for w in self.window]).mean(0) for name in self.window[0]}
        samples = len(self.window) * state.x.shape[1]
        errors = np.sqrt(rows["variance"] / samples)
        numbers = (rows["energy"], errors, rows["variance"])
        names = ("energy_Ha", "stderr_Ha", "variance")
        self.emit(
            "steps",
            step=int(state.step),
            done=min(1.0, self.done(int(state.step))),
            seconds=round(self.seconds, 2),
            energy_Ha=float(rows["energy"].mean()),
            stderr_Ha=float(np.linalg.norm(errors) / len(errors)),
            clipping_bias_Ha=float((rows["clipped"] - rows["energy"]).mean()),
            **{name: float(rows[name].mean()) for name in LOGGED},
            geometries=[dict(zip(names, map(float, values))) for values in zip(*numbers)],
        )
        self.window = []
        self.logged = time.monotonic()

    def is_broken(self, values: dict[str, np.ndarray]) -> bool:
        """Tell a step that gave no number, or local energies that spread far wider than before.

        The spread is the mean absolute deviation from the median, which single walkers on a node
        hardly change; a wave function that gets better never widens it several times.
        """
        if not np.isfinite([values["distance"], *values["energy"]]).all():
            return True
        spread = float(values["spread"].max())
        self.least = max(LEAST_SPREAD, min(self.least, spread))
        return spread > BROKEN * self.least

    def recover(self, good: State, step: int) -> State:
        """Go back to the last checkpoint with half the learning rate; give up in the end."""
        self.recoveries += 1
        self.scale /= 2
        self.emit("recovered", step=step, back_to=int(good.step), scale=self.scale)
        if self.recoveries > RECOVERIES:
            raise ValueError(
                f"the wave function broke down at step {step}, {self.recoveries} times: energies "
                f"that are no numbers, or spread {BROKEN:g} times wider than before; try "
                "other settings (--config) and another --out: ansatz: {precision: float64}, a "
                "larger damping or a smaller learning_rate"
            )
        self.least = np.inf  # that state's energies may spread as far as they did
        fresh = jax.random.fold_in(jax.random.wrap_key_data(good.key), self.recoveries)
        return dataclasses.replace(good, key=jax.random.key_data(fresh))

    def save(self, state: State) -> None:
        """Write the checkpoint."""
        if self.folder:
            header = {"seconds": self.seconds, "scale": self.scale}
            checkpoint.save(self.folder.path / "checkpoint.safetensors", state, header)
        self.saved = time.monotonic()

    def emit(self, event: str, **values: Any) -> None:
        """Log an event and show it."""
        if self.folder:
            self.folder.log(event, **values)
        if self.report:
            self.report({"event": event, **values})


def _form(problems: Sequence[Problem], config: TrainConfig) -> State:
    """Shapes of a state, to read a checkpoint into."""
    return jax.eval_shape(lambda: start_state(problems, config, form_only=True))


def _form_of(molecule: Molecule) -> tuple[Any, ...]:
    return molecule.charges, molecule.potentials, molecule.up, molecule.down


def _plain(value: Any) -> Any:
    """Tuples as lists, for YAML."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _tuples(value: Any) -> Any:
    """Make lists the tuples that they were before `_plain`."""
    if isinstance(value, dict):
        return {name: _tuples(item) for name, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _molecule_from(described: dict[str, Any]) -> Molecule:
    values = _tuples(described)
    potentials, cell = values.pop("potentials", ()), values.pop("cell", None)
    return Molecule(
        **values,
        potentials=tuple(CorePotential(**p) if p else None for p in potentials),
        cell=Cell(**cell) if cell else None,
    )
