"""Constant temperature and pressure: stochastic cell rescaling."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from huozi.arrays import jax, jnp
from huozi.dynamics.csvr import rescale_velocities
from huozi.dynamics.state import Force, State, drift, kick, kinetic_energy, refresh, volume
from huozi.units import AMU_A2_FS2, KB


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CellRescaling:
    """Velocity Verlet with a cell that diffuses towards equilibrium, and velocity rescaling.

    Half way through each step cell and atoms are strained by exp(E) and momenta by its inverse,
    with a symmetric random strain increment (beta: compressibility, tau: `cell_time_constant`)

        E = beta / (3 tau) (P - p 1 + c kB T / V 1) dt + sqrt(2 kB T beta dt / (3 V tau)) xi,

    where P is the internal pressure tensor. It samples exp(-(K + U + p V) / kB T), uniform in
    the volume and in the shape of the cell. `isotropic` keeps the trace of E alone. c = n -
    dof / 3 stands for momenta that are not there (1 for a centre of mass at rest), so that an
    ideal gas of n atoms has <V> = (n + 1) kB T / p. Rotations are no moves.

    Parameters
    ----------
    timestep : float
        fs.
    dof : float
        3n - 3: the total momentum is conserved (zero).
    temperature : float
        K.
    time_constant : float
        Relaxation time of the kinetic energy, fs.
    pressure : float
        eV/Å^3.
    cell_time_constant : float
        Relaxation time of the volume, fs, if the compressibility is right.
    compressibility : float
        Isothermal compressibility, Å^3/eV; it sets the pace, not the result.
    key : jax.random.key
        The noise of step s is drawn from ``fold_in(key, s)``.
    isotropic : bool
        Keep the shape of the cell.

    Source: Bernetti & Bussi, J. Chem. Phys. 153, 114107 (2020), eq. 7; full cell: Del Tatto,
    Raiteri, Bernetti & Bussi, Appl. Sci. 12, 1139 (2022); uniform measure: Martyna, Tobias &
    Klein, J. Chem. Phys. 101, 4177 (1994).
    """

    timestep: Any
    dof: Any
    temperature: Any
    time_constant: Any
    pressure: Any
    cell_time_constant: Any
    compressibility: Any
    key: Any
    isotropic: bool = field(metadata={"static": True}, default=True)
    moves_cell: ClassVar[bool] = True

    def initial_bath(self) -> Any:
        """Energy received so far from thermostat and barostat, eV."""
        return jnp.zeros(())

    def step(self, state: State, force: Force) -> State:
        """Advance one step."""
        velocity_key, cell_key = jax.random.split(jax.random.fold_in(self.key, state.step))
        state = kick(state, self.timestep / 2)
        state = drift(state, self.timestep / 2)
        strain = self._strain(state, cell_key)
        old_virial = state.virial
        state = self._deform(state, strain)
        state = drift(state, self.timestep / 2)
        state = refresh(state, force)
        # The energy of the atoms at the moment of the strain is never evaluated; the mean
        # virial of both ends of the step gives its change.
        work = -jnp.sum((old_virial + state.virial) / 2 * strain)
        state = replace(state, step=state.step + 1, bath=state.bath + work)
        state = kick(state, self.timestep / 2)
        ratio = self.timestep / self.time_constant
        return rescale_velocities(state, velocity_key, self.dof, self.temperature, ratio)

    def conserved(self, state: State) -> Any:
        """Enthalpy K + U + p V less the energy received, eV."""
        enthalpy = kinetic_energy(state) + state.energy + self.pressure * volume(state.cell)
        return enthalpy - state.bath

    def _strain(self, state: State, key: Any) -> Any:
        """Draw the strain increment (3, 3) of this step."""
        size, thermal = volume(state.cell), KB * self.temperature
        weighted = state.masses[:, None] * AMU_A2_FS2 * state.velocities
        # Velocities of half a step, which fit the virial of full steps (see state.pressure).
        inner = (state.velocities.T @ weighted + state.virial) / size
        missing = (len(state.masses) - self.dof / 3) * thermal / size
        outer = (self.pressure - missing) * jnp.eye(3)
        mobility = self.compressibility * self.timestep / (3 * self.cell_time_constant)
        noise = jax.random.normal(key, (3, 3), jnp.float64)
        strain = mobility * (inner - outer) + jnp.sqrt(2 * thermal * mobility / size) * noise
        strain = (strain + strain.T) / 2
        return jnp.trace(strain) / 3 * jnp.eye(3) if self.isotropic else strain

    def _deform(self, state: State, strain: Any) -> State:
        """Strain cell and positions, contract momenta; the barostat pays for K and p V."""
        stretch = _exponential(strain)
        after = replace(
            state,
            cell=state.cell @ stretch,
            positions=state.positions @ stretch,
            velocities=state.velocities @ _exponential(-strain),
        )
        work = kinetic_energy(after) - kinetic_energy(state)
        work += self.pressure * (volume(after.cell) - volume(state.cell))
        return replace(after, bath=state.bath + work)


def _exponential(strain: Any) -> Any:
    """Matrix exponential of a small strain (3, 3), to fifth order (1e-15 at the usual 1e-3)."""
    result = jnp.eye(3)
    for order in (5, 4, 3, 2, 1):
        result = jnp.eye(3) + strain @ result / order
    return result
