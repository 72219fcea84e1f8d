"""The learned part of a functional: a sum over atoms, and the file that holds it.

    E_delta = sum_I  c[z_I] + w[z_I] . x_I + v . tanh(W x_I + b[z_I])
    x_I = (q_I - mean[z_I]) / scale[z_I]

q_I are the invariants of atom I, z_I its element. A zero network is exactly the base method.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from huozi.arrays import jax, jnp
from huozi.files import atomic_path, model_digest
from huozi.functional.invariants import count, invariants
from huozi.functional.projection import Array, published_basis, shell_counts

FORMAT = "huozi-functional-1"
CHUNK = 8
"""Atoms evaluated at once: one compilation serves molecules of every size."""

Params = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Model:
    """A correction to a mean-field method, learned for some elements in one orbital basis.

    Parameters
    ----------
    base : str
        ``"hf"`` or the name of the density functional that it corrects, as PySCF writes it.
    orbitals : dict
        Digest of the orbital basis of each element (`orbital_digest`); the keys are the elements.
    params : dict of arrays
        See `zero_model` for names and shapes.
    basis : list
        Projection basis, shells in PySCF's format.
    orbital_name : str
        What the orbital basis is called, for messages.
    metadata : dict
        How it was trained; anything that JSON can hold.
    """

    base: str
    orbitals: dict[str, str]
    params: Params
    basis: list[Any] = field(default_factory=published_basis)
    orbital_name: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def elements(self) -> list[str]:
        """Chemical symbols in the order of the parameters."""
        return sorted(self.orbitals)

    def scaled(self, factor: float) -> Model:
        """Return the model with its energy multiplied by a factor."""
        names = ("constant", "linear", "readout")
        changed = {name: factor * self.params[name] for name in names}
        return replace(self, params={**self.params, **changed})

    def evaluate(
        self, kinds: Any, blocks: Sequence[Array], spins: Sequence[Array] | None = None
    ) -> tuple[float, list[Array], list[Array] | None]:
        """Energy in hartree and its derivatives by D and M.

        Parameters
        ----------
        kinds : (m,) int array
            Elements of the atoms, as indices into `elements`.
        blocks : list of (m, n, 2l + 1, 2l + 1) arrays
            Projections of the density matrix for each l.
        spins : list of (m, n, 2l + 1, 2l + 1) arrays, optional
            Those of the spin density matrix; a closed shell has none.
        """
        m = len(kinds)
        given = [kinds, np.ones(m), list(blocks), None if spins is None else list(spins)]
        whole = jax.tree.map(_padded, given)
        energies, slopes = [], []
        for start in range(0, m, CHUNK):
            part = jax.tree.map(lambda x: x[start : start + CHUNK], whole)  # noqa: B023
            energy, slope = _energy_and_slopes(self.params, *part)
            energies.append(energy)
            slopes.append(slope)
        by_density, by_spin = jax.tree.map(lambda *x: np.concatenate(x)[:m], *slopes)
        return float(sum(energies)), by_density, by_spin

    def save(self, path: str | Path) -> None:
        """Write the model as safetensors with everything that is needed to use it."""
        from safetensors.numpy import save_file

        tensors = {name: np.ascontiguousarray(value) for name, value in self.params.items()}
        header = {
            "format": FORMAT,
            "base": self.base,
            "orbitals": self.orbitals,
            "orbital_name": self.orbital_name,
            "basis": self.basis,
            "metadata": self.metadata,
        }
        header["sha256"] = model_digest(header, tensors)
        with atomic_path(path) as aside:
            save_file(tensors, aside, metadata={"huozi": json.dumps(header)})


def _padded(values: Array) -> Array:
    """Zeros behind the atoms, up to whole chunks."""
    full = np.zeros((-(-len(values) // CHUNK) * CHUNK, *values.shape[1:]), values.dtype)
    full[: len(values)] = values
    return full


@jax.jit
def _energy_and_slopes(params: Params, kinds: Any, weight: Any, blocks: Any, spins: Any) -> Any:
    def total(blocks: Any, spins: Any) -> Any:
        return jnp.sum(weight * atomic_energies(params, kinds, invariants(blocks, spins)))

    return jax.value_and_grad(total, argnums=(0, 1))(blocks, spins)


def atomic_energies(params: Params, kinds: Any, features: Any) -> Any:
    """E_delta of each atom (m,), hartree, of invariants (m, features)."""
    x = (features - params["mean"][kinds]) / params["scale"][kinds]
    linear = params["constant"][kinds] + jnp.sum(params["linear"][kinds] * x, axis=-1)
    hidden = jnp.tanh(x @ params["weight"] + params["bias"][kinds])
    return linear + hidden @ params["readout"]


def zero_model(
    base: str, orbitals: dict[str, str], hidden: int = 1, basis: Any = None, name: str = ""
) -> Model:
    """Return the model that changes nothing."""
    basis = published_basis() if basis is None else basis
    f, e = count(shell_counts(basis)), len(orbitals)
    params = {
        "mean": np.zeros((e, f)),
        "scale": np.ones((e, f)),
        "constant": np.zeros(e),
        "linear": np.zeros((e, f)),
        "weight": np.zeros((f, hidden)),
        "bias": np.zeros((e, hidden)),
        "readout": np.zeros(hidden),
    }
    return Model(base, orbitals, params, basis, name)


def random_model(base: str, orbitals: dict[str, str], seed: int, size: float = 0.01) -> Model:
    """Return a small random network of nonlinear and linear parts, for trials."""
    model = zero_model(base, orbitals, hidden=8)
    random = np.random.default_rng(seed)
    spread = {"linear": size, "weight": 0.3, "bias": 0.5, "readout": size, "constant": size}
    drawn = {k: s * random.standard_normal(model.params[k].shape) for k, s in spread.items()}
    return replace(model, params={**model.params, **drawn})


def load_model(path: str | Path) -> Model:
    """Read a model file, or the one in a run folder.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If the file is something else, damaged, or of another version.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    path = path / "model.safetensors" if path.is_dir() else path
    if not path.exists():
        raise FileNotFoundError(f"no functional at {path}")
    try:
        with safe_open(path, "numpy") as file:
            header = json.loads((file.metadata() or {}).get("huozi", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a safetensors file of Huozi: {error}") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        found = header.get("format") if isinstance(header, dict) else None
        raise ValueError(f"{path} holds {found!r}, not a functional ({FORMAT!r})")
    if header.pop("sha256", None) != model_digest(header, tensors):
        raise ValueError(f"{path}: contents do not match the digest in the header; copy it again")
    del header["format"]
    return Model(params=tensors, **header)


def orbital_digest(shells: Any) -> str:
    """Return a short digest of one element's orbital basis, whatever its name."""
    rounded = json.dumps(shells, default=lambda x: x.tolist() if hasattr(x, "tolist") else str(x))
    return hashlib.sha256(rounded.encode()).hexdigest()[:16]
