"""Sums and samples over the processes of a data-parallel training; no-ops in a single process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.distributed as dist
from torch import Tensor

_apart: ContextVar[bool] = ContextVar("apart", default=False)


def together() -> bool:
    """Whether there are several processes, which do the same step now."""
    return dist.is_initialized() and not _apart.get()


@contextmanager
def apart() -> Iterator[None]:
    """Within the block this process computes something alone: nothing here waits for the others."""
    token = _apart.set(True)
    try:
        yield
    finally:
        _apart.reset(token)


def sum_over_ranks(x: Tensor) -> Tensor:
    """The sum of every process's `x`, in place."""
    if together():
        dist.all_reduce(x)
    return x


def mean_over_ranks(x: Tensor) -> Tensor:
    """The mean of every process's `x`; the gradient is that of this process's own.

    Data-parallel training averages the gradients of the processes: that supplies the missing 1/world.
    """
    if not together():
        return x
    mean = sum_over_ranks(x.detach().clone()) / dist.get_world_size()
    return mean + (x - x.detach())


def join_ranks(rows: Tensor) -> Tensor:
    """The rows [N D] of every process, in the order of their ranks; N is the same everywhere."""
    if not together():
        return rows
    parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


def agree(x: Tensor) -> Tensor:
    """The first process's `x`, in place: for what was drawn at random."""
    if together():
        dist.broadcast(x, 0)
    return x


def own_part(
    draw: Callable[..., Tensor], shape: Sequence[int], device: torch.device, generator: torch.Generator | None
) -> Tensor:
    """Random numbers for this process's part [B ...] of a batch that all draw alike.

    Args:
        draw: torch.rand or torch.randn.
        shape: of the part.
        device: where.
        generator: in the same state everywhere; None = torch's own.
    """
    count, first = (dist.get_world_size(), dist.get_rank()) if together() else (1, 0)
    drawn = draw((count * shape[0], *shape[1:]), device=device, generator=generator)
    return drawn[first * shape[0] : (first + 1) * shape[0]]
