"""Constant temperature: stochastic velocity rescaling."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from huozi.arrays import jax, jnp
from huozi.dynamics.nve import verlet
from huozi.dynamics.state import Force, State, kinetic_energy
from huozi.units import KB


def rescale_velocities(state: State, key: Any, dof: Any, temperature: Any, ratio: Any) -> State:
    """Move the kinetic energy exactly along its Langevin equation; the heat goes to the bath.

    Parameters
    ----------
    state : State
    key : jax.random.key
        Of this step alone.
    dof : float
        At least 2.
    temperature : float
        K.
    ratio : float
        Time passed over the time constant.
    """
    normal_key, gamma_key = jax.random.split(key)
    first = jax.random.normal(normal_key, dtype=jnp.float64)
    others = 2 * jax.random.gamma(gamma_key, (dof - 1) / 2, dtype=jnp.float64)
    kinetic = kinetic_energy(state)
    keep = jnp.exp(-ratio)
    new = (1 - keep) * KB * temperature / 2 / kinetic
    square = keep + new * (first**2 + others) + 2 * first * jnp.sqrt(keep * new)
    sign = jnp.where(first + jnp.sqrt(keep / new) < 0, -1.0, 1.0)
    return replace(
        state,
        velocities=sign * jnp.sqrt(square) * state.velocities,
        bath=state.bath + (square - 1) * kinetic,
    )


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class StochasticRescaling:
    """Velocity Verlet, then one common random factor on all velocities.

    Canonical like Langevin dynamics, but the motion of single atoms is hardly disturbed, so
    diffusion and spectra come out right; and it has no oscillations, unlike Nosé–Hoover.

    Parameters
    ----------
    timestep : float
        fs.
    dof : float
        Degrees of freedom thermalised: 3n - 3 when the total momentum is conserved (zero).
    temperature : float
        K.
    time_constant : float
        Relaxation time of the kinetic energy, fs.
    key : jax.random.key
        The noise of step s is drawn from ``fold_in(key, s)``.

    Source: Bussi, Donadio & Parrinello, J. Chem. Phys. 126, 014101 (2007), eqs. A7 and 15; the
    sign of the factor: Bussi & Parrinello, Comput. Phys. Commun. 179, 26 (2008).
    """

    timestep: Any
    dof: Any
    temperature: Any
    time_constant: Any
    key: Any
    moves_cell: ClassVar[bool] = False

    def initial_bath(self) -> Any:
        """Heat received so far, eV."""
        return jnp.zeros(())

    def step(self, state: State, force: Force) -> State:
        """Advance one step."""
        key = jax.random.fold_in(self.key, state.step)
        state = verlet(state, force, self.timestep)
        ratio = self.timestep / self.time_constant
        return rescale_velocities(state, key, self.dof, self.temperature, ratio)

    def conserved(self, state: State) -> Any:
        """Total energy less the heat received, eV."""
        return kinetic_energy(state) + state.energy - state.bath
