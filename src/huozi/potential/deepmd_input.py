"""The ``input.json`` of deepmd-kit becomes settings of a training here, and the data it names.

Names and defaults are those of deepmd-kit 3.2 (its argument reference, "Training parameters").
"""

from __future__ import annotations

import json
import operator
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from huozi.potential.settings import TrainConfig
from huozi.systems import Dataset, read
from huozi.workflow import describe_mistakes

Tree = dict[str, Any]
DESCRIPTORS = {
    "se_e2_a": "se_e2_a",
    "se_a": "se_e2_a",
    "se_e2_r": "se_e2_r",
    "se_r": "se_e2_r",
    "se_atten": "se_atten",
    "dpa1": "se_atten",
    "se_atten_v2": "se_atten",
}
PRECISIONS = {"default": "float64", "float32": "float32", "float64": "float64"}


class DeepmdInput(NamedTuple):
    """What an input asks for.

    Parameters
    ----------
    config : TrainConfig
    data : Dataset
        Training frames.
    valid : Dataset or None
        Validation frames.
    ignored : list of str
        ``place = value`` of every setting that has no counterpart here.
    """

    config: TrainConfig
    data: Dataset
    valid: Dataset | None
    ignored: list[str]


def is_deepmd_input(path: str | Path) -> bool:
    """Whether a file is a JSON object with the sections ``model`` and ``training``."""
    path = Path(path)
    if path.suffix != ".json" or not path.is_file():
        return False
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return isinstance(content, dict) and {"model", "training"} <= content.keys()


def read_deepmd_input(path: str | Path, overrides: Tree | None = None) -> DeepmdInput:
    """Read an input of deepmd-kit and the data that it names.

    Parameters
    ----------
    path : path
        Folders of data in it are relative to its own folder.
    overrides : dict, optional
        Settings of `TrainConfig` that replace those of the input.

    Raises
    ------
    ValueError
        If the input asks for a model that Huozi has no equations for, or is no valid input.
    FileNotFoundError
        If its data are missing.
    """
    path = Path(path)
    rest = json.loads(path.read_text(encoding="utf-8"))
    try:
        model, training = rest["model"], rest["training"]
        types = model.pop("type_map", None)
        architecture = _architecture(model)
        weights = _loss(rest.get("loss", {}))
        rate = rest.get("learning_rate", {}).pop("start_lr", 1e-3)
        steps = training.pop("numb_steps", None) or training.pop("stop_batch", None)
        seed = training.pop("seed", 0) or 0
        data, batch = _data(training, "training_data", path.parent, types)
        valid, _ = _data(training, "validation_data", path.parent, types)
        if data is not None:
            _number_by_data(architecture["descriptors"], types, data)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: not an input of deepmd-kit 3 ({type(error).__name__}: {error})"
        ) from None
    if data is None:
        raise ValueError(f"{path}: training.training_data.systems names no data")
    values = {
        "architecture": architecture,
        "learning_rate": rate,
        "steps": steps,
        "seed": seed,
        "batch_atoms": _batch_atoms(batch, data),
        **weights,
        **(overrides or {}),
    }
    try:
        config = TrainConfig.model_validate(values)
    except ValidationError as error:
        raise ValueError(f"{path}: {describe_mistakes(error, None, TrainConfig)}") from None
    return DeepmdInput(config, data, valid, list(_leaves(rest)))


def _architecture(model: Tree) -> Tree:
    """Return the architecture; what is understood is taken out of `model`."""
    if model.pop("type", "standard") != "standard":
        raise ValueError("only models of type standard are trained here")
    descriptor, fitting = model["descriptor"], model["fitting_net"]
    if fitting.pop("type", "ener") != "ener":
        raise ValueError("only fitting networks of energies are trained here (type ener)")
    parts = [descriptor]
    if descriptor["type"] == "hybrid":
        del descriptor["type"]
        parts = descriptor["list"]
    precision = fitting.pop("precision", "default")
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r}: Huozi trains in {' or '.join(PRECISIONS)}")
    return {
        "name": "deeppot",
        "descriptors": [_descriptor(part) for part in parts],
        "hidden": _take(fitting, "neuron", "n_neuron", default=[120, 120, 120]),
        "activation": fitting.pop("activation_function", "tanh"),
        "precision": PRECISIONS[precision],
    }


