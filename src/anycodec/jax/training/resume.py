"""The resumable state of a training in JAX, which any engine can continue from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from flax import nnx

from anycodec.config.run import RunSpec
from anycodec.jax.training.networks import (
    Average,
    Plan,
    TrainState,
    network_state,
    new_network,
    random_arrays,
    restored,
    with_random_arrays,
)
from anycodec.training.snapshot import Snapshot
from anycodec.training.standing import Progress

ENGINE = "jax"
_DRAWS, _RIVAL = "draws.", "rival."


def new_state(spec: RunSpec, codec: nnx.Module, rival: nnx.Module | None) -> TrainState:
    """The state before the first step."""
    network = new_network(codec, spec.train.optimizer)
    average = None if spec.train.ema is None else Average(network.params, jnp.zeros((), jnp.int32))
    if rival is None or spec.adversarial is None:
        return TrainState(network, average, None)
    return TrainState(network, average, new_network(rival, spec.adversarial.optimizer))


def state_of(
    spec: RunSpec, codec: nnx.Module, rival: nnx.Module | None, snapshot: Snapshot, where: str
) -> TrainState:
    """The state of a snapshot; another engine's random states start anew.

    Raises:
        RunError: tensors of another network.
    """
    network = restored(codec, spec.train.optimizer, snapshot.codec, where)
    own = snapshot.own if snapshot.engine == ENGINE else {}
    draws = {name.removeprefix(_DRAWS): array for name, array in own.items() if name.startswith(_DRAWS)}
    network = replace(network, rest=with_random_arrays(network.rest, draws))
    average = None
    if spec.train.ema is not None:
        params = Plan(codec).filled(network.params, snapshot.average)
        average = Average(params, jnp.asarray(snapshot.average_updates, jnp.int32))
    if rival is None or spec.adversarial is None:
        return TrainState(network, average, None)
    other = new_network(rival, spec.adversarial.optimizer)
    if snapshot.discriminator is not None:
        other = restored(rival, spec.adversarial.optimizer, snapshot.discriminator, where)
    return TrainState(network, average, other)


def snapshot_of(
    codec: Plan, rival: Plan | None, state: TrainState, progress: Progress, figures: Mapping[str, float]
) -> Snapshot:
    """What to store of a state.

    Args:
        codec: structure of the codec.
        rival: structure of the discriminator.
        state: the state.
        progress: where the training stands.
        figures: the last ones of the discriminator's side.
    """
    draws = random_arrays(state.codec.rest)
    own = {_DRAWS + name: array for name, array in draws.items()}
    own |= {_RIVAL + name: np.asarray(value, np.float64) for name, value in figures.items()}
    average = state.average
    return Snapshot(
        engine=ENGINE,
        progress=progress,
        codec=network_state(codec, state.codec),
        discriminator=network_state(rival, state.rival) if rival and state.rival else None,
        average={} if average is None else codec.named(average.params),
        average_updates=0 if average is None else int(average.updates),
        own=own,
    )


def rival_figures(snapshot: Snapshot | None) -> dict[str, float]:
    """The last figures of the discriminator's side."""
    own = snapshot.own if snapshot and snapshot.engine == ENGINE else {}
    return {name.removeprefix(_RIVAL): float(v) for name, v in own.items() if name.startswith(_RIVAL)}
