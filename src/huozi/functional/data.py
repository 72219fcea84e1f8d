"""Reference energies and forces of molecules: deepks folders and extxyz."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from pyscf import gto

from huozi.functional.projection import Array
from huozi.units import BOHR, HARTREE


@dataclass(frozen=True, eq=False)
class Reference:
    """One molecule and what an accurate method says of it.

    Parameters
    ----------
    numbers : (n,) int array
        Atomic numbers.
    positions : (n, 3) array
        bohr.
    energy : float
        hartree.
    forces : (n, 3) array or None
        hartree/bohr.
    charge, spin : int
        Total charge, and number of unpaired electrons.
    source : str
        ``file#index``, for messages.
    density : (nao, nao) or (2, nao, nao) array, optional
        One-particle density matrix in the atomic orbitals of PySCF; two are of the spins.
    energy_error : float, optional
        Standard error of an energy that comes from sampling, hartree.
    """

    numbers: Array
    positions: Array
    energy: float
    forces: Array | None
    charge: int = 0
    spin: int = 0
    source: str = ""
    density: Array | None = None
    energy_error: float | None = None

    def molecule(self, orbitals: Any) -> gto.Mole:
        """Return PySCF's molecule in an orbital basis."""
        atoms = [(chemical_symbols[z], x) for z, x in zip(self.numbers, self.positions)]
        return gto.M(
            atom=atoms,
            unit="Bohr",
            basis=orbitals,
            charge=self.charge,
            spin=self.spin,
            verbose=0,
        )

    def geometry_key(self) -> str:
        """Digest of everything but the labels."""
        total = hashlib.sha256(json.dumps([self.charge, self.spin]).encode())
        total.update(np.asarray(self.numbers, np.int64).tobytes())
        total.update(np.asarray(self.positions, np.float64).tobytes())
        return total.hexdigest()


def read_references(paths: Sequence[str | Path]) -> list[Reference]:
    """Read deepks folders (or folders of them) and files of labelled frames.

    A deepks folder has ``atom.npy``, or ``coord.npy`` and ``type.raw``; ``energy.npy``
    (hartree); optionally ``force.npy`` (hartree per unit of length), ``unit.raw`` (Bohr, which
    is also the default, or Angstrom), ``dm.npy`` (density matrices in PySCF's orbitals),
    ``conv.npy``, ``charge.raw`` and ``spin.raw``. Other
    formats are those of `huozi.systems.read`, in eV and Å, with ``charge`` and ``spin`` (or
    ``multiplicity``) of a frame in its ``info``.

    Raises
    ------
    FileNotFoundError
        If a path does not exist.
    ValueError
        If labels are missing, not finite or marked as not converged, or if the number of
        electrons does not fit the spin.
    """
    found: list[Reference] = []
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(f"no such file or folder: {path}")
        folders = _deepks_folders(path)
        for folder in folders:
            found += _read_deepks(folder)
        if not folders:
            found += _read_frames(path)
    for frame in found:
        _check(frame)
    return found


def _deepks_folders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    candidates = [path, *sorted(p for p in path.iterdir() if p.is_dir())]
    return [p for p in candidates if (p / "energy.npy").exists()]


def _read_deepks(folder: Path) -> list[Reference]:
    if (folder / "atom.npy").exists():
        atoms = np.load(folder / "atom.npy")
        numbers, coords = atoms[..., 0].astype(int), atoms[..., 1:]
    elif (folder / "coord.npy").exists() and (folder / "type.raw").exists():
        coords = np.load(folder / "coord.npy")
        coords = coords.reshape(len(coords), -1, 3)
        kinds = [_number(word, folder) for word in (folder / "type.raw").read_text().split()]
        numbers = np.tile(kinds, (len(coords), 1))
    else:
        raise ValueError(f"{folder} has neither atom.npy nor coord.npy and type.raw")
    if numbers.shape != coords.shape[:2]:
        raise ValueError(
            f"{folder}: coord.npy has {coords.shape[1]} atoms, type.raw {numbers.shape[1]}"
        )
    length = _unit(folder)
    energies = np.load(folder / "energy.npy").reshape(-1)
    if len(energies) != len(coords):
        raise ValueError(f"{folder}: {len(coords)} geometries but {len(energies)} energies")
    forces = None
    if (folder / "force.npy").exists():
        forces = np.load(folder / "force.npy").reshape(coords.shape) * length
    if (folder / "conv.npy").exists():
        bad = np.flatnonzero(~np.load(folder / "conv.npy").reshape(-1).astype(bool))
        if len(bad):
            raise ValueError(
                f"{folder}#{bad[0]}: conv.npy marks the label as not converged "
                f"({len(bad)} such frames); remove or recompute them"
            )
    densities = np.load(folder / "dm.npy") if (folder / "dm.npy").exists() else None
    if densities is not None and len(densities) != len(coords):
        raise ValueError(f"{folder}: {len(coords)} geometries but {len(densities)} densities")
    charge, spin = (_integer(folder / name) for name in ("charge.raw", "spin.raw"))
    return [
        Reference(
            numbers[i],
            coords[i] / length,
            float(energies[i]),
            None if forces is None else forces[i],
            charge,
            spin,
            f"{folder}#{i}",
            None if densities is None else densities[i],
        )
        for i in range(len(coords))
    ]


