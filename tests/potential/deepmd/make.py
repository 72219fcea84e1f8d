"""Make the fixtures of this folder with deepmd-kit (3.2 with torch and tensorflow): python make.py

Random models of every kind that Huozi reads, written by deepmd-kit's own serialisation, and the
energies, forces and virials that its PyTorch backend finds in float64. `python make.py backends`
only makes `.pth` and `.pb` files of them, without the parts that are programs.
"""

import copy
import json
import subprocess
import sys
import tempfile
import types
import zipfile
from pathlib import Path

import numpy as np
from deepmd.dpmodel.model.model import get_model
from deepmd.dpmodel.utils.serialization import load_dp_model, save_dp_model

HERE = Path(__file__).parent
SE_A = {"type": "se_e2_a", "rcut": 4.0, "rcut_smth": 1.0, "neuron": [2, 4], "axis_neuron": 2}
SE_R = {"type": "se_e2_r", "rcut": 3.5, "rcut_smth": 0.5, "neuron": [2, 4]}
ATTENTION = {
    "type": "se_atten", "rcut": 4.0, "rcut_smth": 1.0, "neuron": [2, 4], "axis_neuron": 2,
    "sel": 36, "tebd_dim": 2, "attn": 3, "attn_layer": 2, "set_davg_zero": True,
}  # fmt: skip
NO_ATTENTION = ATTENTION | {"attn_layer": 0}
TWO, THREE = ["O", "H"], ["C", "Ni", "H"]
SLOTS = {2: [15, 17], 3: [12, 13, 14]}

CASES = {
    "se_a": (TWO, SE_A | {"sel": SLOTS[2], "type_one_side": False}),
    "se_a_one_side": (
        THREE,
        SE_A | {"sel": SLOTS[3], "type_one_side": True, "resnet_dt": True,
                "exclude_types": [[0, 2]], "activation_function": "gelu"},
    ),
    "se_r": (TWO, SE_R | {"sel": SLOTS[2], "exclude_types": [[1, 1]]}),
    "dpa1_concat": (TWO, ATTENTION),
    "dpa1_concat_plain": (THREE, NO_ATTENTION | {"smooth_type_embedding": False}),
    "dpa1_hard": (TWO, ATTENTION | {"smooth_type_embedding": False, "type_one_side": True,
                                    "exclude_types": [[0, 0]]}),
    "dpa1_strip": (THREE, NO_ATTENTION | {"tebd_input_mode": "strip", "set_davg_zero": False,
                                          "smooth_type_embedding": True}),
    "dpa1_strip_attention": (
        TWO, ATTENTION | {"tebd_input_mode": "strip", "set_davg_zero": False,
                          "smooth_type_embedding": True,
                          "type_one_side": True, "normalize": False, "temperature": 0.7,
                          "attn_dotr": False, "concat_output_tebd": False}),
    "hybrid": (TWO, {"type": "hybrid", "list": [SE_A | {"sel": SLOTS[2]},
                                                SE_R | {"sel": SLOTS[2]}]}),
    "zbl": (TWO, NO_ATTENTION | {"tebd_input_mode": "strip", "smooth_type_embedding": True}),
}  # fmt: skip
TORCH = ("se_a", "se_a_one_side", "hybrid", "dpa1_concat", "dpa1_strip_attention", "zbl")
TENSORFLOW = ("se_a", "hybrid")
# What TensorFlow does differently from the others, with its own reference.
EXCLUDED = {
    "type": "hybrid",
    "list": [
        SE_A | {"sel": SLOTS[2], "rcut_smth": 0.7, "type_one_side": False, "resnet_dt": True,
                "exclude_types": [[1, 1]], "set_davg_zero": True, "activation_function": "gelu"},
        SE_R | {"sel": SLOTS[2], "exclude_types": [[0, 1]], "set_davg_zero": True},
    ],
}  # fmt: skip


def pair_table(path, kinds):
    """A screened Coulomb repulsion for every pair, as deepmd-kit's table file."""
    r = np.arange(0.05, 2.51, 0.05)
    columns = [r]
    for a in range(kinds):
        for b in range(a, kinds):
            columns.append((5 + a + 2 * b) / r * np.exp(-r / 0.3))
    np.savetxt(path, np.array(columns).T)


