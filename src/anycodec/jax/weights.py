"""Weights by torch's names, shapes and layouts: what one engine saves, the other loads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from anycodec.checkpoint import check_arrays
from anycodec.jax.quantizers.base import Quantizer
from anycodec.jax.variables import Buffer, Counter

Arrays = dict[str, NDArray[Any]]


def state_arrays(module: nnx.Module) -> Arrays:
    """Parameters and buffers of a module as `weights.safetensors` stores them.

    A module's attributes carry torch's names and hold torch's layouts: only the type of counters differs.
    """
    return {name: _stored(variable) for name, variable in _variables(module)}


def load_arrays(module: nnx.Module, arrays: Mapping[str, NDArray[Any]], where: str) -> None:
    """Set parameters and buffers, all of them.

    Args:
        module: a codec or a discriminator.
        arrays: as `state_arrays` gives them.
        where: the file that they come from, for messages.

    Raises:
        RunError: missing, unknown or misshaped arrays, which are listed; nothing is set.
    """
    variables = dict(_variables(module))
    expected = {name: variable.shape for name, variable in variables.items()}
    check_arrays({name: array.shape for name, array in arrays.items()}, expected, where)
    for name, variable in variables.items():
        # a copy: JAX on CPU would share the memory of an array that its owner may change
        variable[...] = jnp.array(arrays[name], variable[...].dtype)


def lr_factors(module: nnx.Module) -> dict[str, float]:
    """Parameters that learn at a multiple of the learning rate, by name: the codes of quantizers."""
    factors: dict[str, float] = {}
    for path, part in nnx.iter_modules(module):
        if isinstance(part, Quantizer) and part.lr_factor != 1:
            own = [name for name, variable in _variables(part) if isinstance(variable, nnx.Param)]
            names = [name for name in own if not name.startswith("space.")]
            factors |= {".".join([*map(str, path), name]): part.lr_factor for name in names}
    return factors


def _variables(module: nnx.Module) -> Iterator[tuple[str, nnx.Variable[jax.Array]]]:
    for path, node in nnx.iter_graph(module):
        if isinstance(node, nnx.Param | Buffer):
            yield ".".join(map(str, path)), node


def _stored(variable: nnx.Variable[jax.Array]) -> NDArray[Any]:
    value = np.asarray(variable[...])
    return value.astype(np.int64) if isinstance(variable, Counter) else value