def _number(word: str, folder: Path) -> int:
    if word.isdigit() and 0 < int(word) < len(chemical_symbols):
        return int(word)
    if word not in atomic_numbers or word == "X":
        raise ValueError(f"{folder / 'type.raw'}: {word!r} is no element")
    return int(atomic_numbers[word])


def _unit(folder: Path) -> float:
    """Length of one bohr in the folder's unit."""
    path = folder / "unit.raw"
    word = path.read_text().strip() if path.exists() else "Bohr"
    known = {"bohr": 1.0, "au": 1.0, "angstrom": BOHR, "ang": BOHR}
    if word.lower() not in known:
        raise ValueError(f"{path}: unit {word!r}; Bohr or Angstrom is expected")
    return known[word.lower()]


def _integer(path: Path) -> int:
    return int(path.read_text().strip()) if path.exists() else 0


def _read_frames(path: Path) -> list[Reference]:
    from huozi.systems import read

    frames = []
    for frame in read(path):
        if frame.labels.energy is None:
            raise ValueError(f"{frame.source} has no energy")
        if frame.system.pbc.any():
            raise ValueError(f"{frame.source} is periodic; functionals are learned from molecules")
        if frame.info.get("converged", True) in (False, "False", "F"):
            raise ValueError(f"{frame.source}: the label is marked as not converged; remove it")
        forces, error = frame.labels.forces, frame.labels.energy_error
        spin = frame.info.get("spin", int(frame.info.get("multiplicity", 1)) - 1)
        frames.append(
            Reference(
                np.asarray(frame.system.species, int),
                frame.system.positions / BOHR,
                frame.labels.energy / HARTREE,
                None if forces is None else forces * BOHR / HARTREE,
                int(frame.info.get("charge", 0)),
                int(spin),
                frame.source,
                energy_error=None if error is None else error / HARTREE,
            )
        )
    return frames


def _check(frame: Reference) -> None:
    for name in ("positions", "energy", "forces", "density"):
        value = getattr(frame, name)
        if value is not None and not np.all(np.isfinite(value)):
            raise ValueError(f"{frame.source}: {name} not finite; is the label converged?")
    electrons = int(frame.numbers.sum()) - frame.charge
    if electrons < 1 or (electrons - frame.spin) % 2 or frame.spin > electrons:
        raise ValueError(
            f"{frame.source}: {electrons} electrons cannot have {frame.spin} unpaired ones; "
            "give the charge and spin of the frame"
        )
    if len(frame.positions) > 1:
        gaps = np.linalg.norm(frame.positions[:, None] - frame.positions, axis=-1)
        closest = gaps[np.triu_indices(len(gaps), 1)].min()
        if not 0.8 < closest < 10:
            raise ValueError(
                f"{frame.source}: the closest atoms are {closest * BOHR:.2f} Å apart; "
                "wrong unit of length?"
            )


def check_labels(frames: Sequence[Reference], energies: Array, forces: Sequence[Array]) -> None:
    """Refuse labels that cannot belong to the molecules, by the base method's results.

    Parameters
    ----------
    frames : sequence of Reference
    energies : (frames,) array
        Of the base method, hartree.
    forces : sequence of (n, 3) arrays
        Of the base method, hartree/bohr.

    Raises
    ------
    ValueError
        If energies are not in hartree, forces not in the unit that the file says, or one label
        lies far from those of the same composition.
    """
    excess: dict[Any, list[tuple[float, Reference]]] = {}
    for frame, energy in zip(frames, energies, strict=True):
        difference = frame.energy - energy
        electrons = frame.numbers.sum() - frame.charge
        if abs(difference) > 0.2 * electrons:
            raise ValueError(
                f"{frame.source}: the energy is {frame.energy:.4f} Ha, the base method gives "
                f"{energy:.4f}; total energies in hartree are expected (is it in eV, or per atom?)"
            )
        group = (tuple(sorted(frame.numbers)), frame.charge, frame.spin)
        excess.setdefault(group, []).append((difference, frame))
    for members in excess.values():
        values = np.array([d for d, _ in members])
        centre = np.median(values)
        spread = 1.5 * np.median(np.abs(values - centre)) + 1e-3
        worst = int(np.argmax(np.abs(values - centre)))
        if len(members) >= 5 and abs(values[worst] - centre) > max(0.05, 20 * spread):
            raise ValueError(
                f"{members[worst][1].source}: the energy beyond the base method is "
                f"{values[worst] - centre:+.4f} Ha from that of frames with the same atoms; "
                "did the reference converge to another state, or not at all?"
            )
    _check_forces(frames, forces)


def _check_forces(frames: Sequence[Reference], forces: Sequence[Array]) -> None:
    pairs = [(r.forces, f) for r, f in zip(frames, forces, strict=True) if r.forces is not None]
    if not pairs:
        return
    given, base = (np.concatenate([np.ravel(p[k]) for p in pairs]) for k in (0, 1))
    if np.linalg.norm(base) < 1e-3 * np.sqrt(len(base)):
        return
    slope = float(given @ base / (base @ base))
    if not 0.3 < slope < 1.6 and abs(np.corrcoef(given, base)[0, 1]) > 0.9:
        raise ValueError(
            f"the reference forces are {slope:.2f} times those of the base method: forces in "
            "hartree per unit of length (unit.raw), and forces rather than gradients, are expected"
        )
