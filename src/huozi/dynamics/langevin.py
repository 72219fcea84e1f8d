"""Constant temperature: Langevin dynamics by the BAOAB splitting."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from huozi.arrays import jax, jnp
from huozi.dynamics.state import Force, State, drift, kick, kinetic_energy, refresh
from huozi.units import AMU_A2_FS2, KB


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Langevin:
    """Newton's equations with friction and noise on every atom.

    Each step is kick, drift, friction and noise (exactly), drift, kick. Positions in a harmonic
    well are distributed exactly at any stable time step.

    Parameters
    ----------
    timestep : float
        fs.
    dof : float
        3n: the centre of mass is thermalised like everything else.
    temperature : float
        K.
    time_constant : float
        Inverse friction, fs.
    key : jax.random.key
        The noise of step s is drawn from ``fold_in(key, s)``.

    Source: Leimkuhler & Matthews, Appl. Math. Res. Express 2013, 34; the conserved energy is
    that of Bussi & Parrinello, Phys. Rev. E 75, 056707 (2007).
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
        state = kick(state, self.timestep / 2)
        state = drift(state, self.timestep / 2)
        state = self._friction(state)
        state = drift(state, self.timestep / 2)
        state = refresh(state, force)
        state = kick(state, self.timestep / 2)
        return replace(state, step=state.step + 1)

    def conserved(self, state: State) -> Any:
        """Total energy less the heat received, eV."""
        return kinetic_energy(state) + state.energy - state.bath

    def _friction(self, state: State) -> State:
        keep = jnp.exp(-self.timestep / self.time_constant)
        spread = jnp.sqrt(KB * self.temperature / (state.masses * AMU_A2_FS2))
        noise = jax.random.normal(jax.random.fold_in(self.key, state.step), state.velocities.shape)
        velocities = keep * state.velocities + jnp.sqrt(1 - keep**2) * spread[:, None] * noise
        after = replace(state, velocities=velocities)
        heat = kinetic_energy(after) - kinetic_energy(state)
        return replace(after, bath=state.bath + heat)