def settings(types, descriptor):
    fitting = {"neuron": [4, 4], "resnet_dt": True, "precision": "float64", "seed": 3}
    if descriptor["type"] == "hybrid":
        for part in descriptor["list"]:
            part |= {"precision": "float64", "seed": 2}
    else:
        descriptor = descriptor | {"precision": "float64", "seed": 2}
    return {"type_map": types, "descriptor": descriptor, "fitting_net": fitting}


def randomise(node, rng):
    """Replace what deepmd-kit would initialise to zeros and ones or take from data."""
    if isinstance(node, dict):
        variables = node.get("@variables", {})
        for name, value in variables.items():
            if value is None:
                continue
            if name in ("davg", "dstd"):
                kinds, slots, columns = value.shape
                new = rng.uniform(0.05, 0.3, size=(kinds, 1, columns))
                if name == "davg":
                    new[..., 1:] = 0
                    new *= not node.get("set_davg_zero", False)
                elif columns == 4:
                    new[..., 2:] = new[..., 1:2]
                variables[name] = np.repeat(new, slots, axis=1)
            elif name in ("idt", "bias_atom_e", "out_bias"):
                variables[name] = rng.normal(scale=0.5, size=np.shape(value))
            elif node.get("@class") == "LayerNorm":
                variables[name] = np.asarray(value) + rng.normal(scale=0.2, size=np.shape(value))
        for value in node.values():
            randomise(value, rng)
    elif isinstance(node, list):
        for value in node:
            randomise(value, rng)


def random_positions(rng, count, cell, closest):
    positions = []
    while len(positions) < count:
        trial = rng.uniform(size=3) @ cell
        delta = [(trial - p) @ np.linalg.inv(cell) for p in positions]
        distances = [np.linalg.norm((d - np.round(d)) @ cell) for d in delta]
        if all(d > closest for d in distances):
            positions.append(trial)
    return np.array(positions)


def systems(kinds):
    rng = np.random.default_rng(5)
    cell = np.array([[6.3, 0, 0], [0.8, 6.1, 0], [-0.5, 0.7, 6.4]])
    crystal = random_positions(rng, 14, cell, 0.9)
    cluster = random_positions(rng, 6, 5 * np.eye(3), 0.8)
    return [
        (np.arange(14) % kinds, crystal, cell),
        (np.arange(6) % kinds, cluster, None),
        (np.array([1]), np.zeros((1, 3)), None),
    ]


def torch_model(data):
    """Model of deepmd-kit's PyTorch backend."""
    # The operators compiled for one release of PyTorch are not needed here.
    sys.modules["deepmd.pt.cxx_op"] = types.SimpleNamespace(ENABLE_CUSTOMIZED_OP=False)
    from deepmd.pt.model.model import BaseModel

    return BaseModel.deserialize(copy.deepcopy(data))


def oracle(data):
    """deepmd-kit's PyTorch backend."""
    import torch

    model = torch_model(data)

    def evaluate(positions, cell, species):
        box = None if cell is None else torch.tensor(cell.reshape(1, 9))
        out = model(torch.tensor(positions[None]), torch.tensor(species[None]), box)
        return [out[name][0].detach().numpy() for name in ("energy", "force", "virial")]

    return evaluate


def described(species, positions, cell, kinds, energy, forces, virial):
    return {
        "symbols": [kinds[s] for s in species],
        "positions": positions.tolist(),
        "cell": None if cell is None else cell.tolist(),
        "energy": float(np.ravel(energy)[0]),
        "forces": forces.tolist(),
        "virial": virial.reshape(3, 3).tolist(),
    }


def neutral(name):
    (path,) = (p for p in HERE.iterdir() if p.stem == name and p.suffix in (".yaml", ".dp"))
    return load_dp_model(str(path))


