"""One step of the optimisation: move walkers, measure energies, change parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jax.flatten_util import ravel_pytree

from huozi.arrays import jax, jnp
from huozi.wavefunction import sampler
from huozi.wavefunction.hamiltonian import local_energy
from huozi.wavefunction.molecule import Molecule
from huozi.wavefunction.natural_gradient import spring
from huozi.wavefunction.settings import TrainConfig

Array = jax.Array
Params = dict[str, Any]

LEAST_VARIANCE = 1e-3
"""Hartree^2; the damping is proportional to the variance of the local energy, but not below."""

AVERAGING = 10.0
"""The averaged parameters remember the last 1/(1 + AVERAGING) of the run."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    """Everything that the next step depends on.

    Parameters
    ----------
    params, average : dict
        Parameters, and their running average.
    direction : (P,) array
        Last direction.
    x : (walkers, N, 3) array
        Electrons, bohr.
    width : array
        Of Metropolis moves, bohr.
    key : array
        Random key data.
    step : array
        Steps done.
    """

    params: Params
    average: Params
    direction: Array
    x: Array
    width: Array
    key: Array
    step: Array


@dataclass(frozen=True)
class Problem:
    """A wave function and the molecule it describes, as functions of walkers.

    Parameters
    ----------
    molecule : Molecule
    wave_function : Psiformer or another ansatz
    chunk : int
        Walkers whose local energy is computed at once.
    """

    molecule: Molecule
    wave_function: Any
    chunk: int = 64

    @property
    def charges(self) -> Array:
        """Nuclear charges, (M,)."""
        return jnp.array(self.molecule.charges, float)

    @property
    def nuclei(self) -> Array:
        """Nuclei, (M, 3) bohr."""
        return jnp.asarray(self.molecule.nuclei)

    def log_psi(self, params: Params, x: Array) -> Array:
        """log|psi| of walkers (B, N, 3)."""
        return jax.vmap(lambda r: self.wave_function.log_psi(params, self.nuclei, r))(x)

    def energies(self, params: Params, x: Array) -> tuple[Array, Array]:
        """Kinetic and potential local energies of walkers, hartree."""

        def one(r: Array) -> tuple[Array, Array]:
            def psi(jet: Any) -> Any:
                return self.wave_function.log_psi(params, self.nuclei, jet)

            return local_energy(psi, self.charges, self.nuclei, r)

        kinetic, potential = jax.lax.map(one, x, batch_size=min(self.chunk, x.shape[0]))
        return kinetic, potential + self.molecule.nuclear_repulsion

    def jacobian(self, params: Params, x: Array) -> Array:
        """Derive log|psi| by all parameters, (B, P), in the network's precision."""
        dtype = self.wave_function.precision

        def one(r: Array) -> Array:
            gradient = jax.grad(lambda p: self.wave_function.log_psi(p, self.nuclei, r))(params)
            leaves = [leaf.astype(dtype).ravel() for leaf in jax.tree.leaves(gradient)]
            return jnp.concatenate(leaves)

        return jax.vmap(one)(x)

    def sweep(self, params: Params, x: Array, key: Array, width: Array, moves: int) -> Any:
        """Metropolis moves; new walkers and the acceptance."""
        return sampler.sweep(
            lambda r: self.log_psi(params, r), x, key, width, self.charges, self.nuclei, moves
        )


def clipped(energies: Array, width: float) -> Array:
    """Energies no further than `width` mean absolute deviations from the median."""
    median = jnp.nanmedian(energies)
    reach = width * jnp.nanmean(jnp.abs(energies - median))
    return jnp.clip(energies, median - reach, median + reach)


def make_step(
    problem: Problem, settings: TrainConfig
) -> Callable[[State, Array, Array], tuple[State, dict[str, Array]]]:
    """Return a function of the state, the completed part of the run, and a factor of the rate."""
    # Steps in imaginary time are stable below 2/(E_max - E), and E_max comes from the cores.
    largest = max(problem.molecule.charges)

    def step(state: State, done: Array, scale: Array) -> tuple[State, dict[str, Array]]:
        keys = jax.random.split(jax.random.wrap_key_data(state.key), 3)
        x, acceptance = problem.sweep(state.params, state.x, keys[0], state.width, settings.moves)
        kinetic, potential = problem.energies(state.params, x)
        energies = kinetic + potential
        fine = jnp.isfinite(energies)
        used = clipped(energies, settings.clip)
        used = jnp.where(fine, used, jnp.nanmean(used))
        jacobian = problem.jacobian(state.params, x)
        jacobian = jnp.where(fine[:, None], jacobian, jnp.where(fine[:, None], jacobian, 0).mean(0))
        damping = settings.damping * jnp.maximum(jnp.var(used), LEAST_VARIANCE)
        direction, distance = spring(jacobian, used, state.direction, settings.momentum, damping)
        rate = scale * settings.learning_rate * jnp.maximum(1 - done, 0.02) / largest
        rate = jnp.minimum(rate, settings.step_limit / distance)
        flat, restore = ravel_pytree(state.params)
        params = restore(flat + rate * direction)
        share = (AVERAGING + 1) / (state.step + AVERAGING + 1)
        average = jax.tree.map(lambda a, p: a + share * (p - a), state.average, params)
        # A walker without a finite energy takes the place of one that has.
        order = jax.random.permutation(keys[1], fine.shape[0])
        donor = order[jnp.argmax(fine[order])]
        fresh = State(
            params,
            average,
            direction,
            jnp.where(fine[:, None, None], x, x[donor]),
            sampler.adapt(state.width, acceptance),
            jax.random.key_data(keys[2]),
            state.step + 1,
        )
        stats = {
            "energy": jnp.nanmean(energies),
            "clipped": used.mean(),
            "variance": jnp.nanvar(energies),
            "acceptance": acceptance,
            "lost": (~fine).sum(),
            "distance": rate * distance,
            "rate": rate,
        }
        return fresh, stats

    return jax.jit(step)


def start_state(problem: Problem, settings: TrainConfig, form_only: bool = False) -> State:
    """Parameters of the ansatz and walkers near the nuclei; `form_only` to read a file into."""
    keys = jax.random.split(jax.random.key(settings.seed), 3)
    params = problem.wave_function.init(keys[0], None if form_only else problem.molecule)
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    x = sampler.initial_walkers(keys[1], problem.molecule, settings.walkers)
    return State(
        params,
        params,
        jnp.zeros(size),
        x,
        jnp.full((), 0.5),
        jax.random.key_data(keys[2]),
        jnp.asarray(0),
    )
