"""Models of deepmd-kit become models of Huozi, number for number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from huozi.arrays import jnp
from huozi.files import digest
from huozi.potential.deepmd_file import read_deepmd_file
from huozi.potential.deeppot import fit
from huozi.potential.deeppot_settings import (
    BridgeConfig,
    DeepPotConfig,
    Dpa1Config,
    SeAConfig,
    SeRConfig,
)
from huozi.potential.layers import ACTIVATIONS, Layer, apply
from huozi.potential.model import Model

Array = NDArray[Any]
Tree = dict[str, Any]
KNOWN = (
    "se_e2_a, se_e2_r, se_atten, se_atten_v2, hybrids of them, each with or without a pair table"
)


def convert(path: str | Path) -> Model:
    """Read a model of deepmd-kit.

    Parameters
    ----------
    path : path
        ``.pth`` or ``.pb`` from ``dp freeze``, ``.dp`` or ``.yaml`` from ``dp convert-backend``;
        other files need an installed `dp`.

    Returns
    -------
    Model
        Of the architecture ``deeppot``, in float64; its energies, forces and virials are
        deepmd-kit's.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, or holds something that Huozi has no equations for.
    """
    tree = read_deepmd_file(path)
    try:
        return _convert_model(tree["model"], _origin(path, tree))
    except UnsupportedError as error:
        raise ValueError(f"{path}: {error}; Huozi reads {KNOWN}") from None
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise ValueError(
            f"{path}: not the model that deepmd-kit 3 writes ({type(error).__name__}: {error}); "
            "convert it again with a recent `dp convert-backend`"
        ) from None


class UnsupportedError(ValueError):
    """Something of deepmd-kit without an equation here."""


def _origin(path: str | Path, tree: Tree) -> Tree:
    """Where the model comes from, for its metadata."""
    return {
        "converted_from": Path(path).name,
        "source_sha256": digest(path) if Path(path).is_file() else None,
        "deepmd_version": tree.get("version"),
        "model_def_script": tree.get("model_def_script"),
    }


def _convert_model(data: Tree, metadata: Tree) -> Model:
    elements = tuple(_number(symbol) for symbol in data["type_map"])
    kind = data["type"]
    if kind == "standard":
        config, params, e0 = _convert_network(data, len(elements))
    elif kind == "zbl":
        network, table = data["models"]
        config, params, e0 = _convert_network(network, len(elements))
        bridge, params["bridge"] = _convert_table(data, table, e0)
        config = config.model_copy(update={"bridge": bridge})
    else:
        raise UnsupportedError(f"a model of type {kind!r}")
    params = _as_arrays(params)
    # deepmd-kit's energy of an isolated atom holds the network's value there; ours is E0.
    isolated = [e0[z] + _vacuum(params, config, z) for z in range(len(elements))]
    if config.bridge is not None:
        params["bridge"]["offset"] = params["bridge"]["offset"] - jnp.asarray(isolated)
        isolated = list(isolated + _out_bias(data, len(elements)))
    return Model(config, elements, tuple(isolated), params, metadata)


def _vacuum(params: Tree, config: DeepPotConfig, element: int) -> float:
    """Value of the network for an atom without neighbours, eV."""
    from huozi.potential.deeppot import descriptors

    alone = (jnp.zeros((1, 1, 3)), jnp.full((1, 1), -1))
    return float(fit(params, config, element, descriptors(params, config, element, *alone))[0])


def _as_arrays(node: Any) -> Any:
    if isinstance(node, dict):
        return {name: _as_arrays(value) for name, value in node.items()}
    if isinstance(node, list):
        return [_as_arrays(value) for value in node]
    return jnp.asarray(np.asarray(node, np.float64))


def _number(symbol: str) -> int:
    if symbol not in atomic_numbers:
        raise UnsupportedError(
            f"a type called {symbol!r}, which is no chemical symbol, so that its element is unknown"
        )
    return int(atomic_numbers[symbol])


def _convert_network(data: Tree, elements: int) -> tuple[DeepPotConfig, Tree, Array]:
    """Return settings, parameters, energy offsets (Z,) of one descriptor and fitting network."""
    _refuse(data, "atom_exclude_types", "excluded atoms")
    if data["type"] != "standard":
        raise UnsupportedError(f"a model of type {data['type']!r} inside another")
    fitting, descriptor = data["fitting"], data["descriptor"]
    if fitting.get("type", "ener") != "ener" or fitting["var_name"] != "energy":
        raise UnsupportedError(f"a model of {fitting.get('var_name')!r} instead of energies")
    for name, what in (
        ("exclude_types", "excluded atoms"),
        ("numb_fparam", "frame parameters"),
        ("numb_aparam", "atomic parameters"),
        ("dim_case_embd", "several tasks (case embedding)"),
        ("spin", "spin"),
    ):
        _refuse(fitting, name, what)
    if any(energy is not None for energy in fitting.get("atom_ener") or []):
        raise UnsupportedError("a model whose isolated atoms have set energies (atom_ener)")
    parts = descriptor["list"] if descriptor["type"] == "hybrid" else [descriptor]
    barred = data.get("pair_exclude_types") or []
    if barred:
        raise UnsupportedError(f"pairs of types excluded from the whole model, {barred}")
    converted = [_convert_descriptor(part, elements) for part in parts]
    networks = [network["layers"] for network in fitting["nets"]["networks"]]
    hidden, activation = _stack_layers([layers[:-1] for layers in networks])
    widths = [layer["bias"].shape[-1] for layer in hidden]
    for layers in networks:
        if layers[-1]["resnet"] or layers[-1]["activation_function"] not in ("none", "linear"):
            raise UnsupportedError("a fitting network whose last layer is not linear")
    config = DeepPotConfig(
        descriptors=tuple(c for c, _ in converted),
        hidden=tuple(widths),
        activation=activation,
        shared=fitting["mixed_types"],
        precision="float32" if fitting["precision"] == "float32" else "float64",
    )
    last = [layers[-1]["@variables"] for layers in networks]
    constant = np.array([float(np.sum(x["b"])) if x["b"] is not None else 0.0 for x in last])
    params = {
        "descriptors": [p for _, p in converted],
        "layers": hidden,
        "readout": np.array([np.asarray(x["w"])[:, 0] for x in last]),
    }
    offset = np.asarray(fitting["@variables"]["bias_atom_e"], float).reshape(-1) + constant
    return config, params, offset + _out_bias(data, elements)


def _out_bias(data: Tree, elements: int) -> Array:
    """Energy added to every atom by element, eV."""
    bias = data["@variables"].get("out_bias")
    return np.zeros(elements) if bias is None else np.asarray(bias, float).reshape(-1)[:elements]


def _refuse(data: Tree, name: str, what: str) -> None:
    if data.get(name):
        raise UnsupportedError(f"a model with {what} ({name}: {data[name]})")


def _convert_descriptor(data: Tree, elements: int) -> tuple[Any, Tree]:
    """Return settings and parameters of one descriptor."""
    kind = data["type"]
    readers = {"se_e2_a": _se_a, "se_r": _se_r, "se_e2_r": _se_r, "dpa1": _dpa1, "se_atten": _dpa1,
               "se_atten_v2": _dpa1}  # fmt: skip
    if kind not in readers:
        raise UnsupportedError(f"the descriptor {kind}")
    _refuse(data, "spin", "spin")
    if data["env_mat"].get("use_exp_switch"):
        raise UnsupportedError("an exponential switch")
    mean, deviation = _statistics(data)
    params = {"mean": mean, "deviation": deviation}
    common = {
        "cutoff": data["rcut"],
        "onset": data["rcut_smth"],
        "neuron": tuple(data["neuron"]),
        "activation": _activation(data["activation_function"]),
        "sel": tuple(data["sel"]),
        "one_side": data["type_one_side"],
        "exclude": tuple(tuple(pair) for pair in data["exclude_types"]),
        "protection": data["env_protection"],
    }
    return readers[kind](data, common, params, elements)


def _se_a(data: Tree, common: Tree, params: Tree, elements: int) -> tuple[Any, Tree]:
    params["embedding"] = _embeddings(data, common["one_side"], elements)
    return SeAConfig(axis=data["axis_neuron"], **common), params


def _se_r(data: Tree, common: Tree, params: Tree, elements: int) -> tuple[Any, Tree]:
    params["embedding"] = _embeddings(data, common["one_side"], elements)
    return SeRConfig(**common), params


def _embeddings(data: Tree, one_side: bool, elements: int) -> list[Layer]:
    """Networks stacked by neighbour (Z, ...), or by centre and neighbour (Z, Z, ...)."""
    networks = [n["layers"] for n in data["embeddings"]["networks"]]
    layers, _ = _stack_layers(networks)
    if one_side:
        return layers
    # deepmd-kit counts the centre's element fastest.
    return [
        {
            name: np.swapaxes(value.reshape(elements, elements, *value.shape[1:]), 0, 1)
            for name, value in layer.items()
        }
        for layer in layers
    ]


def _dpa1(data: Tree, common: Tree, params: Tree, elements: int) -> tuple[Any, Tree]:
    if data.get("lmax", 1) != 1:
        raise UnsupportedError(f"the descriptor se_atten with moments up to l = {data['lmax']}")
    fades = data["tebd_input_mode"] == "strip" and data["smooth_type_embedding"]
    if np.any(params["mean"]) and not fades:
        raise UnsupportedError(
            "types that do not fade at the cutoff together with statistics of non-zero mean, where "
            "deepmd-kit's energies depend on which atom comes first (set_davg_zero: true avoids it)"
        )
    (network,) = data["embeddings"]["networks"]
    params["embedding"] = _single(network)
    params["types"] = _type_table(data["type_embedding"], elements)
    if data["tebd_input_mode"] == "strip":
        (network,) = data["embeddings_strip"]["networks"]
        params["type_embedding"] = _single(network)
    layers = data["attention_layers"]["attention_layers"] if data["attn_layer"] else []
    for layer in layers:
        if layer["attention_layer"]["num_heads"] != 1:
            raise UnsupportedError("attention with several heads")
    params["attention"] = [_attention(layer) for layer in layers]
    scale = data["temperature"]
    if scale is None:
        scale = (data["attn"] * data["scaling_factor"]) ** -0.5
    config = Dpa1Config(
        axis=data["axis_neuron"],
        type_size=data["tebd_dim"],
        mode=data["tebd_input_mode"],
        smooth=data["smooth_type_embedding"],
        types_to_fitting=data["concat_output_tebd"],
        attention_layers=data["attn_layer"],
        attention_width=data["attn"],
        attention_by_angle=data["attn_dotr"],
        attention_normalised=data["normalize"],
        attention_scale=scale,
        norm_floor=data["ln_eps"],
        **common,
    )
    return config, params


def _single(network: Tree) -> list[Layer]:
    """Layers of one network, without the axis of a stack."""
    layers, _ = _stack_layers([network["layers"]])
    return [{name: value[0] for name, value in layer.items()} for layer in layers]


def _attention(layer: Tree) -> Tree:
    inner, norm = layer["attention_layer"], layer["attn_layer_norm"]["@variables"]

    def linear(found: Tree) -> Layer:
        weight = np.asarray(found["@variables"]["w"])
        bias = found["@variables"]["b"]
        return {"weight": weight, "bias": np.zeros(weight.shape[1]) if bias is None else bias}

    return {
        "in": linear(inner["in_proj"]),
        "out": linear(inner["out_proj"]),
        "norm": {"weight": norm["w"], "bias": norm["b"]},
    }


def _type_table(data: Tree, elements: int) -> Array:
    """Type embedding of each element, (Z, size): the network's value for each unit vector."""
    if data["use_econf_tebd"]:
        raise UnsupportedError("a type embedding made of electron configurations")
    layers, activation = _stack_layers([data["embedding"]["layers"]])
    first = [{name: value[0] for name, value in layer.items()} for layer in layers]
    return np.asarray(apply(first, jnp.eye(elements), activation))


