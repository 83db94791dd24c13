"""Sums over the processes of a training that gradients go through.

Each process has a loss of its own, and the training minimises their mean (`GradientMean`). What all of them
put into a sum acts on every loss, so that its gradients are summed as well.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from anycodec.torch.quantizers.ranks import sum_over_ranks, together


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return sum_over_ranks(x.clone())

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        return sum_over_ranks(gradients[0].contiguous().clone())


def sum_of(x: Tensor) -> Tensor:
    """The sum of every process's `x`."""
    if not together():
        return x
    total: Tensor = _Sum.apply(x)  # type: ignore[no-untyped-call]
    return total


def join_rows(x: Tensor) -> Tensor:
    """The rows [N D] of every process, in the order of their ranks; N is the same everywhere."""
    if not together():
        return x
    own = dist.get_rank()
    parts = [x if rank == own else torch.zeros_like(x) for rank in range(dist.get_world_size())]
    return sum_of(torch.cat(parts))
