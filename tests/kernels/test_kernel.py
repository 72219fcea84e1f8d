"""The compiled kernel gives the energies and forces of JAX, and refuses what it cannot read."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from hypothesis import given, settings
from hypothesis import strategies as st

from huozi import kernels
from huozi.benchmark.run import usable_engines
from huozi.potential import MomentConfig
from huozi.systems import System
from tests.potential.conftest import random_model

pytestmark = pytest.mark.skipif(
    not kernels.is_available(), reason="the compiled kernel was not built"
)


def test_an_isolated_atom_has_its_own_energy() -> None:
    model = replace(random_model((1, 8)).astype("float32"), engine="kernel")
    system = System(np.array([8]), np.zeros((1, 3)), np.zeros((3, 3)), np.zeros(3, bool))
    found = model.evaluate(system)
    assert found.energy == pytest.approx(model.e0[1], abs=1e-6)
    assert not found.forces.any()
    assert not found.virial.any()


PROGRAM = """
import sys
import numpy as np
from dataclasses import replace
from huozi import kernels
from tests.kernels.conftest import random_system
from tests.potential.conftest import random_model
model = replace(random_model((1, 8)).astype("float32"), engine="kernel")
system = random_system(np.random.default_rng(5), (1, 8), 150, 2.2)
first, second = model.evaluate(system), model.evaluate(system)
assert all(np.array_equal(a, b) for a, b in zip(first, second))
np.savez(sys.argv[1], name=kernels.instruction_set(), **first._asdict())
"""


ROOT = Path(__file__).parents[2]


def run_with(folder: Path, **environment: str) -> dict[str, np.ndarray]:
    """Evaluate in a process of its own."""
    out = folder / "result.npz"
    subprocess.run(
        [sys.executable, "-c", PROGRAM, str(out)],
        check=True, env=os.environ | environment, cwd=ROOT,
    )  # fmt: skip
    return dict(np.load(out))


@pytest.fixture(scope="module")
def on_two_threads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """The best instructions of this processor, two threads."""
    return run_with(tmp_path_factory.mktemp("two"), OMP_NUM_THREADS="2")


@pytest.mark.parametrize(
    ("environment", "tolerance"),
    [({"HUOZI_ISA": "portable"}, 1e-5), ({"HUOZI_ISA": "avx2"}, 1e-5), ({}, 1e-12)],
)
def test_same_numbers_with_other_instructions_and_threads(
    tmp_path: Path,
    on_two_threads: dict[str, np.ndarray],
    environment: dict[str, str],
    tolerance: float,
) -> None:
    """Repeated calls are bitwise equal; threads change the order of float64 sums alone.

    Those of forces are exact.
    """
    other = run_with(tmp_path, OMP_NUM_THREADS="1", **environment)
    wanted = environment.get("HUOZI_ISA", other["name"])
    if wanted == "avx2" and other["name"] == "portable":
        pytest.skip("this processor has no avx2")
    assert other["name"] == wanted
    for name in ("energy", "forces", "virial"):
        scale = np.abs(on_two_threads[name]).max()
        np.testing.assert_allclose(other[name], on_two_threads[name], 0, tolerance * scale)
    if not environment:
        np.testing.assert_array_equal(other["forces"], on_two_threads["forces"])


def test_fewer_threads_than_asked_for_do_all_the_work(
    tmp_path: Path, on_two_threads: dict[str, np.ndarray]
) -> None:
    other = run_with(tmp_path, OMP_NUM_THREADS="2", OMP_THREAD_LIMIT="1")
    np.testing.assert_array_equal(other["forces"], on_two_threads["forces"])
    np.testing.assert_allclose(other["virial"], on_two_threads["virial"], rtol=1e-12)


def test_auto_takes_the_kernel_for_single_precision_alone() -> None:
    model = random_model((1, 8))
    assert not model.uses_kernel()
    assert model.astype("float32").uses_kernel()
    assert not replace(model.astype("float32"), engine="xla").uses_kernel()
    with pytest.raises(ValueError, match="float32"):
        replace(model, engine="kernel").uses_kernel()


def test_only_engines_that_can_evaluate_a_model_are_timed() -> None:
    double = random_model((1, 8))
    single, atoms = double.astype("float32"), molecule("H2O")
    assert {"kernel", "xla"} == set(usable_engines(single, atoms)) - {"lammps"}
    assert usable_engines(double, atoms) == ("xla",), "no cell for LAMMPS either"


def test_a_first_layer_as_wide_as_the_descriptor_is_refused() -> None:
    """Its shortcut adds all invariants; the kernel keeps those that differ."""
    config = MomentConfig(cutoff=4.0, radial=6, degree=0, channels=4, partners=2, hidden=(12,))
    model = random_model((1, 8), config).astype("float32")
    assert not model.uses_kernel()
    with pytest.raises(ValueError, match="shortcut around the first layer"):
        replace(model, engine="kernel").uses_kernel()
    with pytest.raises(ValueError, match="shortcut around the first layer"):
        kernels.load(model.to_bytes())


def test_a_file_that_is_not_a_whole_model_is_refused() -> None:
    content = random_model((1, 8)).astype("float32").to_bytes()
    for broken, message in (
        (b"", "not a whole safetensors file"),
        (content[:50], "not a whole safetensors file"),
        (content[:-1], "not whole|impossible"),
        (b"\x80" * 8 + content[8:], "not a whole safetensors file"),
        (content.replace(b"huozi-potential-2", b"huozi-potential-9"), "format huozi-potential-9"),
        (content.replace(b"cutoff", b"kutoff"), "lacks cutoff"),
        (content.replace(b'"F32"', b'"I32"'), "of type I32"),
    ):
        with pytest.raises(ValueError, match=message):
            kernels.load(broken)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_headers_never_crash(data: st.DataObject) -> None:
    """A byte of the header replaced: refused, or (in a comment, say) read as before."""
    content = bytearray(random_model((1,)).astype("float32").to_bytes())
    end = 8 + int.from_bytes(content[:8], "little")
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, end - 1))] = data.draw(st.integers(0, 255))
    try:
        handle = kernels.load(bytes(content))
    except ValueError as error:
        assert str(error)  # noqa: PT017
    else:
        assert handle
