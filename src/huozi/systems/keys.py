"""Which keys of a file serve as energy, forces, stress and virial.

Programs name the same quantity in many ways (``energy``, ``REF_energy``, ``dft_energy``).
The usual names are recognised; two of them for one quantity are refused, because only the
user knows which one is the reference.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from huozi.systems.frame import Array, Frame, Labels, System

_PREFIXES = ("", "ref_", "dft_")
_NAMES = {
    "energy": ("energy", "free_energy", "total_energy", "potential_energy"),
    "forces": ("forces", "force"),
    "stress": ("stress",),
    "virial": ("virial", "virials"),
    "energy_error": ("energy_error",),
    "forces_error": ("forces_error",),
}
_COLUMNS = ("forces", "forces_error")
_QUANTITY = {p + n: q for q, names in _NAMES.items() for n in names for p in _PREFIXES}


@dataclass
class KeyUse:
    """What happened to the label keys of one file.

    Parameters
    ----------
    chosen : mapping of str to str
        The user's choice, quantity to key; the key ``none`` leaves the quantity out.
    used, dropped, remarks : Counter
        (quantity, key) taken as label, keys left out, and other remarks, with frame counts.
    seen : set of str
        Keys that some frame has, whether or not they became a label.
    """

    chosen: Mapping[str, str] = field(default_factory=dict)
    used: Counter[tuple[str, str]] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)
    seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for quantity in self.chosen:
            if quantity not in _NAMES:
                raise ValueError(f"unknown quantity {quantity!r} in keys; known: {list(_NAMES)}")

    def notes(self, file: str, frames: list[Frame]) -> tuple[str, ...]:
        """Sentences for ``Dataset.notes``.

        Raises
        ------
        ValueError
            If a key chosen by the user occurs in no frame.
        """
        for quantity, key in self.chosen.items():
            if key not in self.seen and key.lower() != "none":
                found = sorted({k for f in frames for k in (*f.info, *f.arrays)})
                raise ValueError(
                    f"{file}: no frame has the key {key!r} chosen as {quantity}; "
                    f"other keys: {found}"
                )
        total = len(frames)
        parts = [
            f"{quantity} from key {key!r}" + ("" if count == total else f" in {count} frames")
            for (quantity, key), count in sorted(self.used.items())
        ]
        notes = [f"{file}: {', '.join(parts)} ({total} frames in all)"] if parts else []
        if not any(quantity in ("energy", "forces") for quantity, _ in self.used):
            notes.append(
                f"{file}: no key for energy or forces was recognised; name it with "
                f"keys={{'energy': 'KEY'}}, or run {convert_hint(file, '--key energy=KEY')}"
            )
        notes += [f"{file}: left out {key!r} ({n} frames)" for key, n in self.dropped.items()]
        notes += [f"{file}: {remark} ({n} frames)" for remark, n in self.remarks.items()]
        return tuple(notes)


def convert_hint(file: str | Path, option: str) -> str:
    """Say how to make a file that every verb reads, as most verbs have no such option."""
    return (
        f"`huozi data convert {shlex.quote(str(file))} {option} --out new.extxyz` and go on with "
        "new.extxyz"
    )


def label_frame(frame: Frame, use: KeyUse) -> Frame:
    """Move the label keys of ``info`` and ``arrays`` into ``labels``.

    Parameters
    ----------
    frame : Frame
        As read: every key of the file in ``info`` or ``arrays``.
    use : KeyUse
        The user's choice; counts are added to it.

    Returns
    -------
    Frame

    Raises
    ------
    ValueError
        If a quantity has two keys, or a label has a wrong shape.
    """
    found = {q: _key_of(q, _place(q, frame), frame.source, use) for q in _NAMES}
    for twin, other in (("stress", "virial"), ("virial", "stress")):
        if twin in use.chosen and other not in use.chosen:
            found[other] = None
    keys = {q: key for q, key in found.items() if key is not None}
    use.seen.update(keys.values())
    labels = Labels(
        energy=_energy(keys.get("energy"), frame),
        forces=_forces(keys.get("forces"), frame),
        virial=_virial(keys, frame, use),
        energy_error=_positive(_energy, keys.get("energy_error"), frame),
        forces_error=_positive(_forces, keys.get("forces_error"), frame),
    )
    taken = set(keys.values())
    info = {k: v for k, v in frame.info.items() if k not in taken and not names_label(k)}
    arrays = {k: v for k, v in frame.arrays.items() if k not in taken and not names_forces(k)}
    use.used.update(keys.items())
    use.dropped.update((set(frame.info) - set(info) | set(frame.arrays) - set(arrays)) - taken)
    return replace(frame, labels=labels, info=info, arrays=arrays)


def names_label(key: str) -> bool:
    """Tell whether a reader would take the key of a frame for a label."""
    return _QUANTITY.get(key.lower(), "forces") not in _COLUMNS


def names_forces(key: str) -> bool:
    """Tell whether a reader would take the per-atom column for forces or their errors."""
    return _QUANTITY.get(key.lower()) in _COLUMNS


def _place(quantity: str, frame: Frame) -> Mapping[str, Any]:
    """Return where to look: forces are columns of the atoms, all else are keys of the frame."""
    return frame.arrays if quantity in _COLUMNS else frame.info


def _key_of(quantity: str, values: Mapping[str, Any], source: str, use: KeyUse) -> str | None:
    """Return the key of a quantity in one frame; two candidates are refused."""
    if quantity in use.chosen:
        key = use.chosen[quantity]
        return key if key in values and key.lower() != "none" else None
    candidates = [k for k in values if _QUANTITY.get(k.lower()) == quantity]
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    if {k.lower() for k in candidates} == {"energy", "free_energy"}:
        short, long = sorted(candidates, key=len)
        one, other = (_number(values[k], k, source) for k in (short, long))
        if np.isclose(one, other, rtol=0, atol=1e-6):
            use.remarks[f"{short!r} and {long!r} are equal; {short!r} was taken"] += 1
            return short
    shown = " and ".join(f"{k!r}{_shown(values[k])}" for k in candidates)
    free = [k for k in candidates if "free" in k.lower()]
    hint = "; forces are the derivative of the free energy" if free else ""
    example = (free or candidates[-1:])[0]
    raise ValueError(
        f"{source}: two keys for the {quantity}: {shown}{hint}; "
        + _choose_one(quantity, example, source)
    )


def _choose_one(quantity: str, key: str, source: str) -> str:
    file = source.rpartition("#")[0] or source
    return (
        f"choose one with keys={{{quantity!r}: {key!r}}}, or run "
        f"{convert_hint(file, f'--key {quantity}={key}')}"
    )


def _shown(value: Any) -> str:
    return f" = {value:.10g}" if isinstance(value, (int, float, np.number)) else ""


def _energy(key: str | None, frame: Frame) -> float | None:
    if key is None:
        return None
    return _number(frame.info[key], key, frame.source)


def _number(value: Any, key: str, source: str) -> float:
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "fiu":
        raise ValueError(f"{source}: {key!r} should be one number (eV), found {value!r}")
    return float(array.reshape(()))


def _forces(key: str | None, frame: Frame) -> Array | None:
    if key is None:
        return None
    array = np.asarray(frame.arrays[key])
    if array.shape != (len(frame), 3) or array.dtype.kind not in "fiu":
        raise ValueError(
            f"{frame.source}: {key!r} should hold ({len(frame)}, 3) numbers (eV/Å), found an "
            f"array of shape {array.shape}"
        )
    return array.astype(np.float64)


def _positive(label: Callable[[str | None, Frame], Any], key: str | None, frame: Frame) -> Any:
    """Read standard errors of a label; none may be negative or missing."""
    values = label(key, frame)
    if values is not None and not (np.isfinite(values).all() and (np.asarray(values) >= 0).all()):
        raise ValueError(f"{frame.source}: {key!r} should hold standard errors, finite and >= 0")
    return values


def _virial(keys: dict[str, str], frame: Frame, use: KeyUse) -> Array | None:
    """Virial in eV from a virial or from a stress in eV/Å^3 with ASE's sign."""
    values, virial = frame.info, None
    if "virial" in keys:
        virial = matrix_of(values[keys["virial"]], keys["virial"], frame.source)
    if "stress" not in keys:
        return virial
    if not stress_has_meaning(frame.system):
        use.remarks[f"{keys['stress']!r} has no meaning for an open system and was ignored"] += 1
        del keys["stress"]
        return virial
    stress = matrix_of(values[keys["stress"]], keys["stress"], frame.source)
    from_stress = -frame.system.volume * stress
    if virial is None:
        return from_stress
    if not np.allclose(virial, from_stress, rtol=1e-4, atol=1e-4):
        raise ValueError(
            f"{frame.source}: {keys['virial']!r} is not minus the volume times {keys['stress']!r}; "
            + _choose_one("virial", keys["virial"], frame.source)
        )
    use.remarks[f"{keys['virial']!r} and {keys['stress']!r} agree"] += 1
    del keys["stress"]
    return virial


def stress_has_meaning(system: System) -> bool:
    """Tell whether energy per volume is defined: some periodic direction and a cell."""
    return bool(system.pbc.any()) and system.volume > 0


def matrix_of(value: Any, key: str, source: str) -> Array:
    """Return a symmetric tensor given as 3x3, nine numbers or Voigt's six, as (3, 3).

    Nine numbers run down the columns, as in ASE and libAtoms.
    """
    array = np.asarray(value)
    if array.dtype.kind in "fiu":
        if array.size == 9:
            return array.astype(np.float64).reshape((3, 3), order="F" if array.ndim == 1 else "C")
        if array.shape == (6,):
            return array.astype(np.float64)[[0, 5, 4, 5, 1, 3, 4, 3, 2]].reshape(3, 3)
    raise ValueError(
        f"{source}: {key!r} should be a 3x3 matrix or six numbers xx yy zz yz xz xy, "
        f"found {value!r}"
    )