def torch_files():
    """TorchScript files without their code, as `dp freeze` writes them."""
    import torch

    for name in TORCH:
        whole = neutral(name)
        model = torch_model(whole["model"])
        model.model_def_script = json.dumps(whole["model_def_script"])
        for module in model.modules():  # a trained model has None where a converted one has "none"
            if getattr(module, "activate_name", "") == "none" and name != "zbl":
                module.activate_name = None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.pth"
            torch.jit.save(torch.jit.script(model.eval()), path)
            with zipfile.ZipFile(path) as source, zipfile.ZipFile(HERE / path.name, "w") as target:
                for entry in source.namelist():
                    if entry.split("/")[1] in ("data.pkl", "data", "byteorder", "version"):
                        target.writestr(zipfile.ZipInfo(entry), source.read(entry))


def strip(whole, target):
    """Graph of the constants that deepmd-kit names, their copies and who reads the biases."""
    from deepmd.tf.env import tf

    source, kept = tf.GraphDef(), tf.GraphDef()
    source.ParseFromString(whole.read_bytes())
    for node in source.node:
        named = any(part in node.name for part in ("_attr", "matrix", "bias", "idt"))
        reader = any("bias_atom_e/read" in i or "out_bias/read" in i for i in node.input)
        if reader or (named and node.op in ("Const", "Identity") and "grad" not in node.name):
            kept.node.append(node)
    target.write_bytes(kept.SerializeToString())


def tensorflow_files():
    """Frozen graphs without what computes; energies of the last by TensorFlow."""
    from deepmd.infer import DeepPot
    from deepmd.tf.utils.serialization import deserialize_to_file

    model_settings = settings(TWO, copy.deepcopy(EXCLUDED))
    data = get_model(copy.deepcopy(model_settings)).serialize()
    randomise(data, np.random.default_rng(200))
    models = {name: neutral(name) for name in TENSORFLOW}
    models["excluded"] = {"model": data, "model_def_script": model_settings}
    with tempfile.TemporaryDirectory() as folder:
        for name, model in models.items():
            whole = Path(folder) / f"{name}.pb"
            deserialize_to_file(str(whole), model)
            strip(whole, HERE / whole.name)
        evaluator = DeepPot(str(whole))
        found = []
        for species, positions, cell in systems(2):
            box = None if cell is None else cell.reshape(1, 9)
            energy, forces, virial = evaluator.eval(positions.reshape(1, -1), box, species)[:3]
            found.append(described(species, positions, cell, TWO, energy, forces[0], virial))
    reference = json.loads((HERE / "reference.json").read_text()) | {"excluded.pb": found}
    (HERE / "reference.json").write_text(json.dumps(reference) + "\n")


def models():
    reference = {}
    for number, (name, (kinds, descriptor)) in enumerate(CASES.items()):
        config = settings(kinds, dict(descriptor))
        if name == "zbl":
            with tempfile.TemporaryDirectory() as folder:
                table = Path(folder) / "table.txt"
                pair_table(table, len(kinds))
                model = get_model(config | {"use_srtab": str(table), "sw_rmin": 0.9,
                                            "sw_rmax": 1.9, "smin_alpha": 0.15})  # fmt: skip
        else:
            model = get_model(config)
        data = model.serialize()
        randomise(data, np.random.default_rng(100 + number))
        for part in data.get("models", []):  # whether these count depends on the backend
            part["@variables"]["out_bias"][:] = 0
        suffix = ".dp" if name in ("se_a_one_side", "zbl") else ".yaml"
        whole = {"model": data, "model_def_script": config, "backend": "DPModel"}
        save_dp_model(str(HERE / f"{name}{suffix}"), whole)
        evaluate = oracle(data)
        found = []
        for species, positions, cell in systems(len(kinds)):
            energy, forces, virial = evaluate(positions, cell, species)
            found.append(described(species, positions, cell, kinds, energy, forces, virial))
        reference[name + suffix] = found
        (HERE / "reference.json").write_text(json.dumps(reference) + "\n")
        sys.stdout.write(f"{name} {[f['energy'] for f in found]}\n")


def main():
    """One process for each backend: deepmd-kit's libraries of both in one process crash."""
    parts = {"models": models, "torch": torch_files, "tensorflow": tensorflow_files}
    if sys.argv[1:] and sys.argv[1] in parts:
        parts[sys.argv[1]]()
        return
    for part in list(parts)[1 if sys.argv[1:] == ["backends"] else 0 :]:
        subprocess.run([sys.executable, __file__, part], check=True)


if __name__ == "__main__":
    main()
