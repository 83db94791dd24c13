"""Gradient penalty of WGAN-GP."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from anycodec.torch.discriminators.base import Judgement
from anycodec.torch.quantizers.ranks import own_part


def gradient_penalty(
    discriminator: Callable[[Tensor], Judgement],
    real: Tensor,
    fake: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Mean over windows of (|slope| - 1)^2 at random points between real and fake (Gulrajani 2017, eq. 3).

    Args:
        discriminator: one whose judgement of a window doesn't depend on the others of its batch.
        real: windows [B C *s].
        fake: their reconstructions.
        generator: source of the points; None = torch's own.
    """
    share = own_part(torch.rand, (len(real),), real.device, generator)
    return slope_penalty(discriminator, between(real, fake, share))


def between(real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """share * real + (1 - share) * fake outside their graphs, share [B]."""
    share = share.view(-1, *[1] * (real.ndim - 1))
    return share * real.detach() + (1 - share) * fake.detach()


def slope_penalty(discriminator: Callable[[Tensor], Judgement], points: Tensor) -> Tensor:
    """Mean over points [B C *s] of (|d sum of logits / d point|_2 - 1)^2.

    Logits of patches are summed, as implementations for PatchGAN do. Computed in float32: products of
    small gradients vanish in half precision.
    """
    with torch.autocast(points.device.type, enabled=False):
        points = points.detach().float().requires_grad_()
        logits = discriminator(points).logits
        (slope,) = torch.autograd.grad(logits.sum(), points, create_graph=True)
        penalty: Tensor = (slope.flatten(1).norm(dim=1) - 1).square().mean()
    return penalty
