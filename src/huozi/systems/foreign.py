"""Everything that is not ours to parse: ASE databases, ASE's readers, dpdata's readers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from huozi.systems.frame import Dataset, Frame, Labels, System
from huozi.systems.keys import KeyUse, convert_hint, label_frame

_ASE_NAMES = {"vasp/outcar": "vasp-out", "vasp/xml": "vasp-xml", "lammps/dump": "lammps-dump-text"}
_PER_ATOM = {"forces", "energies", "stresses", "charges", "magmoms"}


def read_ase_database(path: Path, keys: dict[str, str] | None = None) -> Dataset:
    """Read every row of an ASE database; key-value pairs become ``info``."""
    from ase.db import connect

    use = KeyUse(keys or {})
    frames = []
    try:
        with connect(str(path)) as database:
            for index, row in enumerate(database.select()):
                atoms = row.toatoms()
                info = {**row.key_value_pairs, **row.data}
                frames.append(label_frame(_from_atoms(atoms, f"{path}#{index}", info, use), use))
    except (ValueError, FileNotFoundError):
        raise
    except Exception as error:
        raise ValueError(f"{path} cannot be read as an ASE database: {error}") from error
    return Dataset(tuple(frames), use.notes(str(path), frames))


def read_ase(
    path: Path,
    format: str | None = None,
    type_map: Sequence[str] | None = None,
    keys: dict[str, str] | None = None,
) -> Dataset:
    """Read every frame with ``ase.io.read``.

    Parameters
    ----------
    path : Path
    format : str, optional
        ASE's name of the format, or ``vasp/outcar``, ``vasp/xml``, ``lammps/dump``.
    type_map : sequence of str, optional
        Elements of LAMMPS types 1, 2, ..., when the dump names none.
    keys : dict, optional
        As in `huozi.systems.read`.

    Raises
    ------
    ValueError
        If ASE cannot read the file.
    """
    import ase.io

    name = _ASE_NAMES.get(format or "", format) or _guess(path)
    options: dict[str, Any] = {}
    if name == "lammps-dump-text":
        options["specorder"] = _lammps_elements(path, type_map)
    try:
        # An @ in the name of a file is no index.
        options |= {"index": ":", "do_not_split_by_at_sign": True}
        images = ase.io.read(path, format=name, **options)
    except Exception as error:  # readers raise whatever their parsing trips over
        raise ValueError(
            f"{path} cannot be read by ASE{f' as {name}' if name else ''}: "
            f"{type(error).__name__}: {error}; name the format (--format), e.g. vasp/outcar or "
            "one of dpdata's, such as cp2k/output"
        ) from error
    use = KeyUse(keys or {})
    frames = [
        label_frame(_from_atoms(atoms, f"{path}#{k}", dict(atoms.info), use), use)
        for k, atoms in enumerate(images if isinstance(images, list) else [images])
    ]
    return Dataset(tuple(frames), use.notes(str(path), frames))


def _guess(path: Path) -> str | None:
    """Return the ASE format of files whose names vary; None leaves it to ASE."""
    if path.name.upper().startswith("OUTCAR"):
        return "vasp-out"
    if path.suffix in (".lammpstrj", ".dump"):
        return "lammps-dump-text"
    return None


def _lammps_elements(path: Path, type_map: Sequence[str] | None) -> list[str] | None:
    """Element names of LAMMPS types; ASE would take type 1 for hydrogen without a word."""
    if type_map is not None:
        return list(type_map)
    with path.open(encoding="utf-8") as stream:
        header = next((line for line in stream if line.startswith("ITEM: ATOMS")), "")
    if "element" in header.split():
        return None
    raise ValueError(
        f"{path}: the dump has no column 'element', so its types are unknown; pass "
        "type_map=['O', 'H'] with the elements of types 1, 2, ..., or run "
        f"{convert_hint(path, '--type-map O,H')}"
    )


def _from_atoms(atoms: Atoms, source: str, info: dict[str, Any], use: KeyUse) -> Frame:
    """Return a frame with all of the calculator's results among ``info`` and ``arrays``.

    The results are taken as they are: ``get_forces`` would zero the forces on constrained
    atoms. Where a calculator has both energies, ASE defines the free energy as the one whose
    derivative the forces are, so that one is kept unless the user chose.
    """
    results = dict(getattr(atoms.calc, "results", None) or {})
    both = results.get("free_energy") is not None and results.get("energy") is not None
    if both and "energy" not in use.chosen:
        if abs(results["energy"] - results["free_energy"]) > 1e-6:
            use.remarks["'free_energy' was taken, to which the forces belong, not 'energy'"] += 1
        del results["energy"]
    arrays = {k: v for k, v in atoms.arrays.items() if k not in ("numbers", "positions")}
    for key, value in results.items():
        if key in _PER_ATOM and value is not None:
            arrays[key] = np.asarray(value)
        elif value is not None:
            info[key] = value
    return Frame(System.from_atoms(atoms), source=source, info=info, arrays=arrays)


def read_dpdata(path: Path, format: str, type_map: Sequence[str] | None = None) -> Dataset:
    """Read every frame with dpdata.

    Parameters
    ----------
    path : Path
    format : str
        dpdata's name of the format, e.g. ``cp2k/output``.
    type_map : sequence of str, optional
        Elements of types 0, 1, ..., for formats that name none.

    Raises
    ------
    ImportError
        If dpdata is not installed.
    ValueError
        If dpdata cannot read the file.
    """
    try:
        import dpdata
        from dpdata.format import Format
    except ImportError:
        raise ImportError(
            f"reading the format {format!r} needs dpdata: pip install huozi[formats]"
        ) from None
    if format not in Format.get_formats():
        raise ValueError(f"unknown format {format!r}; dpdata knows {sorted(Format.get_formats())}")
    options: dict[str, Any] = {} if type_map is None else {"type_map": list(type_map)}
    system: Any
    try:
        try:
            system = dpdata.LabeledSystem(str(path), fmt=format, **options)
        except NotImplementedError:
            system = dpdata.System(str(path), fmt=format, **options)
    except Exception as error:  # readers raise whatever their parsing trips over
        raise ValueError(
            f"{path} cannot be read by dpdata as {format}: {type(error).__name__}: {error}"
        ) from error
    labels = [n for n in ("energies", "forces", "virials") if np.size(system.data.get(n, []))]
    note = f"{path}: read by dpdata as {format}, which found {', '.join(labels) or 'no labels'}"
    return Dataset(tuple(_dpdata_frames(system.data, str(path))), (note,))


def _dpdata_frames(data: dict[str, Any], file: str) -> list[Frame]:
    """Return frames from dpdata's arrays, which are in eV and Å."""
    names = [data["atom_names"][t] for t in data["atom_types"]]
    unknown = sorted({n for n in names if n not in atomic_numbers or n == "X"})
    if unknown:
        raise ValueError(
            f"{file}: {unknown} are no chemical elements; pass type_map with their elements "
            "(--type-map)"
        )
    species = np.array([atomic_numbers[n] for n in names], np.int32)
    pbc = np.full(3, not data.get("nopbc", False))
    frames = []
    energies, forces, virials = (
        data[name] if np.size(data.get(name, [])) else None
        for name in ("energies", "forces", "virials")
    )
    for k in range(len(data["coords"])):
        labels = Labels(
            energy=None if energies is None else float(energies[k]),
            forces=None if forces is None else np.array(forces[k], float),
            virial=None if virials is None else np.array(virials[k], float),
        )
        cell = np.array(data["cells"][k], float) if pbc.any() else np.zeros((3, 3))
        system = System(species, np.array(data["coords"][k], float), cell, pbc)
        frames.append(Frame(system, labels, f"{file}#{k}"))
    return frames