def _activation(name: str) -> Any:
    name = "linear" if name.lower() == "none" else name.lower()
    if name not in ACTIVATIONS:
        raise UnsupportedError(f"the activation function {name!r}")
    return name


def _stack_layers(networks: Sequence[list[Tree]]) -> tuple[list[Layer], str]:
    """Layers of equal networks, stacked along a first axis, and their activation."""
    if len({len(layers) for layers in networks}) > 1:
        raise UnsupportedError("networks of different depth")
    stacked: list[Layer] = []
    names = set()
    for same in zip(*networks, strict=True):
        names |= {_activation(layer["activation_function"]) for layer in same}
        for layer in same:
            before, after = np.shape(layer["@variables"]["w"])
            if not layer["resnet"] and after in (before, 2 * before):
                raise UnsupportedError("a layer without the shortcut that its shape allows")
        variables = [layer["@variables"] for layer in same]
        zero = np.zeros(np.shape(variables[0]["w"])[1])
        made = {
            "weight": np.array([v["w"] for v in variables]),
            "bias": np.array([zero if v["b"] is None else v["b"] for v in variables]),
        }
        if variables[0].get("idt") is not None:
            made["step"] = np.array([v["idt"] for v in variables])
        stacked.append(made)
    if len(names) > 1:
        raise UnsupportedError(f"several activation functions in one network, {sorted(names)}")
    return stacked, names.pop()


