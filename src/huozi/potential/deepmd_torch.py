"""A `.pth` model of deepmd-kit's PyTorch backend as the tree that ``dp convert-backend`` writes.

The modules of the program carry settings and weights as attributes; here are the names
that deepmd-kit gives them, beside those that it gives the same things in its ``.dp`` files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from huozi.potential.torchscript import read_torchscript

Tree = dict[str, Any]


def read_deepmd_torch(path: str | Path) -> Tree:
    """Tree of a model frozen by ``dp freeze`` of the PyTorch backend, arrays as NumPy arrays.

    Compressed models keep their networks, and these are what is read.

    Raises
    ------
    ValueError
        If the file is damaged or no model of deepmd-kit.
    NotImplementedError
        If its modules are not those of deepmd-kit 3.0 to 3.2.
    """
    root, extra = read_torchscript(path)
    if "model_def_script" not in root:
        raise ValueError(f"{path}: a TorchScript file, but no model of deepmd-kit")
    if "data_modifier.pth" in extra:
        raise ValueError(f"{path}: its energies are modified by a second model, which is not read")
    try:
        model = _model(root.get("atomic_model", root))
        return {"model": model, "model_def_script": json.loads(root["model_def_script"])}
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise NotImplementedError(
            "its modules are not those of deepmd-kit 3.0 to 3.2 "
            f"({type(error).__name__}: {' '.join(str(error).split())})"
        ) from None


def _model(module: Tree) -> Tree:
    """Read an atomic model; one of another kind keeps its name alone."""
    kinds = {"DPAtomicModel": "standard", "DPEnergyAtomicModel": "standard",
             "DPZBLLinearEnergyAtomicModel": "zbl", "PairTabAtomicModel": "pairtab"}  # fmt: skip
    kind = kinds.get(module["@class"], module["@class"])
    tree: Tree = {
        "type": kind,
        "type_map": module.get("type_map", []),
        "@variables": {"out_bias": module.get("out_bias")},
        "atom_exclude_types": _excluded_atoms(module.get("atom_excl")),
        "pair_exclude_types": _excluded_pairs(module.get("pair_excl")),
    }
    if kind == "standard":
        tree["descriptor"] = _descriptor(module["descriptor"])
        tree["fitting"] = _fitting(module["fitting_net"])
    elif kind == "zbl":
        tree["models"] = [_model(part) for part in _items(module["models"])]
        tree |= {name: module[name] for name in ("sw_rmin", "sw_rmax", "smin_alpha")}
    elif kind == "pairtab":
        variables = {"tab_info": module["tab_info"], "tab_data": module["tab_data"]}
        tree |= {"rcut": module["rcut"], "tab": {"@variables": variables}}
    return tree


def _items(module: Tree) -> list[Tree]:
    """Members of a list of modules, which are named by their numbers."""
    return [module[str(i)] for i in range(sum(name.isdigit() for name in module))]


def _excluded_atoms(mask: Tree | None) -> list[int]:
    return [] if mask is None else np.flatnonzero(mask["type_mask"] == 0).tolist()


def _excluded_pairs(mask: Tree | None) -> list[list[int]]:
    """Pairs of types that are excluded, from a table with one more row and column for no atom."""
    if mask is None:
        return []
    table = mask["type_mask"].reshape(mask["ntypes"] + 1, -1)
    return np.argwhere(np.triu(table == 0)).tolist()


def _fitting(module: Tree) -> Tree:
    if module["@class"] != "EnergyFittingNet":
        return {"type": module["@class"], "var_name": module.get("var_name", module["@class"])}
    names = ("var_name", "exclude_types", "numb_fparam", "numb_aparam", "mixed_types", "precision")
    return {name: module[name] for name in names} | {
        "type": "ener",
        "dim_case_embd": module.get("dim_case_embd", 0),
        "atom_ener": module.get("atom_ener"),
        "nets": _networks(module["filter_layers"]),
        "@variables": {"bias_atom_e": module["bias_atom_e"]},
    }


def _descriptor(module: Tree) -> Tree:
    """Read a descriptor; one of another kind keeps its name alone."""
    readers = {"DescrptSeA": _se_a, "DescrptSeR": _se_r, "DescrptDPA1": _dpa1,
               "DescrptSeAttenV2": _dpa1, "DescrptHybrid": _hybrid}  # fmt: skip
    reader = readers.get(module["@class"])
    return {"type": module["@class"]} if reader is None else reader(module)


def _hybrid(module: Tree) -> Tree:
    return {"type": "hybrid", "list": [_descriptor(m) for m in _items(module["descrpt_list"])]}


def _se_a(module: Tree) -> Tree:
    block = module["sea"]
    special = {"type": "se_e2_a", "type_one_side": block["type_one_side"]}
    return _common(block) | special | {"axis_neuron": block["axis_neuron"]}


def _se_r(module: Tree) -> Tree:
    return _common(module) | {"type": "se_e2_r", "type_one_side": True}


def _common(block: Tree) -> Tree:
    names = ("rcut", "rcut_smth", "sel", "neuron", "activation_function", "env_protection")
    return {name: block[name] for name in names} | {
        "env_mat": {},
        "exclude_types": _excluded_pairs(block["emask"]),
        "embeddings": _networks(block["filter_layers"]),
        "@variables": {"davg": block["mean"], "dstd": block["stddev"]},
    }


def _dpa1(module: Tree) -> Tree:
    block = module["se_atten"]
    names = ("axis_neuron", "tebd_dim", "tebd_input_mode", "attn_layer", "attn_dotr",
             "scaling_factor", "normalize", "temperature", "type_one_side", "ln_eps")  # fmt: skip
    types = module["type_embedding"]["embedding"]
    tree = _common(block) | {name: block[name] for name in names}
    tree |= {
        "type": "dpa1",
        "lmax": block.get("lmax", 1),
        "attn": block["attn_dim"],
        "smooth_type_embedding": block["smooth"],
        "concat_output_tebd": module["concat_output_tebd"],
        "type_embedding": {
            "use_econf_tebd": types["use_econf_tebd"],
            "embedding": _network(types["embedding_net"]),
        },
        "attention_layers": {
            "attention_layers": [
                _attention(layer) for layer in _items(block["dpa1_attention"]["attention_layers"])
            ]
        },
    }
    if block["tebd_input_mode"] == "strip":
        tree["embeddings_strip"] = _networks(block["filter_layers_strip"])
    return tree


def _attention(module: Tree) -> Tree:
    inner, norm = module["attention_layer"], module["attn_layer_norm"]
    return {
        "attention_layer": {
            "num_heads": inner["num_heads"],
            "in_proj": _layer(inner["in_proj"]),
            "out_proj": _layer(inner["out_proj"]),
        },
        "attn_layer_norm": {"@variables": {"w": norm["matrix"], "b": norm["bias"]}},
    }


def _networks(module: Tree) -> Tree:
    return {"networks": [_network(network) for network in _items(module["networks"])]}


def _network(module: Tree) -> Tree:
    return {"layers": [_layer(layer) for layer in _items(module["layers"])]}


def _layer(module: Tree) -> Tree:
    return {
        "activation_function": module["activate_name"] or "none",
        "resnet": module["resnet"],
        "@variables": {"w": module["matrix"], "b": module["bias"], "idt": module["idt"]},
    }
