"""DeepPot-SE (``se_e2_a``, ``se_e2_r``) and what it shares with DPA-1.

    A_i[g]   = sum_j G_g(s_ij; z_i, z_j) R_ij / N            N = sum(sel)
    D_i[g,h] = A_i[g] . A_i[h]                               g < neuron[-1], h < axis
    E_i      = E0[z_i] + fit_{z_i}(D_i) - fit_{z_i}(D of an isolated atom)

deepmd-kit keeps a fixed number of neighbour slots, ``sel``. Where the statistics of the
environment have a mean, an unused slot still contributes, G(-mean/dev) times -mean/dev. Here
every neighbour counts, however many there are, and the unused slots are added as a constant, so
that energies are equal wherever deepmd-kit itself drops no neighbour.

Source: Zhang et al., NeurIPS 31, 4436 (2018).
"""

from __future__ import annotations

from typing import Any

from huozi.arrays import jax, jnp
from huozi.potential.deeppot_settings import (
    DeepPotConfig,
    Dpa1Config,
    Neighbourhood,
    SeAConfig,
    SeRConfig,
)
from huozi.potential.dpa1 import dpa1, init_dpa1
from huozi.potential.environment import environment
from huozi.potential.layers import apply, init_layers, pick
from huozi.potential.pair_table import bridge

Params = dict[str, Any]
STEP = 0.1
RADIAL_ONLY_FACTOR = 0.2  # deepmd-kit divides the descriptor of se_e2_r by five


def init(key: Any, config: DeepPotConfig, elements: int) -> Params:
    """Random parameters, float32.

    Parameters
    ----------
    key : JAX random key
    config : DeepPotConfig
    elements : int
        Number of elements Z.

    Returns
    -------
    dict
        ``descriptors``, one dict each: ``embedding`` (layers, stacked by element of the
        neighbour, or of centre and neighbour), ``mean`` (Z,) and ``deviation`` (Z, 2) of the
        environment; ``layers`` and ``readout`` of the fitting network, stacked by element.

    Raises
    ------
    ValueError
        If the settings ask for a pair table, which is read from a file and not trained.
    """
    if config.bridge is not None:
        raise ValueError("a pair table comes with a converted model; it cannot be trained")
    keys = jax.random.split(key, len(config.descriptors) + 2)
    stack = (1 if config.shared else elements,)
    descriptors = []
    for k, part in zip(keys, config.descriptors, strict=False):
        if isinstance(part, Dpa1Config):
            made = init_dpa1(k, part, elements)
        else:
            kinds = (elements,) if part.one_side else (elements, elements)
            made = {"embedding": init_layers(k, (1, *part.neuron), kinds)}
        made |= {"mean": jnp.zeros(elements, "float32")}
        descriptors.append(made | {"deviation": jnp.ones((elements, 2), "float32")})
    widths = (config.descriptor_size, *config.hidden)
    readout = jax.random.normal(keys[-1], (*stack, widths[-1]), jnp.float32)
    return {
        "descriptors": descriptors,
        "layers": init_layers(keys[-2], widths, stack, STEP),
        "readout": 0.1 * widths[-1] ** -0.5 * readout,
    }


def sel_by_element(config: Neighbourhood, elements: int) -> tuple[float, ...]:
    """Slots that deepmd-kit would keep for neighbours of each element."""
    if len(config.sel) == elements:
        return config.sel
    return (config.total / elements,) * elements


def _embedding(params: Params, config: Neighbourhood, element: int, other: int) -> Any:
    """Return the function G of an environment's radial part, (...,) to (..., width)."""
    index = (other,) if config.one_side else (element, other)
    layers = pick(params["embedding"], *index)
    return lambda s: apply(layers, s[..., None], config.activation)


def se_a(params: Params, config: SeAConfig, element: int, vectors: Any, species: Any) -> Any:
    """Descriptors (n, neuron[-1] * axis) of atoms of one element."""
    elements = len(params["mean"])
    around = environment(
        vectors, species, config, params["mean"][element], params["deviation"][element]
    )
    total: Any = 0.0
    for other, slots in enumerate(sel_by_element(config, elements)):
        embed = _embedding(params, config, element, other)
        here = around.inside & (species == other)
        empty = (slots - jnp.sum(here, 1))[:, None] * embed(around.empty) * around.empty
        if config.is_excluded(element, other):
            columns = jnp.zeros((len(vectors), 4, config.neuron[-1]), empty.dtype)
        else:
            rows = jnp.where(here[..., None], around.matrix, 0)
            columns = jnp.einsum("nmc,nmg->ncg", rows, embed(around.matrix[..., 0]))
        total = total + columns.at[:, 0].add(empty)
    return gram(total / config.total, config.axis)


def gram(columns: Any, axis: int) -> Any:
    """Scalar products of columns (n, c, g) with the first `axis` of them, (n, g * axis)."""
    products = jnp.einsum("ncg,nch->ngh", columns, columns[:, :, :axis])
    return products.reshape(len(columns), -1)


def se_r(params: Params, config: SeRConfig, element: int, vectors: Any, species: Any) -> Any:
    """Descriptors (n, neuron[-1]) of atoms of one element."""
    elements = len(params["mean"])
    around = environment(
        vectors, species, config, params["mean"][element], params["deviation"][element]
    )
    total: Any = 0.0
    for other, slots in enumerate(sel_by_element(config, elements)):
        embed = _embedding(params, config, element, other)
        here = around.inside & (species == other)
        radial = around.matrix[..., 0]
        if config.is_excluded(element, other):
            radial = jnp.zeros_like(radial)
        values = jnp.sum(jnp.where(here[..., None], embed(radial), 0), 1)
        total = total + values + (slots - jnp.sum(here, 1))[:, None] * embed(around.empty)
    return RADIAL_ONLY_FACTOR * total / config.total


FUNCTIONS: dict[str, Any] = {"se_e2_a": se_a, "se_e2_r": se_r, "se_atten": dpa1}


def descriptors(
    params: Params, config: DeepPotConfig, element: int, vectors: Any, species: Any
) -> Any:
    """All descriptors of atoms of one element, side by side."""
    parts = [
        FUNCTIONS[part.name](made, part, element, vectors, species)
        for made, part in zip(params["descriptors"], config.descriptors, strict=True)
    ]
    return jnp.concatenate(parts, -1)


def fit(params: Params, config: DeepPotConfig, element: int, x: Any) -> Any:
    """Energies (n,) of descriptors (n, D)."""
    index = 0 if config.shared else element
    hidden = apply(pick(params["layers"], index), x, config.activation)
    return hidden @ params["readout"][index]


def element_energies(
    params: Params, config: DeepPotConfig, element: int, vectors: Any, species: Any
) -> Any:
    """Energies above E0 of atoms of one element.

    Parameters
    ----------
    params : dict
        As from `init`, or a model file.
    config : DeepPotConfig
    element : int
        The atoms' element, as its number in the model.
    vectors : (n, m, 3) array
        Displacements to the neighbours, Å.
    species : (n, m) int array
        Elements of the neighbours; negative in empty slots.

    Returns
    -------
    (n,) array
        eV.
    """
    alone = (jnp.zeros((1, 1, 3), vectors.dtype), jnp.full((1, 1), -1))
    x = descriptors(params, config, element, vectors, species)
    vacuum = descriptors(params, config, element, *alone)
    energies = fit(params, config, element, x) - fit(params, config, element, vacuum)
    if config.bridge is None:
        return energies
    return bridge(params["bridge"], config.bridge, element, vectors, species, energies)
