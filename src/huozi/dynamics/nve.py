"""Constant energy: velocity Verlet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from huozi.arrays import jax, jnp
from huozi.dynamics.state import Force, State, drift, kick, kinetic_energy, refresh


def verlet(state: State, force: Force, timestep: Any) -> State:
    """One step of Newton's equations: half a kick, a drift, half a kick."""
    state = kick(state, timestep / 2)
    state = drift(state, timestep)
    state = refresh(state, force)
    state = kick(state, timestep / 2)
    return replace(state, step=state.step + 1)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NVE:
    """Newton's equations by velocity Verlet; the total energy is conserved to order dt^2.

    Parameters
    ----------
    timestep : float
        fs.
    dof : float
        Degrees of freedom, for the temperature alone.
    """

    timestep: Any
    dof: Any
    moves_cell: ClassVar[bool] = False

    def initial_bath(self) -> Any:
        """No bath."""
        return jnp.zeros(())

    def step(self, state: State, force: Force) -> State:
        """Advance one step."""
        return verlet(state, force, self.timestep)

    def conserved(self, state: State) -> Any:
        """Total energy, eV."""
        return kinetic_energy(state) + state.energy