def _descriptor(part: Tree) -> Tree:
    """Return one descriptor, with deepmd-kit's defaults where it is silent."""
    kind = part.pop("type")
    if kind not in DESCRIPTORS:
        raise ValueError(f"descriptor {kind!r}: Huozi trains {', '.join(DESCRIPTORS)}, hybrid")
    name = DESCRIPTORS[kind]
    found: Tree = {
        "name": name,
        "cutoff": part.pop("rcut", 6.0),
        "onset": part.pop("rcut_smth", 0.5),
        "neuron": part.pop("neuron", [10, 20, 40]),
        "activation": part.pop("activation_function", "tanh"),
        "one_side": part.pop("type_one_side", False),
        "exclude": part.pop("exclude_types", []),
        "protection": part.pop("env_protection", 0.0),
    }
    sel = part.get("sel", "auto")
    if not isinstance(sel, str):
        found["sel"] = [sel] if isinstance(sel, int) else sel
        del part["sel"]
    if name != "se_e2_r":
        found["axis"] = _take(part, "axis_neuron", "n_axis_neuron", default=4)
    if name == "se_atten":
        second = kind == "se_atten_v2"
        smooth = ("smooth_type_embedding", "smooth_type_embdding")
        found |= {
            "type_size": part.pop("tebd_dim", 8),
            "mode": "strip" if second else part.pop("tebd_input_mode", "concat"),
            "smooth": second or _take(part, *smooth, default=False),
            "types_to_fitting": part.pop("concat_output_tebd", True),
            "attention_layers": part.pop("attn_layer", 2),
            "attention_width": part.pop("attn", 128),
            "attention_by_angle": part.pop("attn_dotr", True),
            "attention_normalised": part.pop("normalize", True),
            "attention_scale": part.pop("temperature", None),
            "norm_floor": part.pop("ln_eps", None) or 1e-5,
        }
    return found


def _number_by_data(descriptors: list[Tree], types: list[str] | None, data: Dataset) -> None:
    """Turn numbers of types in the input into those of the data's elements, by atomic number."""
    for found in descriptors:
        if not found["exclude"]:
            continue
        if types is None:
            raise ValueError("exclude_types needs a type_map, which says what types are")
        pairs = [[types[i] for i in pair] for pair in found["exclude"]]
        place = {symbol: i for i, symbol in enumerate(data.symbols)}
        found["exclude"] = [
            [place[one], place[other]] for one, other in pairs if one in place and other in place
        ]


def _loss(loss: Tree) -> Tree:
    """Prefactors as ratios to that of the forces, which is 1 here: Adam does not see the scale."""
    if loss.pop("type", "ener") != "ener":
        raise ValueError("only the loss of energies, forces and virials is known here (type ener)")

    def prefactors(kind: str, start: float, limit: float) -> tuple[float, float]:
        return (
            float(loss.pop(f"start_pref_{kind}", start)),
            float(loss.pop(f"limit_pref_{kind}", limit)),
        )

    energy, forces, virial = (
        prefactors("e", 0.02, 1.0), prefactors("f", 1000.0, 1.0), prefactors("v", 0.0, 0.0)
    )  # fmt: skip
    if min(forces) <= 0:
        return {"energy_weight": energy, "force_weight": 0.0, "virial_weight": virial}
    return {
        "energy_weight": (energy[0] / forces[0], energy[1] / forces[1]),
        "virial_weight": (virial[0] / forces[0], virial[1] / forces[1]),
    }


def _data(
    training: Tree, name: str, folder: Path, types: list[str] | None
) -> tuple[Dataset | None, Any]:
    """Read the frames of a section, and its batch size as it is written."""
    section = training.get(name) or {}
    systems = section.pop("systems", None)
    batch = section.pop("batch_size", "auto")
    if not systems:
        return None, batch
    names = [systems] if isinstance(systems, str) else systems
    parts = [_system(folder / name, types) for name in names]
    return reduce(operator.add, parts), batch


def _system(path: Path, types: list[str] | None) -> Dataset:
    """Read one entry; types of systems that have a list of elements themselves follow that."""
    if types is None:
        return read([path])
    try:
        data = read([path])
    except ValueError:  # most likely without such a list, or with other names
        return read([path], type_map=types)
    if unknown := sorted(set(data.symbols) - set(types)):
        raise ValueError(f"{path} holds {', '.join(unknown)}, which type_map does not name")
    return data


def _batch_atoms(batch: Any, data: Dataset) -> int:
    """Atoms of a batch: frames times their mean size, or the number after ``auto:``."""
    if isinstance(batch, list):
        batch = max(batch)
    if isinstance(batch, int):
        return max(1, round(batch * sum(len(frame) for frame in data) / len(data)))
    rule, _, number = str(batch).partition(":")
    if rule not in ("auto", "max") or (number and not number.isdigit()):
        raise ValueError(f"batch_size {batch!r}: a number of frames, auto, auto:N or max:N")
    return int(number or 32)


def _take(tree: Tree, *names: str, default: Any) -> Any:
    """Take a setting out by any of its names."""
    for name in names:
        if name in tree:
            return tree.pop(name)
    return default


def _leaves(node: Any, place: str = "") -> Iterator[str]:
    """Yield what was not taken, as ``place = value``; comments (_...) are none."""
    if not isinstance(node, dict):
        yield f"{place} = {json.dumps(node)}"
        return
    for name, value in node.items():
        if not name.startswith("_"):
            yield from _leaves(value, f"{place}.{name}".lstrip("."))
