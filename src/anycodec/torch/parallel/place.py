"""Which of the processes of a training this one is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from anycodec.config.train import LoopSpec
from anycodec.errors import ConfigError, UserError
from anycodec.processors import threads
from anycodec.torch.device import choose_device
from anycodec.training.sharing import check_shares

DEFAULT_PORT = 29500
"""Of the first machine, as torch's launchers choose it."""


@dataclass(frozen=True, slots=True)
class Place:
    """A process among those of a training.

    Attributes:
        rank: its number, 0 = the one that leads.
        size: how many there are.
        local_rank: its number on its machine.
        local_size: how many there are on its machine.
        address: of the machine where the first one is.
        port: where that one listens, 0 = wherever there is room.
        launched: whether somebody else (torchrun) starts and ends the processes.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    address: str = "127.0.0.1"
    port: int = 0
    launched: bool = False

    @property
    def alone(self) -> bool:
        return self.size == 1

    def device(self, name: str) -> torch.device:
        """The device of this process: each has a GPU of its own, or all share the processors.

        Raises:
            UserError: there are fewer GPUs than processes, or none and cuda was asked for.
        """
        device = choose_device(name)
        if device.type == "cpu" or self.alone:
            return device
        present = torch.cuda.device_count()
        if self.local_size > present:
            raise UserError(
                f"{self.local_size} processes need a GPU each, this machine has {present}",
                where=f"train.devices {self.local_size}",
                how=f"use at most {present}, or train.device=cpu",
            )
        return torch.device("cuda", self.local_rank)

    def threads(self, wanted: int | None) -> int:
        """CPU threads of this process."""
        return wanted or threads(self.local_size)


def find_place(spec: LoopSpec, environ: Mapping[str, str] = os.environ, *, divides: bool = True) -> Place:
    """The place of this process in a training.

    Launchers (torchrun) tell it in RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE. Without one this
    process leads `train.devices` of them; on the further machines of `train.num_nodes`, where NODE_RANK is
    above 0, it stands for the first of that machine.

    Args:
        spec: the training loop.
        environ: the environment.
        divides: whether this kind of training can divide weights.

    Raises:
        ConfigError: settings that contradict the launcher, or each other.
        UserError: several machines, and nothing says where the first is.
    """
    launched = "RANK" in environ and "WORLD_SIZE" in environ
    place = launched_place(environ) if launched else _own(spec, environ)
    if launched:
        _check_launcher(spec, place)
    if spec.strategy == "fsdp" and not divides:
        mistake = UserError("fsdp divides the weights of codecs only", where="train.strategy", how="use ddp")
        raise ConfigError([mistake])
    if place.alone and spec.strategy is not None:
        mistake = UserError(
            f"{spec.strategy} divides the work among devices, and there is one",
            where="train.strategy",
            how="add --devices N, start it with torchrun, or leave the strategy out",
        )
        raise ConfigError([mistake])
    check_shares(spec.batch_size, place.size)
    return place


def launched_place(environ: Mapping[str, str]) -> Place:
    """The place that a launcher gave this process."""
    rank, size = int(environ["RANK"]), int(environ["WORLD_SIZE"])
    return Place(
        rank=rank,
        size=size,
        local_rank=int(environ.get("LOCAL_RANK", rank)),
        local_size=int(environ.get("LOCAL_WORLD_SIZE", size)),
        address=environ.get("MASTER_ADDR", "127.0.0.1"),
        port=int(environ.get("MASTER_PORT", DEFAULT_PORT)),
        launched=True,
    )


def _own(spec: LoopSpec, environ: Mapping[str, str]) -> Place:
    devices = spec.devices or 1
    if spec.num_nodes == 1:
        return Place(size=devices, local_size=devices)
    if "MASTER_ADDR" not in environ or "NODE_RANK" not in environ:
        raise UserError(
            "nothing says which of the machines this is",
            where=f"train.num_nodes {spec.num_nodes}",
            how="set MASTER_ADDR to the first machine and NODE_RANK to 0, 1, ... on each, or use torchrun",
        )
    return Place(
        rank=int(environ["NODE_RANK"]) * devices,
        size=spec.num_nodes * devices,
        local_size=devices,
        address=environ["MASTER_ADDR"],
        port=int(environ.get("MASTER_PORT", DEFAULT_PORT)),
    )


def _check_launcher(spec: LoopSpec, place: Place) -> None:
    nodes = max(1, place.size // place.local_size)
    mistakes = [
        UserError(
            f"the launcher started {found} {noun}, the configuration says {asked}",
            where=f"train.{key}",
            how="leave it out: the launcher decides",
        )
        for key, noun, asked, found in (
            ("devices", "processes a machine", spec.devices, place.local_size),
            ("num_nodes", "machines", spec.num_nodes if spec.num_nodes > 1 else None, nodes),
        )
        if asked is not None and asked != found
    ]
    if mistakes:
        raise ConfigError(mistakes)
