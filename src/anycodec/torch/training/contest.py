"""How strongly the discriminator's judgement pushes on a reconstruction, beside what the other terms do."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from anycodec.config.adversarial import AdversarialSpec
from anycodec.torch.adversarial.weight import adaptive_weight
from anycodec.torch.quantizers.ranks import mean_over_ranks


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """A reconstruction x^ [B C *s], and what the terms that compare it with the window do to it.

    Attributes:
        values: x^ at the end of the codec's graph.
        copy: the same values, where another graph begins.
        pull: gradient of the comparing terms at `copy`.
        last: weight of the codec's last layer.
    """

    values: Tensor
    copy: Tensor
    pull: Tensor
    last: Tensor


@dataclass(frozen=True, slots=True)
class Push:
    """What the adversarial terms do to a reconstruction.

    Attributes:
        gradient: of the weighted terms, at the reconstruction.
        terms: the weighted terms by name.
        adaptive: the adaptive weight.
    """

    gradient: Tensor
    terms: dict[str, Tensor]
    adaptive: Tensor


def push(
    spec: AdversarialSpec,
    x: Reconstruction,
    terms: dict[str, Tensor],
    *,
    ramp: float,
    scale: Tensor,
    keep: bool,
) -> Push:
    """Weigh the adversarial terms and differentiate them.

    The factor of the generator's term is weight * ramp * w, w = 1 or the adaptive weight (Esser et al. 2021,
    eq. 7), from the gradients at the last layer: both are walked there from x^, never through the
    discriminator again.

    Args:
        spec: weights.
        x: the reconstruction.
        terms: the generator's term and, where there is one, that of the features, before weights.
        ramp: share of their weight that the terms have.
        scale: factor that keeps gradients within fp16, taken out of the result.
        keep: whether the discriminator's graph is still needed.
    """
    matching = terms.get("feature_matching")
    generator = terms["generator"]
    gradient = _at(x.copy, generator, scale, keep=keep or matching is not None)
    adaptive = torch.ones_like(generator)
    if spec.adaptive != "none":
        comparing, judged = (mean_over_ranks(_through(x, walked, scale)) for walked in (x.pull, gradient))
        adaptive = adaptive_weight(comparing, judged)
    factor = spec.weight * ramp * adaptive
    weighted = {"generator": (factor * generator).detach()}
    total = factor * gradient
    if matching is not None:
        share = spec.feature_matching * ramp
        weighted["feature_matching"] = (share * matching).detach()
        total = total + share * _at(x.copy, matching, scale, keep=keep)
    return Push(total, weighted, adaptive)


def derivative(y: Tensor, x: Tensor, outer: Tensor | None = None, *, keep: bool = False) -> Tensor:
    """dy/dx (times `outer`), in the precision of the forward pass."""
    with torch.autocast(x.device.type, enabled=False):
        return torch.autograd.grad(y, x, outer, retain_graph=keep)[0]


def _at(x: Tensor, term: Tensor, scale: Tensor, *, keep: bool) -> Tensor:
    return derivative(scale * term, x, keep=keep) / scale


def _through(x: Reconstruction, gradient: Tensor, scale: Tensor) -> Tensor:
    """A gradient at the reconstruction, walked to the last layer."""
    return derivative(x.values, x.last, scale * gradient, keep=True) / scale
