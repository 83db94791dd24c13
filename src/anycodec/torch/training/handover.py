"""The resumable state of a training, from one engine to another: `anycodec.training.snapshot`.

Weights, averages and Adam's moments go over by name. Random states don't: they mean something to their
engine only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from anycodec.checkpoint import Arrays, RunDirectory, check_arrays
from anycodec.config.run import RunSpec
from anycodec.engine import TrainingJob
from anycodec.torch.codecs import Codec, make_codec
from anycodec.torch.training.adversary import Adversary
from anycodec.torch.training.module import adamw, parameter_groups
from anycodec.torch.training.state import FILE, load_state, progress_of, random_state
from anycodec.training.snapshot import NetworkState, Snapshot, load_snapshot, save_snapshot

State = dict[str, Any]
_INNER = "discriminator."
"""Where the discriminator is in `Adversary`."""


def hand_over(run: RunDirectory, spec: RunSpec, in_channels: int) -> None:
    """Turn the state that this engine resumes from into one that any engine does.

    Raises:
        RunError: the state is damaged, or of an earlier version.
    """
    state = load_state(run)
    if state is None:
        return
    codec = make_codec(spec.codec, in_channels)
    average = {name.removeprefix("average."): v for name, v in state["ema"].items() if name != "updates"}
    discriminator = None
    if spec.adversarial is not None:
        adversary = _adversary(spec, in_channels)
        tensors = {name.removeprefix(_INNER): value for name, value in state["discriminator"].items()}
        optimizer = adamw([{"params": list(adversary.parameters())}], spec.adversarial.optimizer)
        moments = state["discriminator_optimizer"]
        discriminator = _stored(adversary.discriminator, optimizer, tensors, moments)
    snapshot = Snapshot(
        engine="torch",
        progress=progress_of(state),
        codec=_stored(codec, _optimizer(spec, codec), state["codec"], state["optimizer"]),
        discriminator=discriminator,
        average=_arrays(average),
        average_updates=state["ema"].get("updates", 0),
    )
    save_snapshot(run, snapshot)
    (run.resume / FILE).unlink()


def resumable_state(job: TrainingJob, codec: Codec, device: torch.device) -> State | None:
    """What to continue from, of this engine or of another; None where there is nothing.

    Raises:
        RunError: it is damaged, or of another network.
    """
    state = load_state(job.run)
    snapshot = load_snapshot(job.run) if state is None else None
    return state if snapshot is None else _taken_over(snapshot, job, codec, device)


def _taken_over(snapshot: Snapshot, job: TrainingJob, codec: Codec, device: torch.device) -> State:
    """A state as this engine writes it; random numbers start anew."""
    spec, where = job.spec, str(job.run.resume)
    averages = {f"average.{name}": torch.from_numpy(value) for name, value in snapshot.average.items()}
    state: State = {
        **asdict(snapshot.progress),
        "codec": _tensors(codec, snapshot.codec, where),
        "optimizer": _moments(codec, _optimizer(spec, codec), snapshot.codec),
        "scaler": {},
        "ema": {"updates": snapshot.average_updates, **averages} if averages else {},
        "random": random_state(),
    }
    if spec.adversarial is None or snapshot.discriminator is None:
        return state
    adversary = _adversary(spec, job.in_channels)
    optimizer = adamw([{"params": list(adversary.parameters())}], spec.adversarial.optimizer)
    tensors = _tensors(adversary.discriminator, snapshot.discriminator, where)
    fresh = {"scaler": {}, "skipped": 0, "in_a_row": 0}
    return state | {
        "discriminator": {_INNER + name: value for name, value in tensors.items()},
        "discriminator_optimizer": _moments(adversary.discriminator, optimizer, snapshot.discriminator),
        "updates": {"codec": fresh, "discriminator": fresh},
        "noise": adversary.random_state(device),
        "rival": {},
    }


def _optimizer(spec: RunSpec, codec: Codec) -> Optimizer:
    return adamw(parameter_groups(codec, spec.train.optimizer.lr), spec.train.optimizer)


def _adversary(spec: RunSpec, in_channels: int) -> Adversary:
    assert spec.adversarial is not None
    return Adversary(spec.adversarial, in_channels, len(spec.codec.axes), spec.seed)


def _stored(network: nn.Module, optimizer: Optimizer, tensors: State, moments: State) -> NetworkState:
    """A network and its optimizer by name.

    Args:
        network: one of the same structure.
        optimizer: one of its parameters in the same groups.
        tensors: the network's state.
        moments: the optimizer's state.
    """
    known = moments["state"]
    entries = {name: known[number] for number, name in _numbered(network, optimizer) if number in known}
    return NetworkState(
        tensors=_arrays(tensors),
        first=_arrays({name: entry["exp_avg"] for name, entry in entries.items()}),
        second=_arrays({name: entry["exp_avg_sq"] for name, entry in entries.items()}),
        updates=max((int(entry["step"]) for entry in entries.values()), default=0),
    )


def _moments(network: nn.Module, optimizer: Optimizer, state: NetworkState) -> State:
    """The state that the optimizer loads; what has no moments starts from none."""
    moments = {
        number: {
            "step": torch.tensor(float(state.updates)),
            "exp_avg": torch.from_numpy(state.first[name]),
            "exp_avg_sq": torch.from_numpy(state.second[name]),
        }
        for number, name in _numbered(network, optimizer)
        if name in state.first
    }
    return {"state": moments, "param_groups": optimizer.state_dict()["param_groups"]}


def _tensors(network: nn.Module, state: NetworkState, where: str) -> State:
    """The state that the network loads.

    Raises:
        RunError: tensors of another network.
    """
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    check_arrays({name: value.shape for name, value in state.tensors.items()}, expected, where)
    return {name: torch.from_numpy(value) for name, value in state.tensors.items()}


def _numbered(network: nn.Module, optimizer: Optimizer) -> list[tuple[int, str]]:
    """Parameters by the optimizer's number and by name."""
    names = {parameter: name for name, parameter in network.named_parameters()}
    ordered = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return [(number, names[parameter]) for number, parameter in enumerate(ordered)]


def _arrays(tensors: Mapping[str, Tensor]) -> Arrays:
    return {name: value.detach().cpu().numpy() for name, value in tensors.items()}