def _statistics(data: Tree) -> tuple[Array, Array]:
    """Mean (Z,) of s and deviation (Z, 2) of radial and angular columns, 1/Å."""
    mean, deviation = (np.asarray(data["@variables"][n], float) for n in ("davg", "dstd"))
    uniform = (mean == mean[:, :1]).all() and (deviation == deviation[:, :1]).all()
    isotropic = not mean[..., 1:].any() and (deviation[..., 1:] == deviation[..., 1:2]).all()
    if not uniform or not isotropic:
        raise UnsupportedError(
            "statistics that differ between the slots or directions of neighbours"
        )
    angular = deviation[:, 0, 1] if deviation.shape[-1] > 1 else deviation[:, 0, 0]
    return mean[:, 0, 0], np.stack([deviation[:, 0, 0], angular], -1)


def _convert_table(data: Tree, table: Tree, e0: Array) -> tuple[BridgeConfig, Tree]:
    """Return settings and parameters of a pair table; its offset is still absolute."""
    tab = table["tab"]
    start, spacing, points = (float(x) for x in tab["@variables"]["tab_info"][:3])
    count = round(points)
    elements = len(e0)
    spline = np.asarray(tab["@variables"]["tab_data"], float)
    config = BridgeConfig(
        cutoff=table["rcut"],
        start=start,
        spacing=spacing,
        inner=data["sw_rmin"],
        outer=data["sw_rmax"],
        softness=data["smin_alpha"],
    )
    spline = spline.reshape(elements, elements, count, 4)
    return config, {"spline": spline, "offset": _out_bias(table, elements)}
