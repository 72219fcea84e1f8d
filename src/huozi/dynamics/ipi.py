"""Forces for i-PI over a socket: path integrals, replica exchange and whatever else it drives."""

from __future__ import annotations

import socket as sockets
import time
from collections.abc import Callable

import numpy as np
from ase import Atoms
from ase.calculators.socketio import IPIProtocol, SocketClosed, actualunixsocketname

from huozi.dynamics.calculator import ForceFieldCalculator
from huozi.neighbors import ForceField

SKIN = 1.5
"""Å. Beads of a path take turns at one neighbour table, so it must hold for all of them."""


def serve_forces(
    force_field: ForceField,
    atoms: Atoms,
    socket: str | None = None,
    host: str = "localhost",
    port: int = 31415,
    patience: float = 60.0,
    report: Callable[[int], None] | None = None,
    periodic: bool = True,
) -> int:
    """Answer i-PI's requests for energy, forces and virial until it says that it is done.

    Several such drivers may serve one i-PI, each in a process of its own.

    Parameters
    ----------
    force_field : ForceField
    atoms : ase.Atoms
        Elements in i-PI's order; positions and cell come over the socket.
    socket : str, optional
        Name of a UNIX socket (the ``address`` in i-PI's input); TCP when absent.
    host, port : str, int
        Of TCP.
    patience : float
        Seconds to wait for i-PI to open its socket.
    report : callable, optional
        Called with the number of evaluations after each.
    periodic : bool
        Whether the cell that i-PI sends repeats. Files of i-PI do not say it, so `atoms` need not;
        some periodic directions of theirs (a slab) are kept.

    Returns
    -------
    int
        Evaluations made.

    Raises
    ------
    ConnectionError
        If nobody listens there in time.
    ValueError
        If i-PI has another number of atoms.

    Source: Kapil et al., Comput. Phys. Commun. 236, 214 (2019), doi:10.1016/j.cpc.2018.09.020;
    ASE keeps the protocol.
    """
    atoms = atoms.copy()
    atoms.pbc = (atoms.pbc if atoms.pbc.any() else True) if periodic else False
    atoms.calc = ForceFieldCalculator(force_field, skin=SKIN)
    count = 0
    with _connect(socket, host, port, patience) as connection:
        protocol = IPIProtocol(connection)
        answer, state = None, "READY"
        while (message := _next_message(protocol)) != "EXIT":
            if message == "STATUS":
                protocol.sendmsg(state)
            elif message == "POSDATA":
                cell, _, positions = protocol.recvposdata()
                if len(positions) != len(atoms):
                    raise ValueError(
                        f"i-PI moves {len(positions)} atoms, the structure given here has "
                        f"{len(atoms)}; give the file that i-PI starts from"
                    )
                atoms.set_cell(cell)
                atoms.positions = positions
                answer, state = _forces(atoms), "HAVEDATA"
                count += 1
                if report is not None:
                    report(count)
            elif message == "GETFORCE" and answer is not None:
                protocol.sendforce(*answer)
                answer, state = None, "READY"
            else:
                raise ConnectionError(f"i-PI sent {message!r}, which no driver expects here")
    return count


def _next_message(protocol: IPIProtocol) -> str:
    """Next request; an i-PI that was stopped closes the socket without a word."""
    try:
        return str(protocol.recvmsg())
    except SocketClosed:
        return "EXIT"


def _forces(atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy in eV, forces in eV/Å, virial in eV as i-PI counts it (zero in open systems)."""
    virial = np.zeros((3, 3))
    if atoms.pbc.all():
        virial = -atoms.get_volume() * atoms.get_stress(voigt=False)
    return atoms.get_potential_energy(), atoms.get_forces(), virial


def _connect(name: str | None, host: str, port: int, patience: float) -> sockets.socket:
    """Connect as soon as i-PI listens."""
    unix = None if name is None else actualunixsocketname(name)
    deadline = time.monotonic() + patience
    while True:
        connection = sockets.socket(sockets.AF_INET if unix is None else sockets.AF_UNIX)
        try:
            connection.connect((host, port) if unix is None else unix)
            return connection
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            if time.monotonic() > deadline:
                place = f"{host}:{port}" if unix is None else f"UNIX socket {unix}"
                raise ConnectionError(
                    f"no i-PI listens at {place} after {patience:.0f} s; start `i-pi input.xml` "
                    "first, with an <ffsocket> of the same address"
                ) from None
            time.sleep(0.1)
