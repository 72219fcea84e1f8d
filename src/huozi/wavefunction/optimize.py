"""One step of the optimisation: move walkers, measure energies, change parameters."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import NamedSharding, PartitionSpec

from huozi.arrays import AXIS, device_mesh, jax, jnp
from huozi.wavefunction import jets, sampler
from huozi.wavefunction.cell import Cell
from huozi.wavefunction.core_potential import CorePotential, core_energy
from huozi.wavefunction.excited import Matrices, States, copy_count
from huozi.wavefunction.geometries import select, spread, stack
from huozi.wavefunction.hamiltonian import kinetic_energy, potential_energy
from huozi.wavefunction.molecule import Molecule
from huozi.wavefunction.natural_gradient import spring
from huozi.wavefunction.observables import ForceTerms, force_terms
from huozi.wavefunction.settings import TrainConfig

Array = jax.Array
Params = dict[str, Any]

LEAST_VARIANCE = 0.1
"""Hartree^2; the damping is proportional to the variance of the local energy, but not below."""

LARGEST_FREEDOM = 0.3
"""Of the walkers' local energies a step may follow this part; the damping grows until it does.

A step that follows most of them fits their noise: the wave function gets worse between walkers.
"""

DAMPING_PACE = 0.1
"""Change of the logarithm of the damping in a step that follows twice as many."""

CORE_CHARGE = 3
"""Beyond this charge steps in imaginary time are shorter, in proportion to 1/Z: they are stable
below 2/(E_max - E), and E_max comes from the cores."""

LAST_RATE = 0.02
"""Of the learning rate; it falls in proportion to what is left of the run, but not below."""

AVERAGING = 10.0
"""The averaged parameters remember the last 1/(1 + AVERAGING) of the run."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    """Everything that the next step depends on, for G geometries.

    Parameters
    ----------
    params, average : dict
        Parameters, and their running average.
    direction : (P,) array
        Last direction.
    damping : array
        Factor on the damping, from 1 on.
    x : (G, walkers, N, 3) array
        Electrons, bohr.
    width : (G,) array
        Of Metropolis moves, bohr.
    key : array
        Random key data.
    step : array
        Steps done.
    """

    params: Params
    average: Params
    direction: Array
    damping: Array
    x: Array
    width: Array
    key: Array
    step: Array


@dataclass(frozen=True)
class Problem:
    """A wave function and the one geometry it describes, as functions of walkers.

    Sampling and energies are compiled once for a form of wave function and serve equilibration,
    training and evaluation of every geometry; the nuclei are arguments.

    Parameters
    ----------
    molecule : Molecule
    wave_function : Psiformer or another ansatz
    chunk : int
        Walkers whose local energy is computed at once by a device.
    devices : int
        That share the walkers; divides their number.
    """

    molecule: Molecule
    wave_function: Any
    chunk: int = 64
    devices: int = 1

    @property
    def electrons(self) -> int:
        """Number of electrons; of several states those of all copies."""
        return self.molecule.electrons * copy_count(self.wave_function)

    def energies(self, params: Params, x: Array) -> Array:
        """Local energies of walkers (B, N, 3), hartree."""
        return self.measure(params, x)[0]

    def measure(self, params: Params, x: Array) -> tuple[Array, ForceTerms | Matrices]:
        """Local energies of walkers (B, N, 3), hartree, and what other observables come from.

        That is terms of the forces (B, M, 3) and the gradients (B, N, 3); of several states, whose
        walkers are (B, K N, 3) and energies are added, the matrices (B, K, K) of `excited.py`.
        """
        molecule = self.molecule
        charges, nuclei = _arrays(molecule)
        # A chunk that does not divide the walkers would be compiled once more, for what is left.
        share = x.shape[0] // self.devices
        most = min(self.chunk, share)
        divisors = (size for size in range(most, most // 2, -1) if share % size == 0)
        shape = (next(divisors, most), self.devices)
        form = (self.wave_function, shape, molecule.potentials, molecule.cell)
        field = np.array(molecule.field)
        electronic, terms = _measure(*form, params, charges, nuclei, field, x)
        return electronic + copy_count(self.wave_function) * molecule.nuclear_energy, terms

    def sign_and_log(self, params: Params, x: Array) -> tuple[Array, Array]:
        """Sign of psi, and log|psi|, of walkers (B, N, 3)."""
        return _sign_and_log(self.wave_function, self.devices, params, self.molecule.nuclei, x)

    def sweep(
        self, params: Params, x: Array, key: Array, width: Array, moves: int
    ) -> tuple[Array, Array, Array]:
        """Metropolis moves; new walkers, log|psi| there, and the acceptance."""
        molecule = self.molecule
        charges, nuclei = _arrays(molecule)
        shape = ((molecule.up, molecule.down), moves, self.devices, molecule.cell)
        return _sweep(self.wave_function, shape, params, charges, nuclei, x, key, width)


def _arrays(molecule: Molecule) -> tuple[np.ndarray, np.ndarray]:
    return np.array(molecule.charges, float), molecule.nuclei


def _shared(x: Array, devices: int, axis: int) -> Array:
    """Split walkers, along `axis`, over devices."""
    mesh = device_mesh(devices)
    if mesh is None:
        return x
    place = NamedSharding(mesh, PartitionSpec(*[None] * axis, AXIS))
    return jax.lax.with_sharding_constraint(x, place)


def _log_psi(wave_function: Any, params: Params, nuclei: Array, x: Array) -> Array:
    return jax.vmap(lambda r: wave_function.log_psi(params, nuclei, r))(x)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _sign_and_log(
    wave_function: Any, devices: int, params: Params, nuclei: Array, x: Array
) -> tuple[Array, Array]:
    x = _shared(x, devices, 0)
    return jax.vmap(lambda r: wave_function.sign_and_log(params, nuclei, r))(x)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _measure(
    wave_function: Any,
    shape: tuple[int, int],
    potentials: tuple[CorePotential | None, ...],
    cell: Cell | None,
    params: Params,
    charges: Array,
    nuclei: Array,
    field: Array,
    x: Array,
) -> tuple[Array, ForceTerms | Matrices]:
    chunk, devices = shape

    def share(
        params: Params, charges: Array, nuclei: Array, field: Array, x: Array
    ) -> tuple[Array, ForceTerms | Matrices]:
        def local(psi: Any, own: Params, r: Array) -> tuple[Array, jets.Jet]:
            jet = psi.log_psi(own, nuclei, jets.seed(r))
            energy = kinetic_energy(jet) + potential_energy(charges, nuclei, r, cell)
            energy += (r @ field).sum()  # the charge of an electron is -1
            if potentials:
                value = functools.partial(psi.sign_and_log, own, nuclei)
                energy += core_energy(potentials, nuclei, r, value)
            return energy, jet

        def one(r: Array) -> tuple[Array, ForceTerms | Matrices]:
            if isinstance(wave_function, States):
                found = wave_function.matrices(lambda *at: local(*at)[0], params, nuclei, r)
                return jnp.trace(found.energy), found
            energy, jet = local(wave_function, params, r)
            # No nuclei would make arrays without elements, which `map` cannot split.
            pulling = (charges, nuclei) if len(charges) else (jnp.zeros(1), jnp.zeros((1, 3)))
            return energy, force_terms(jet.gradient.reshape(r.shape), *pulling, r)

        return jax.lax.map(one, x, batch_size=chunk)

    if (mesh := device_mesh(devices)) is not None:
        whole, split = PartitionSpec(), PartitionSpec(AXIS)
        specs = (whole, whole, whole, whole, split)
        share = jax.shard_map(share, mesh=mesh, in_specs=specs, out_specs=split)
    return share(params, charges, nuclei, field, x)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _sweep(
    wave_function: Any,
    shape: tuple[tuple[int, int], int, int, Cell | None],
    params: Params,
    charges: Array,
    nuclei: Array,
    x: Array,
    key: Array,
    width: Array,
) -> tuple[Array, Array, Array]:
    spins, moves, devices, cell = shape
    return sampler.sweep(
        lambda r: _log_psi(wave_function, params, nuclei, r),
        _shared(x, devices, 0), key, width, charges, nuclei, spins, moves, cell,
    )  # fmt: skip


def _jacobian(wave_function: Any, params: Params, nuclei: Array, x: Array) -> Array:
    """Derive log|psi| by all parameters, (G, B, P), in the network's precision.

    Parameters
    ----------
    nuclei, x : (G, M, 3), (G, B, N, 3) arrays
        Of G geometries.
    """
    dtype, count = wave_function.precision, len(nuclei)

    def geometry(each: tuple[Array, Array, Array]) -> Array:
        g, place, walkers = each
        chosen = select(wave_function, params, g)

        def one(r: Array) -> Array:
            own = jax.grad(lambda p: wave_function.log_psi(p, place, r))(chosen)
            gradient = spread(wave_function, own, g, count)
            leaves = [leaf.astype(dtype).ravel() for leaf in jax.tree.leaves(gradient)]
            return jnp.concatenate(leaves)

        return jax.vmap(one)(walkers)

    return jax.lax.map(geometry, (jnp.arange(count), nuclei, x))


def clipped(energies: Array, width: Array | float) -> Array:
    """Energies no further than `width` mean absolute deviations from the median of their row."""
    median, deviation = middle(energies)
    reach = width * deviation
    return jnp.clip(energies, median - reach, median + reach)


def middle(energies: Array) -> tuple[Array, Array]:
    """Median of each row, and mean absolute deviation from it; what is not a number is left out."""
    median = jnp.nanmedian(energies, -1, keepdims=True)
    return median, jnp.nanmean(jnp.abs(energies - median), -1, keepdims=True)


def make_step(
    problems: Sequence[Problem], settings: TrainConfig
) -> Callable[[State, float, float], tuple[State, dict[str, Array]]]:
    """Return a function of the state, the completed part of the run, and a factor of the rate."""
    largest = max(problems[0].molecule.charges, default=1)
    rate = settings.learning_rate * min(1, CORE_CHARGE / largest)
    names = ("damping", "momentum", "step_limit", "clip")
    numbers = {name: getattr(settings, name) for name in names}
    wave_function = problems[0].wave_function
    nuclei = np.stack([problem.molecule.nuclei for problem in problems])

    def step(state: State, done: float, scale: float) -> tuple[State, dict[str, Array]]:
        keys = jax.random.split(jax.random.wrap_key_data(state.key), len(problems) + 2)
        moved, energies, acceptance = [], [], []
        for g, problem in enumerate(problems):
            params = select(wave_function, state.params, g)
            x, _, accepted = problem.sweep(
                params, state.x[g], keys[g], state.width[g], settings.moves
            )
            moved.append(x)
            acceptance.append(accepted)
            energies.append(problem.energies(params, x))
        accepted = jnp.stack(acceptance)
        state = dataclasses.replace(
            state,
            x=jnp.stack(moved),
            width=sampler.adapt(state.width, accepted),
            key=keys[len(problems) :],
        )
        now = numbers | {"rate": scale * rate * max(1 - done, LAST_RATE)}
        devices = problems[0].devices
        fresh, stats = _update(wave_function, devices, nuclei, state, jnp.stack(energies), now)
        return fresh, stats | {"acceptance": accepted.mean()}

    return step


@functools.partial(jax.jit, static_argnums=(0, 1))
def _update(
    wave_function: Any,
    devices: int,
    nuclei: Array,
    state: State,
    energies: Array,
    numbers: dict[str, Array],
) -> tuple[State, dict[str, Array]]:
    """Change the parameters by the local energies (G, B); `state.key` are two keys."""
    fine = jnp.isfinite(energies)
    energies = jnp.where(fine, energies, jnp.nan)
    used = clipped(energies, numbers["clip"])
    used = jnp.where(fine, used, jnp.nanmean(used, 1, keepdims=True))
    jacobian = _jacobian(wave_function, state.params, nuclei, _shared(state.x, devices, 1))
    rows = fine[..., None]
    jacobian = jnp.where(rows, jacobian, jnp.where(rows, jacobian, 0).mean(1, keepdims=True))
    damping = numbers["damping"] * jnp.maximum(jnp.var(used, 1).mean(), LEAST_VARIANCE)
    direction, distance, freedom = spring(
        jacobian, used, state.direction, numbers["momentum"], state.damping * damping
    )
    growth = jnp.exp(DAMPING_PACE * (freedom / LARGEST_FREEDOM - 1))
    rate = jnp.minimum(numbers["rate"], numbers["step_limit"] / distance)
    flat, restore = ravel_pytree(state.params)
    params = restore(flat + rate * direction)
    share = (AVERAGING + 1) / (state.step + AVERAGING + 1)
    average = jax.tree.map(lambda a, p: a + share * (p - a), state.average, params)
    # A walker without a finite energy takes the place of one of its geometry that has.
    order = jax.random.permutation(state.key[0], fine.shape[1])
    donors = order[jnp.argmax(fine[:, order], 1)]
    replacement = state.x[jnp.arange(len(donors)), donors][:, None]
    fresh = State(
        params,
        average,
        direction,
        jnp.maximum(1.0, state.damping * growth),
        jnp.where(fine[..., None, None], state.x, replacement),
        state.width,
        jax.random.key_data(state.key[1]),
        state.step + 1,
    )
    stats = {
        "energy": jnp.nanmean(energies, 1),
        "clipped": used.mean(1),
        "variance": jnp.nanvar(energies, 1),
        "spread": middle(energies)[1],
        "lost": (~fine).sum(),
        "distance": rate * distance,
        "freedom": freedom,
        "damping": state.damping * damping,
        "rate": rate,
    }
    return fresh, stats


def start_state(
    problems: Sequence[Problem], settings: TrainConfig, form_only: bool = False
) -> State:
    """Parameters of the ansatz and walkers near the nuclei; `form_only` to read a file into."""
    molecules = [problem.molecule for problem in problems]
    wave_function = problems[0].wave_function
    each = [wave_function.init(settings.seed, None if form_only else m) for m in molecules]
    params = stack(wave_function, each)
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    rng = np.random.default_rng([settings.seed, 1])
    walkers = settings.walkers_for(problems[0].electrons) // len(problems)

    def initial(molecule: Molecule) -> Array:
        each = range(copy_count(wave_function))
        return jnp.concatenate([sampler.initial_walkers(rng, molecule, walkers) for _ in each], 1)

    return State(
        params,
        params,
        jnp.asarray(np.zeros(size)),
        jnp.ones(()),
        jnp.stack([initial(molecule) for molecule in molecules]),
        jnp.asarray(np.full(len(problems), 0.5)),
        jax.random.key_data(jax.random.key(settings.seed)),
        jnp.asarray(0),
    )
