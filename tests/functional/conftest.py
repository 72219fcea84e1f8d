import numpy as np
import pytest

pytest.importorskip("pyscf", reason="needs the extra huozi[functional]")
from pyscf import gto, lib

lib.num_threads(1)

DIMER = """O 0 0 0; H 0.7 0.6 0.1; H -.75 .55 0;
           O 0.1 -2.7 .3; H .2 -1.8 .1; H -.7 -3. 0.2"""


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """For processes that a test starts."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def molecule(atoms, basis="6-31g", spin=0, **options):
    return gto.M(atom=atoms, basis=basis, spin=spin, verbose=0, **options)


@pytest.fixture
def dimer():
    return molecule(DIMER)


@pytest.fixture
def water():
    return molecule("O 0 0 0; H 0.7 0.6 0.1; H -.75 .55 0")


@pytest.fixture
def radical():
    return molecule("O 0 0 0; H 0.7 0.6 0.1; H -.75 .55 0", spin=1, charge=1)


def tight(mf):
    """Converge a field further than PySCF does by itself."""
    mf.conv_tol, mf.conv_tol_grad = 1e-12, 1e-7
    return mf


def derivative(energy, positions, atom, axis, step=2e-3):
    """dE/dX of one coordinate by fourth-order finite differences."""
    values = []
    for k in (1, -1, 2, -2):
        moved = np.array(positions)
        moved[atom, axis] += k * step
        values.append(energy(moved))
    return (8 * (values[0] - values[1]) - (values[2] - values[3])) / (12 * step)
