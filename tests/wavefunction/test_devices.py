"""Walkers shared by two devices, against all on one."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from huozi.wavefunction import VMC, Molecule, Psiformer

SCRIPT = """
import json
from huozi.wavefunction import VMC, Molecule, Psiformer
from huozi.wavefunction import vmc as module
module.LOG_SECONDS = 0.0  # so that the last event is that of the last step alone
hydrogen = Molecule.parse("H 0 0 0; H 0 0 1.4")
size = dict(width=4, layers=1, heads=2, determinants=2, pair_width=4, precision="float64")
vmc = VMC(hydrogen, Psiformer.for_molecule(hydrogen, **size))
found = []
for devices in (1, 2):
    events = []
    run = vmc.train(report=events.append, steps=4, walkers=32, chunk=8, devices=devices)
    walkers = run.state.x.ravel().tolist()
    lower = run.diffuse(steps=40, time_step=0.01, seed=1).energy_Ha
    found.append([events[-1]["energy_Ha"], lower, *run.state.direction.tolist(), *walkers])
print(json.dumps(found))
"""


def test_two_devices_find_what_one_finds():
    pytest.importorskip("pyscf")
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2"
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(
        command, env=os.environ | {"XLA_FLAGS": flags}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    one, two = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(two, one, rtol=1e-9, atol=1e-9)


def test_walkers_that_devices_cannot_share():
    helium = Molecule.parse("He 0 0 0")
    vmc = VMC(helium, Psiformer.for_molecule(helium))
    with pytest.raises(ValueError, match="33 walkers of 1 geometries cannot be shared by 2"):
        vmc.train(steps=1, walkers=33, devices=2)
    with pytest.raises(ValueError, match="99 are asked for"):
        vmc.train(steps=1, walkers=99, devices=99)
