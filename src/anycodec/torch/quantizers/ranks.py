"""Sums and samples over the processes of a data-parallel training; no-ops in a single process."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def sum_over_ranks(x: Tensor) -> Tensor:
    """The sum of every process's `x`, in place."""
    if dist.is_initialized():
        dist.all_reduce(x)
    return x


def mean_over_ranks(x: Tensor) -> Tensor:
    """The mean of every process's `x`; the gradient is that of this process's own.

    Data-parallel training averages the gradients of the processes: that supplies the missing 1/world.
    """
    if not dist.is_initialized():
        return x
    mean = sum_over_ranks(x.detach().clone()) / dist.get_world_size()
    return mean + (x - x.detach())


def join_ranks(rows: Tensor) -> Tensor:
    """The rows [N D] of every process, in the order of their ranks; N is the same everywhere."""
    if not dist.is_initialized():
        return rows
    parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


def agree(x: Tensor) -> Tensor:
    """The first process's `x`, in place: for what was drawn at random."""
    if dist.is_initialized():
        dist.broadcast(x, 0)
    return x
