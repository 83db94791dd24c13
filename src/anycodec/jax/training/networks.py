"""Networks as trees of arrays: what a compiled step takes and gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh

from anycodec.checkpoint import Arrays
from anycodec.config.train import OptimizerSpec
from anycodec.jax.runtime import replicated
from anycodec.jax.variables import Draws
from anycodec.jax.weights import load_arrays, state_arrays
from anycodec.training.snapshot import NetworkState

Tree = nnx.State[Any, Any]
"""Arrays in the structure of a module's variables."""
Scalar = jax.Array | np.number[Any]
"""[], given from outside to a compiled step."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True, slots=True)
class Network:
    """A network that is trained.

    Attributes:
        params: what gradients change.
        rest: what else training changes: buffers, sources of random keys.
        adam: moments of the parameters, and how many updates they have seen.
    """

    params: Tree
    rest: Tree
    adam: optax.ScaleByAdamState


@jax.tree_util.register_dataclass
@dataclass(frozen=True, slots=True)
class Average:
    """Averaged parameters, and how often they were updated, [] int32."""

    params: Tree
    updates: jax.Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True, slots=True)
class TrainState:
    """All that a step changes.

    Attributes:
        codec: the codec.
        average: of its parameters, None where `train.ema` is off.
        rival: the discriminator, None without adversarial training.
    """

    codec: Network
    average: Average | None
    rival: Network | None


def on_devices(state: TrainState, mesh: Mesh) -> TrainState:
    """The state on each device, every array by itself: a step uses them up, which it can do once only."""
    if jax.process_count() == 1:
        return cast(TrainState, jax.device_put(jax.tree.map(jnp.copy, state), replicated(mesh)))

    def everywhere(leaf: jax.Array) -> jax.Array:
        values = np.asarray(leaf)
        return jax.make_array_from_callback(
            values.shape, replicated(mesh), lambda place: values[place].copy()
        )

    return cast(TrainState, jax.tree.map(everywhere, state))


class Plan:
    """A module's structure: apart into arrays, and together again.

    Args:
        module: whose structure; it is not changed.
    """

    def __init__(self, module: nnx.Module) -> None:
        self._graph, params, _ = _split(module)
        self.names = names(params)
        """Of the parameters, in the order of their tree's leaves."""

    def apart(self, module: nnx.Module) -> tuple[Tree, Tree]:
        """Parameters and the rest of a module of this structure."""
        _, params, rest = _split(module)
        return params, rest

    def together(self, params: Tree, rest: Tree) -> Any:
        """A module of these arrays, which stay as they are whatever it does."""
        return nnx.merge(self._graph, params, rest, copy=True)

    def arrays(self, params: Tree, rest: Tree) -> Arrays:
        """The tensors of `weights.safetensors`."""
        return state_arrays(self.together(params, rest))

    def named(self, tree: Tree) -> Arrays:
        """Arrays in the structure of the parameters, by name."""
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
        return dict(zip(self.names, leaves, strict=True))

    def leaf(self, tree: Tree, name: str) -> jax.Array:
        """The array of a parameter."""
        return cast(jax.Array, jax.tree.leaves(tree)[self.names.index(name)])

    def filled(self, tree: Tree, arrays: Arrays) -> Tree:
        """`tree`, in the structure of the parameters, with other values where there are any."""
        leaves, structure = jax.tree.flatten(tree)
        pairs = zip(self.names, leaves, strict=True)
        values = [jnp.asarray(arrays[name]) if name in arrays else leaf for name, leaf in pairs]
        return cast(Tree, jax.tree.unflatten(structure, values))


def _split(module: nnx.Module) -> tuple[Any, Tree, Tree]:
    """Structure, parameters and the rest."""
    return cast(tuple[Any, Tree, Tree], nnx.split(module, nnx.Param, ...))


def names(tree: Tree) -> list[str]:
    """Names of a tree's leaves, as in `weights.safetensors`."""
    return [".".join(map(str, path)) for path, _ in nnx.to_flat_state(tree)]


def new_network(module: nnx.Module, spec: OptimizerSpec) -> Network:
    """A network before its first update."""
    _, params, rest = _split(module)
    return Network(params, rest, adam(spec).init(params))


def adam(spec: OptimizerSpec) -> optax.GradientTransformation:
    """Adam's direction, before decay and learning rate, with torch's epsilon."""
    return optax.scale_by_adam(b1=spec.betas[0], b2=spec.betas[1], eps=1e-8)


def network_state(plan: Plan, network: Network) -> NetworkState:
    """A network and its optimizer as they are stored."""
    return NetworkState(
        tensors=plan.arrays(network.params, network.rest),
        first=plan.named(network.adam.mu),
        second=plan.named(network.adam.nu),
        updates=int(network.adam.count),
    )


def restored(module: nnx.Module, spec: OptimizerSpec, state: NetworkState, where: str) -> Network:
    """The network that `network_state` stored; moments it lacks start from zero.

    Raises:
        RunError: tensors of another network.
    """
    load_arrays(module, state.tensors, where)
    network, plan = new_network(module, spec), Plan(module)
    moments = network.adam._replace(
        count=jnp.asarray(state.updates, jnp.int32),
        mu=plan.filled(network.adam.mu, state.first),
        nu=plan.filled(network.adam.nu, state.second),
    )
    return Network(network.params, network.rest, moments)


def random_arrays(rest: Tree) -> Arrays:
    """The sources of random keys, which are no part of the weights, by name."""
    flat = nnx.to_flat_state(rest)
    return {".".join(map(str, path)): np.asarray(v[...]) for path, v in flat if isinstance(v, Draws)}


def with_random_arrays(rest: Tree, arrays: Arrays) -> Tree:
    """The tree with these sources of random keys, as `random_arrays` gave them."""
    flat = []
    for path, variable in nnx.to_flat_state(rest):
        name = ".".join(map(str, path))
        known = isinstance(variable, Draws) and name in arrays
        flat.append((path, variable.replace(jnp.asarray(arrays[name])) if known else variable))
    return nnx.from_flat_state(flat)
