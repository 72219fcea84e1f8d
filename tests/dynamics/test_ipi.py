"""Forces over a socket: ASE as the server, then i-PI itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones as AseLennardJones
from ase.calculators.socketio import SocketClosed, SocketIOCalculator

from huozi.dynamics import ForceFieldCalculator, serve_forces
from huozi.potential.lennard_jones import LennardJones

FIELD = LennardJones(0.0104, 3.4, 6.5)
I_PI = shutil.which("i-pi", path=str(Path(sys.executable).parent)) or shutil.which("i-pi")

INPUT = """\
<simulation verbosity='low'>
  <output prefix='run'>
    <properties stride='1' filename='out'> [ step, potential{electronvolt} ] </properties>
  </output>
  <total_steps> 5 </total_steps>
  <prng> <seed> 1 </seed> </prng>
  <ffsocket name='huozi' mode='unix' pbc='false'> <address> ADDRESS </address> </ffsocket>
  <system>
    <initialize nbeads='4'>
      <file mode='xyz' units='angstrom'> start.xyz </file>
      <cell mode='abc' units='angstrom'> [ 10.6, 10.6, 10.6 ] </cell>
      <velocities mode='thermal' units='kelvin'> 50 </velocities>
    </initialize>
    <forces> <force forcefield='huozi'/> </forces>
    <motion mode='dynamics'>
      <dynamics mode='nvt'>
        <timestep units='femtosecond'> 1.0 </timestep>
        <thermostat mode='pile_g'> <tau units='femtosecond'> 100 </tau> </thermostat>
      </dynamics>
    </motion>
    <ensemble> <temperature units='kelvin'> 50 </temperature> </ensemble>
  </system>
</simulation>
"""


def address() -> str:
    return f"huozi_test_{uuid.uuid4().hex[:12]}"


def crystal() -> Atoms:
    atoms = bulk("Ar", a=5.3, cubic=True) * (2, 2, 2)
    atoms.rattle(0.1, seed=1)
    return atoms


def test_a_server_gets_energy_forces_and_stress_of_every_request():
    name, atoms, reference = address(), crystal(), crystal()
    reference.calc = AseLennardJones(sigma=3.4, epsilon=0.0104, rc=6.5)
    counts: list[int] = []

    def drive() -> None:
        counts.append(serve_forces(FIELD, crystal(), name))

    driver = threading.Thread(target=drive)
    with SocketIOCalculator(unixsocket=name) as server:
        driver.start()
        atoms.calc = server
        rng = np.random.default_rng(0)
        for _ in range(4):
            for each in (atoms, reference):
                each.set_cell(each.cell.array * 1.01, scale_atoms=True)
            move = rng.normal(scale=0.3, size=atoms.positions.shape)
            atoms.positions += move
            reference.positions += move
            energy = reference.get_potential_energy()
            assert atoms.get_potential_energy() == pytest.approx(energy, rel=1e-9)
            np.testing.assert_allclose(atoms.get_forces(), reference.get_forces(), atol=1e-9)
            np.testing.assert_allclose(atoms.get_stress(), reference.get_stress(), atol=1e-11)
    driver.join(timeout=20)
    assert counts == [4]


def from_xyz(atoms: Atoms) -> Atoms:
    """The structure as a plain XYZ file holds it, as i-PI's do: no cell, not periodic."""
    return Atoms(atoms.symbols, atoms.positions)


@pytest.mark.parametrize("periodic", [True, False])
def test_the_cell_of_i_pi_repeats_unless_the_system_is_open(periodic):
    name, atoms, reference = address(), crystal(), crystal()
    reference.pbc = periodic
    reference.calc = AseLennardJones(sigma=3.4, epsilon=0.0104, rc=6.5)
    driver = threading.Thread(
        target=serve_forces, args=(FIELD, from_xyz(atoms), name), kwargs={"periodic": periodic}
    )
    with SocketIOCalculator(unixsocket=name) as server:
        driver.start()
        atoms.calc = server
        np.testing.assert_allclose(atoms.get_forces(), reference.get_forces(), atol=1e-9)
        if periodic:
            np.testing.assert_allclose(atoms.get_stress(), reference.get_stress(), atol=1e-11)
        else:
            assert not atoms.get_stress().any()
    driver.join(timeout=20)


def test_another_number_of_atoms_is_named():
    name, found = address(), []

    def drive() -> None:
        try:
            serve_forces(FIELD, crystal()[:30], name)
        except ValueError as error:
            found.append(str(error))

    driver = threading.Thread(target=drive)
    atoms = crystal()
    with SocketIOCalculator(unixsocket=name) as server:
        driver.start()
        atoms.calc = server
        with pytest.raises((SocketClosed, OSError)):
            atoms.get_potential_energy()
    driver.join(timeout=20)
    assert found == [
        "i-PI moves 32 atoms, the structure given here has 30; give the file that i-PI starts from"
    ]


def test_without_a_server_the_error_says_where_it_looked():
    name = address()
    with pytest.raises(ConnectionError, match=f"/tmp/ipi_{name}"):
        serve_forces(FIELD, crystal(), name, patience=0.0)


@pytest.mark.skipif(I_PI is None, reason="needs i-PI (pip install ipi)")
def test_i_pi_runs_a_path_of_four_beads(tmp_path):
    name, atoms = address(), crystal()
    atoms.write(tmp_path / "start.xyz", format="xyz")
    (tmp_path / "input.xml").write_text(INPUT.replace("ADDRESS", name))
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen([I_PI, "input.xml"], cwd=tmp_path, stdout=log, stderr=log)
    try:
        count = serve_forces(FIELD, from_xyz(atoms), name)
        server.wait(timeout=60)
    finally:
        server.kill()
        server.wait()
    assert count >= 6 * 4
    rows = np.loadtxt(tmp_path / "run.out")
    atoms.calc = ForceFieldCalculator(FIELD)
    # i-PI reads positions of single precision at best and has constants of its own.
    assert rows[0, 1] == pytest.approx(atoms.get_potential_energy(), rel=1e-4)
    assert len(rows) == 6
