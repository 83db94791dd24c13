"""Gradients averaged over the processes of a training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

BUCKET = 25 * 2**20
"""Bytes that travel together: enough to use a network well, little enough to begin early."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """Gradients on their way.

    Attributes:
        gradients: what the sums are for.
        sums: all of them, flat.
        work: to wait for.
    """

    gradients: list[Tensor]
    sums: Tensor
    work: Any


class GradientMean:
    """Replaces gradients by their mean over the processes while the backward pass still goes on.

    They travel in buckets, which every process sends in the same order: the reverse of the parameters', in
    which a backward pass comes to them (Li et al. 2020, arXiv 2006.15704). A parameter without a gradient
    stays without: the processes do the same steps, so it has none in any of them.

    Args:
        parameters: those of one optimizer, on their device.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self._buckets = _buckets([p for p in reversed(list(parameters)) if p.requires_grad])
        self._bucket_of = {p: number for number, bucket in enumerate(self._buckets) for p in bucket}
        self._missing: list[int] = []
        self._sent: list[_Sent | None] = []
        self._expecting = False
        for parameter in self._bucket_of:
            parameter.register_post_accumulate_grad_hook(self._ready)  # type: ignore[no-untyped-call]

    def expect(self) -> None:
        """The next backward pass is the last one before an update."""
        self._missing = [len(bucket) for bucket in self._buckets]
        self._expecting = True

    def finish(self) -> None:
        """Wait until all gradients are means."""
        self._expecting = False
        for bucket in self._buckets[len(self._sent) :]:
            self._send(bucket)
        for sent in self._sent:
            if sent is not None:
                sent.work.wait()
                _take(sent)
        self._sent = []

    def _ready(self, parameter: Tensor) -> None:
        if not self._expecting:
            return
        self._missing[self._bucket_of[parameter]] -= 1  # type: ignore[index]
        while len(self._sent) < len(self._buckets) and self._missing[len(self._sent)] == 0:
            self._send(self._buckets[len(self._sent)])

    def _send(self, bucket: list[nn.Parameter]) -> None:
        gradients = [parameter.grad for parameter in bucket if parameter.grad is not None]
        if not gradients:
            self._sent.append(None)
            return
        sums = torch.cat([gradient.reshape(-1) for gradient in gradients])
        self._sent.append(_Sent(gradients, sums, dist.all_reduce(sums, async_op=True)))


def gradient_mean(parameters: Iterable[nn.Parameter]) -> GradientMean | None:
    """`GradientMean`, None in a training of one process."""
    return GradientMean(parameters) if dist.is_initialized() else None


def _take(sent: _Sent) -> None:
    means = sent.sums.div_(dist.get_world_size())
    parts = torch.split(means, [gradient.numel() for gradient in sent.gradients])
    for gradient, part in zip(sent.gradients, parts, strict=True):
        gradient.copy_(part.view(gradient.shape))


def _buckets(parameters: list[nn.Parameter]) -> list[list[nn.Parameter]]:
    buckets: list[list[nn.Parameter]] = []
    room = 0
    for parameter in parameters:
        if room <= 0:
            buckets.append([])
            room = BUCKET
        buckets[-1].append(parameter)
        room -= parameter.numel() * parameter.element_size()
    return buckets
