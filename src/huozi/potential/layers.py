"""Dense layers as deepmd-kit defines them: with a shortcut and a trained step."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from huozi.arrays import jax, jnp

Layer = dict[str, Any]

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "gelu": lambda x: jax.nn.gelu(x, approximate=True),
    "gelu_tf": lambda x: jax.nn.gelu(x, approximate=True),
    "sigmoid": jax.nn.sigmoid,
    "softplus": jax.nn.softplus,
    "silu": jax.nn.silu,
    "linear": lambda x: x,
}


def apply(layers: list[Layer], x: Any, activation: str) -> Any:
    """Network of dense layers: ``y = step * act(x W + b)``, plus x where the shapes allow.

    Parameters
    ----------
    layers : list of dict
        ``weight`` (in, out), ``bias`` (out,) and perhaps ``step`` (out,).
    x : (..., in) array
    activation : str
        A key of ACTIVATIONS.

    Returns
    -------
    (..., out) array

    Source: the shortcut is x where out = in, and x twice where out = 2 in; Zhang et al.,
    NeurIPS 31, 4436 (2018).
    """
    for layer in layers:
        update = ACTIVATIONS[activation](x @ layer["weight"] + layer["bias"])
        if "step" in layer:
            update = update * layer["step"]
        if update.shape[-1] == x.shape[-1]:
            update = update + x
        elif update.shape[-1] == 2 * x.shape[-1]:
            update = update + jnp.concatenate([x, x], -1)
        x = update
    return x


def pick(layers: list[Layer], *index: int) -> list[Layer]:
    """One network of a stack of networks."""
    return [{name: value[index] for name, value in layer.items()} for layer in layers]


def init_layers(
    key: Any, widths: tuple[int, ...], stack: tuple[int, ...] = (), step: float | None = None
) -> list[Layer]:
    """Random layers between the given widths, float32, of a stack of networks.

    Parameters
    ----------
    key : JAX random key
    widths : tuple of int
        Input, hidden layers.
    stack : tuple of int
        Shape of the stack.
    step : float, optional
        First value of the trained steps; without it there are none.
    """
    layers = []
    for k, (before, after) in zip(
        jax.random.split(key, len(widths) - 1), pairwise(widths), strict=True
    ):
        weight_key, bias_key = jax.random.split(k)
        scale = (before + after) ** -0.5
        layer = {
            "weight": scale * jax.random.normal(weight_key, (*stack, before, after), jnp.float32),
            "bias": jax.random.normal(bias_key, (*stack, after), jnp.float32),
        }
        if step is not None:
            layer["step"] = jnp.full((*stack, after), step, jnp.float32)
        layers.append(layer)
    return layers
