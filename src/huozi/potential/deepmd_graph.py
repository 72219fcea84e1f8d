"""A `.pb` model of deepmd-kit's TensorFlow backend as the tree that ``dp convert-backend`` writes.

Settings come from the text of the input that deepmd-kit keeps in the graph, weights from the
constants, whose names are deepmd-kit's since version 1.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from huozi.potential.tensorflow_graph import Graph, read_graph

Array = NDArray[Any]
Tree = dict[str, Any]
SCRIPT = "train_attr/training_script"


def read_deepmd_graph(path: str | Path) -> Tree:
    """Tree of a model frozen by ``dp freeze`` of the TensorFlow backend, arrays as NumPy arrays.

    Raises
    ------
    ValueError
        If the file is damaged, no model of deepmd-kit, compressed, or one whose energies the tree
        cannot express.
    NotImplementedError
        If it is of a kind that is read through ``dp convert-backend`` alone.
    """
    graph = read_graph(path)
    if any(name.startswith("TabulateFusion") for name in graph.operations):
        raise ValueError(
            f"{path}: a compressed model, which holds tables in place of the embedding networks; "
            "convert the model that was compressed"
        )
    if SCRIPT not in graph.constants:
        if "descrpt_attr/t_avg" in graph.constants:
            raise NotImplementedError("it lacks its settings, which are in it since version 2.0")
        raise ValueError(f"{path}: a TensorFlow graph, but no model of deepmd-kit")
    try:
        settings = json.loads(graph.text(SCRIPT))["model"]
        return {"model": _model(graph, settings), "model_def_script": settings}
    except (LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ValueError(f"{path}: not the graph that deepmd-kit writes ({reason})") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _model(graph: Graph, settings: Tree) -> Tree:
    if settings.get("modifier"):
        raise ValueError("its energies are modified by a second model, which is not read")
    for name in ("type_embedding", "use_srtab"):
        if settings.get(name):
            raise NotImplementedError(f"it has the setting {name}")
    types = graph.text("model_attr/tmap").split()
    kind = settings.get("type", "standard")
    tree: Tree = {"type": kind, "type_map": types}
    if kind == "standard":
        descriptor, fitting = settings["descriptor"], settings["fitting_net"]
        tree |= {
            "@variables": {"out_bias": _bias(graph, "model_attr/model_attr/t_out_bias", types)},
            "descriptor": _descriptor(graph, descriptor, len(types), ""),
            "fitting": _fitting(graph, fitting, types) | {"spin": settings.get("spin")},
        }
    return tree


def _bias(graph: Graph, name: str, types: list[str]) -> Array:
    """Energies by type, if the graph adds them; older ones have them in the last layer alone."""
    return graph.array(name) if graph.uses(name) else np.zeros(len(types))


def _descriptor(graph: Graph, settings: Tree, types: int, suffix: str) -> Tree:
    """Read a descriptor; one of another kind keeps its name alone."""
    kind = settings["type"]
    if kind == "hybrid":
        parts = enumerate(settings["list"])
        return {
            "type": kind,
            "list": [_descriptor(graph, part, types, f"{suffix}_{i}") for i, part in parts],
        }
    if kind.startswith("se_atten"):
        raise NotImplementedError(f"it has the descriptor {kind}")
    columns = {"se_e2_a": 4, "se_a": 4, "se_e2_r": 1, "se_r": 1}.get(kind)
    if columns is None:
        return {"type": kind}
    mean, deviation = _statistics(graph, settings, types, columns, suffix)
    one_side = f"filter_type_all{suffix}/matrix_1_0" in graph.constants
    networks = _embeddings(graph, settings, types, suffix, one_side)
    # The operation in the graph has onset, cutoff and their difference in single precision.
    onset = float(np.float32(settings["rcut_smth"]))
    width = float(np.float32(settings["rcut"]) - np.float32(settings["rcut_smth"]))
    return {
        "type": "se_e2_a" if columns == 4 else "se_e2_r",
        "rcut": onset + width,
        "rcut_smth": onset,
        "sel": settings["sel"],
        "neuron": settings["neuron"],
        "axis_neuron": settings.get("axis_neuron"),
        "activation_function": settings.get("activation_function", "tanh"),
        "env_protection": settings.get("env_protection", 0.0),
        "env_mat": {},
        "exclude_types": settings.get("exclude_types", []),
        "type_one_side": one_side,
        "embeddings": {"networks": networks},
        "@variables": {"davg": mean, "dstd": deviation},
    }


def _statistics(
    graph: Graph, settings: Tree, types: int, columns: int, suffix: str
) -> tuple[Array, Array]:
    """Mean and deviation by type, slot and column, where they mean the same in both backends."""
    place = f"descrpt_attr{suffix}/"
    mean, deviation = (
        graph.array(place + name).reshape(types, sum(settings["sel"]), columns)
        for name in ("t_avg", "t_std")
    )
    if settings.get("exclude_types") and mean.any():
        raise ValueError(
            "excluded pairs of types together with statistics of non-zero mean, where the backends "
            "of deepmd-kit differ (set_davg_zero: true avoids it)"
        )
    trained = place + "original_sel"
    if trained in graph.constants and graph.array(trained).tolist() != settings["sel"]:
        raise ValueError("a model whose sel was changed after it had been trained")
    return mean, deviation


def _embeddings(
    graph: Graph, settings: Tree, types: int, suffix: str, one_side: bool
) -> list[Tree]:
    """Networks by neighbour, or by neighbour and centre, the centre fastest.

    Pairs that are excluded have no network in the graph; that of another pair takes their place.
    """
    activation = settings.get("activation_function", "tanh")
    excluded = {tuple(pair) for pair in settings.get("exclude_types", [])}
    networks: list[Tree | None] = []
    for neighbour in range(types):
        for centre in ("all",) if one_side else range(types):
            if {(centre, neighbour), (neighbour, centre)} & excluded:
                networks.append(None)
                continue
            names = f"filter_type_{centre}{suffix}/%s_{{}}_{neighbour}"
            layers = [
                _layer(graph, names.format(i + 1), activation, True)
                for i in range(len(settings["neuron"]))
            ]
            networks.append({"layers": layers})
    kept = [network for network in networks if network is not None]
    return [kept[0] if network is None else network for network in networks]


def _fitting(graph: Graph, settings: Tree, types: list[str]) -> Tree:
    """Read the fitting networks; those of another kind keep its name alone."""
    kind = settings.get("type", "ener")
    if kind != "ener":
        return {"type": kind, "var_name": kind}
    if settings.get("tot_ener_zero"):
        raise ValueError("a model with tot_ener_zero, whose energies depend on all atoms")
    if any(name is not None for name in settings.get("layer_name") or []):
        raise NotImplementedError("it has fitting networks that share layers")
    networks = [_fitting_network(graph, settings, f"_type_{t}/%s") for t in range(len(types))]
    first = networks[0]["layers"][0]["@variables"]["w"]
    return {
        "type": kind,
        "var_name": "energy",
        "atom_ener": settings.get("atom_ener"),
        "numb_fparam": settings.get("numb_fparam", 0),
        "numb_aparam": settings.get("numb_aparam", 0),
        "dim_case_embd": settings.get("dim_case_embd", 0),
        "mixed_types": False,
        "precision": str(first.dtype),
        "nets": {"networks": networks},
        "@variables": {"bias_atom_e": _bias(graph, "fitting_attr/t_bias_atom_e", types)},
    }


def _fitting_network(graph: Graph, settings: Tree, names: str) -> Tree:
    """Layers of one network. Those as wide as the one before, except the first, have shortcuts."""
    widths, activation = settings["neuron"], settings.get("activation_function", "tanh")
    layers = [
        _layer(graph, f"layer_{i}{names}", activation, i > 0 and width == widths[i - 1])
        for i, width in enumerate(widths)
    ]
    return {"layers": [*layers, _layer(graph, "final_layer" + names, "linear", False)]}


def _layer(graph: Graph, names: str, activation: str, shortcut: bool) -> Tree:
    step = names % "idt"
    return {
        "activation_function": activation,
        "resnet": shortcut,
        "@variables": {
            "w": graph.array(names % "matrix"),
            "b": graph.array(names % "bias"),
            "idt": graph.array(step).reshape(-1) if step in graph.constants else None,
        },
    }
