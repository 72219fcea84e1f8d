"""Constant temperature: deterministic, time-reversible Nosé–Hoover chain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from huozi.arrays import jax, jnp
from huozi.dynamics.nve import verlet
from huozi.dynamics.state import Force, State, kinetic_energy
from huozi.units import KB

_CHAIN = 3
_OUTER = 1 / (2 - 2 ** (1 / 3))
_SUBSTEPS = (_OUTER, 1 - 2 * _OUTER, _OUTER)
"""Yoshida's fourth-order splitting of the chain's half step."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NoseHoover:
    """Newton's equations with a friction that a chain of three thermostats drives.

    Parameters
    ----------
    timestep : float
        fs.
    dof : float
        Degrees of freedom thermalised: 3n - 3 when the total momentum is conserved (zero).
    temperature : float
        K.
    time_constant : float
        Time scale of the chain, fs: masses are dof kB T tau^2 and kB T tau^2.

    Source: Martyna, Tuckerman, Tobias & Klein, Mol. Phys. 87, 1117 (1996).
    """

    timestep: Any
    dof: Any
    temperature: Any
    time_constant: Any
    moves_cell: ClassVar[bool] = False

    def initial_bath(self) -> Any:
        """Positions and rates (1/fs) of the chain, (2, 3)."""
        return jnp.zeros((2, _CHAIN))

    def step(self, state: State, force: Force) -> State:
        """Advance one step."""
        state = self._chain(state)
        state = verlet(state, force, self.timestep)
        return self._chain(state)

    def conserved(self, state: State) -> Any:
        """Energy of the atoms and the chain, eV."""
        position, rate = state.bath
        thermal = KB * self.temperature
        chain = jnp.sum(0.5 * self._masses() * rate**2)
        chain += thermal * (self.dof * position[0] + jnp.sum(position[1:]))
        return kinetic_energy(state) + state.energy + chain

    def _masses(self) -> Any:
        counts = jnp.ones(_CHAIN).at[0].set(self.dof)
        return counts * KB * self.temperature * self.time_constant**2

    def _chain(self, state: State) -> State:
        """Half a time step of the chain: its rates, and the velocities it scales."""
        thermal, masses = KB * self.temperature, self._masses()
        position, rate = state.bath
        twice_kinetic = 2 * kinetic_energy(state)
        scale = jnp.ones(())

        def drive(link: int, twice_kinetic: Any, rate: Any) -> Any:
            if link == 0:
                return (twice_kinetic - self.dof * thermal) / masses[0]
            return (masses[link - 1] * rate[link - 1] ** 2 - thermal) / masses[link]

        def turn(link: int, time: Any, twice_kinetic: Any, rate: Any) -> Any:
            """Advance one rate: half the next link's damping, the drive, half the damping."""
            damp = jnp.exp(-time / 8 * rate[link + 1]) if link + 1 < _CHAIN else 1.0
            force = drive(link, twice_kinetic, rate)
            return rate.at[link].set((rate[link] * damp + time / 4 * force) * damp)

        for weight in _SUBSTEPS:
            time = weight * self.timestep
            for link in reversed(range(_CHAIN)):
                rate = turn(link, time, twice_kinetic, rate)
            slow = jnp.exp(-time / 2 * rate[0])
            scale, twice_kinetic = scale * slow, twice_kinetic * slow**2
            position = position + time / 2 * rate
            for link in range(_CHAIN):
                rate = turn(link, time, twice_kinetic, rate)
        bath = jnp.stack([position, rate])
        return replace(state, velocities=scale * state.velocities, bath=bath)
