"""The processes of a training as a group; in a training of one process nothing here does anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import PrefixStore, Store

from anycodec.training.stop import StopRequest

T = TypeVar("T")

PATIENCE = timedelta(hours=1)
"""How long a process waits for another: for its first k-means, a validation, a checkpoint on slow storage.
One that is gone is noticed at once."""


@contextmanager
def joined(store: Store, rank: int, size: int) -> Iterator[None]:
    """Within the block this process is one of the group; processor tensors go by gloo, those of GPUs by NCCL.

    Args:
        store: that all of them see.
        rank: its number.
        size: how many there are.
    """
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(
        backend, store=PrefixStore("group", store), rank=rank, world_size=size, timeout=PATIENCE
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """The number of this process, 0 = the one that leads and writes files."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def tell(value: T) -> T:
    """The first process's value, in all of them."""
    if not dist.is_initialized():
        return value
    told = [value]
    dist.broadcast_object_list(told, src=0, device=torch.device("cpu"))
    return told[0]


@torch.no_grad()
def equalise(module: nn.Module) -> None:
    """Give the module the first process's parameters and buffers."""
    if not dist.is_initialized():
        return
    for tensor in (*module.parameters(), *module.buffers()):
        same = tensor.detach().contiguous()
        dist.broadcast(same, 0)
        tensor.copy_(same)


def largest(number: int) -> int:
    """The largest of every process's numbers."""
    if not dist.is_initialized():
        return number
    found = torch.tensor(number)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return int(found)


def means(figures: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mean of each scalar over the processes, which all have the same names."""
    if not dist.is_initialized() or not figures:
        return dict(figures)
    values = torch.stack([value.detach().cpu().double() for value in figures.values()])
    dist.all_reduce(values)
    return dict(zip(figures, (values / dist.get_world_size()).float(), strict=True))


def asked(stop: StopRequest, step: int, every: int) -> bool:
    """Whether a process was asked to stop; several ask one another only every so many steps."""
    if size() > 1 and step % every:
        return False
    stop.number = largest(stop.number or 0) or None
    return stop.number is not None


def own_noise(seed: int, *position: int, generator: torch.Generator | None = None) -> None:
    """Let this process draw other random numbers than the first, the same again at the same position.

    So noise differs from one part of a batch to the other, and the state of the first process's generators is
    all that a checkpoint needs.

    Args:
        seed: of the training.
        position: in the training: the step, and the batch within it.
        generator: what draws them; None = torch's own.
    """
    if rank():
        (mixed,) = np.random.SeedSequence((seed, rank(), *position)).generate_state(1)
        (torch if generator is None else generator).manual_seed(int(mixed))
