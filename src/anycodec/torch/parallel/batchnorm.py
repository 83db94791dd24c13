"""Batch normalisation over the batch that all processes of a training share."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from anycodec.torch.parallel.sums import sum_of


class JoinedBatchNorm(_BatchNorm):
    """`nn.BatchNorm1d`, 2d or 3d of all windows of a step, in any process; torch's own is for GPUs only."""

    def forward(self, x: Tensor) -> Tensor:
        """[B C *s] -> the same shape."""
        if not self.training:
            return super().forward(x)
        axes, shape = [0, *range(2, x.ndim)], (1, -1, *[1] * (x.ndim - 2))
        count = x.numel() // x.shape[1] * dist.get_world_size()
        mean = sum_of(x.float().sum(axes)) / count
        centred = x.float() - mean.view(shape)
        variance = sum_of(centred.square().sum(axes)) / count
        self._remember(mean.detach(), variance.detach() * count / (count - 1))
        normal = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.num_batches_tracked is None or self.running_mean is None or self.running_var is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 (torch names it)
        """Any number of axes."""


def join_batch_norms(module: nn.Module) -> None:
    """Let each batch normalisation in a module look at the windows of all processes; names stay."""
    if not dist.is_initialized():
        return
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            setattr(module, name, _joined(child))
        else:
            join_batch_norms(child)


def _joined(norm: _BatchNorm) -> JoinedBatchNorm:
    joined = JoinedBatchNorm(
        norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
    )
    joined.weight, joined.bias = norm.weight, norm.bias
    joined.running_mean, joined.running_var = norm.running_mean, norm.running_var
    joined.num_batches_tracked = norm.num_batches_tracked
    return joined.train(norm.training)
