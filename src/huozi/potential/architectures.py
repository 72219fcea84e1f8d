"""The architectures, and what they share: energies of atoms and gradients by pairs.

An architecture is a file with settings, ``init`` and ``element_energies``. What a model does with
them (batches, forces, losses, files) asks here which one it has.
"""

from __future__ import annotations

from typing import Annotated, Any, cast

from pydantic import Field, TypeAdapter

from huozi.arrays import jax, jnp
from huozi.potential import (
    deeppot,
    deeppot_kernel,
    deeppot_table,
    deeppot_training,
    moment,
    moments,
)
from huozi.potential.deeppot_settings import DeepPotConfig
from huozi.potential.moment import MomentConfig

Params = dict[str, Any]
Architecture = Annotated[MomentConfig | DeepPotConfig, Field(discriminator="name")]


def read_architecture(header: dict[str, Any]) -> MomentConfig | DeepPotConfig:
    """Read the settings of an architecture from a model file.

    Raises
    ------
    ValueError
        If the architecture, or one of its settings, is unknown.
    """
    return TypeAdapter(Architecture).validate_python(header)


def exact(config: Any) -> Any:
    """Return settings under which the architecture is evaluated without expansion."""
    return config if isinstance(config, MomentConfig) else config.model_copy(update={"nodes": 0})


def init(key: Any, config: Any, elements: int) -> Params:
    """Random parameters to be trained, in the precision of the training."""
    if isinstance(config, MomentConfig):
        return moment.init(key, config, elements)
    raw = deeppot_training.init(key, config, elements)
    return cast(Params, jax.tree.map(lambda x: x.astype(config.precision), raw))


def fold(raw: Params, config: Any, scaling: Params) -> Params:
    """Parameters of a model from trained ones and the scaling found in the data."""
    if isinstance(config, MomentConfig):
        return moment.fold(raw, scaling)
    return deeppot_training.fold(raw, config, scaling)


def tail(raw: Params) -> Params:
    """Of parameters to be trained, those behind the trunk: last hidden layer and readout."""
    return {"layers": raw["layers"][-1:], "readout": raw["readout"]}


def fold_tail(raw: Params, trunk: Params, scaling: Params) -> Params:
    """Parameters of a model with the trunk of another one and a trained `tail`."""
    readout = raw["readout"] * scaling["energy"][:, None]
    return {**trunk, "layers": [*trunk["layers"][:-1], *raw["layers"]], "readout": readout}


def kernel_refusal(config: Any, params: Params) -> str | None:
    """Why the compiled kernel cannot run a model; None if it can."""
    if not isinstance(config, MomentConfig):
        return deeppot_kernel.refusal(config, params)
    if config.hidden[0] == config.descriptor_size:
        return "the compiled kernel does not run models with a shortcut around the first layer"
    return None


def kernel_part(config: Any, params: Params) -> Any:
    """Return what a model file holds for the kernel beside parameters: header, tensors; or None."""
    return None if isinstance(config, MomentConfig) else deeppot_kernel.kernel_part(config, params)


def has_moments(config: Any) -> bool:
    """Whether energies follow from moments that no parameter changes."""
    return isinstance(config, MomentConfig) or deeppot_table.is_tabulated(config)


def _module_of_moments(config: Any) -> Any:
    """Return the module of an architecture that has ``moments`` and ``trainable_pull``."""
    return moments if isinstance(config, MomentConfig) else deeppot_table


def frame_moments(vectors: Any, species: Any, config: Any, elements: int) -> Any:
    """Moments of the neighbours of each atom, (n, ...), where the architecture has them."""
    return _module_of_moments(config).moments(vectors, species, config, elements)


def element_energies_from_moments(params: Params, config: Any, element: int, *rows: Any) -> Any:
    """Energies (n,) above E0, eV, of atoms of one element, from their moments (and noise)."""
    module = moment if isinstance(config, MomentConfig) else deeppot_table
    return module.element_energies(params, config, element, *rows)


def by_segments(function: Any, segments: tuple[int, ...], *rows: Any) -> Any:
    """Concatenate ``function(element, *rows of that element)`` over atoms sorted by element."""
    found, start = [], 0
    for element, count in enumerate(segments):
        if count:
            found.append(function(element, *(r[start : start + count] for r in rows)))
            start += count
    return jnp.concatenate(found)


def pair_gradient(
    params: Params, config: Any, element: int, vectors: Any, species: Any, elements: int
) -> tuple[Any, Any]:
    """Energies of atoms of one element, and their gradient by the displacements.

    Parameters
    ----------
    params : dict
        Folded parameters.
    config : MomentConfig or DeepPotConfig
    element : int
        The atoms' element, as its number in the model.
    vectors : (n, m, 3) array
        Displacements to the neighbours, Å.
    species : (n, m) int array
        Elements of the neighbours; negative in empty slots.
    elements : int
        Number of elements of the model, Z.

    Returns
    -------
    energies (n,), gradient (n, m, 3)
        eV above E0, and eV/Å.
    """
    if isinstance(config, MomentConfig):

        def energy(moment_rows: Any) -> tuple[Any, Any]:
            e = element_energies_from_moments(params, config, element, moment_rows)
            return jnp.sum(e), e

        by_moments, energies = jax.grad(energy, has_aux=True)(
            moments.moments(vectors, species, config, elements)
        )
        return energies, moments.pull(vectors, species, config, elements, by_moments)

    def total(vectors: Any) -> tuple[Any, Any]:
        e = deeppot.element_energies(params, config, element, vectors, species)
        return jnp.sum(e), e

    gradient, energies = jax.grad(total, has_aux=True)(vectors)
    return energies, gradient


def batch_gradient(
    params: Params, config: Any, segments: tuple[int, ...], batch: Any, noise: Any = None
) -> tuple[Any, Any]:
    """Energies (A,) and gradient (A, m, 3) of the rows of a batch, for training.

    `noise` (A, D) is added to the descriptors of the moment architecture, if given.
    """
    if has_moments(config):
        extra = () if noise is None else (noise,)

        def total(moment_rows: Any) -> tuple[Any, Any]:
            def energies(element: int, *rows: Any) -> Any:
                return element_energies_from_moments(params, config, element, *rows)

            e = by_segments(energies, segments, moment_rows, *extra)
            return jnp.sum(e), e

        gradient, found = jax.grad(total, has_aux=True)(batch.moments)
        pull = _module_of_moments(config).trainable_pull
        return found, pull(batch.vectors, batch.species, config, len(segments), gradient)

    def whole(vectors: Any) -> tuple[Any, Any]:
        def energies(element: int, v: Any, species: Any) -> Any:
            return deeppot.element_energies(params, config, element, v, species)

        e = by_segments(energies, segments, vectors, batch.species)
        return jnp.sum(e), e

    gradient, found = jax.grad(whole, has_aux=True)(batch.vectors)
    return found, gradient
