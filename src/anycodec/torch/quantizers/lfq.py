"""LFQ: each channel to its sign (Yu et al. 2023, arXiv 2310.05737), or its spherical form, BSQ."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from anycodec.config.quantizer import LfqSpec
from anycodec.torch.quantizers.implicit import ImplicitQuantizer
from anycodec.torch.quantizers.ranks import mean_over_ranks
from anycodec.torch.quantizers.usage import shannon_entropy


class Lfq(ImplicitQuantizer):
    """q = a sign(z), a = 1; spherical (BSQ, arXiv 2406.07548): z <- z / |z|, a = d^-1/2. Zero is negative.

    loss = beta |z - sg(q)|^2 + w (E H(c|z) - diversity H(c)), p(c|z) = softmax_c(2 t z.c). These p are
    products of bits, p(bit i = 1) = sigmoid(4 t a z_i), so that both entropies are exact without a
    table of latents by codes. The first channel is the most significant bit of a token.
    """

    places: Tensor

    def __init__(self, spec: LfqSpec, dim: int) -> None:
        super().__init__(dim, spec.code_dim, spec.codebook_size)
        self.spec = spec
        self.amplitude = spec.code_dim**-0.5 if spec.spherical else 1.0
        self.register_buffer("places", 2 ** torch.arange(spec.code_dim - 1, -1, -1), persistent=False)

    @property
    def shrinkage(self) -> Tensor:
        return torch.full_like(self.places, 0.5, dtype=torch.float32)

    def bound(self, z: Tensor) -> Tensor:
        return F.normalize(z, dim=-1) if self.spec.spherical else z

    def index_of(self, bounded: Tensor) -> Tensor:
        return ((bounded > 0) * self.places).sum(dim=-1)

    def codes_of(self, index: Tensor) -> Tensor:
        bits = (index[..., None] & self.places) > 0
        return torch.where(bits, self.amplitude, -self.amplitude)

    def gradient_path(self, bounded: Tensor) -> Tensor:
        return bounded

    def losses(self, bounded: Tensor, q: Tensor) -> dict[str, Tensor]:
        terms = {"commitment": self.spec.beta * F.mse_loss(bounded, q)}
        if self.spec.entropy_weight:
            logits = 4 * self.spec.inverse_temperature * self.amplitude * bounded
            own, all_codes = bit_entropy(logits), mean_code_entropy(logits)
            terms["entropy"] = self.spec.entropy_weight * (own - self.spec.diversity * all_codes)
        return terms


def bit_entropy(logits: Tensor) -> Tensor:
    """Mean over N of the entropy of independent bits with logits [N d], in nats."""
    each: Tensor = F.softplus(logits) - torch.sigmoid(logits) * logits
    mean: Tensor = each.sum(dim=-1).mean()
    return mean


def mean_code_entropy(logits: Tensor) -> Tensor:
    """Entropy in nats of the mean over N, and over processes, of the products of bits with logits [N d].

    mean_n p_n(high, low) = A^T B / N with the probabilities of the high bits A [N 2^h] and of the low
    bits B [N 2^(d-h)].
    """
    half = logits.shape[-1] // 2
    high, low = _joint(logits[:, :half]), _joint(logits[:, half:])
    p = mean_over_ranks(high.T @ low / len(logits))
    return shannon_entropy(p)


def _joint(logits: Tensor) -> Tensor:
    """Probabilities [N 2^d] of all words of independent bits."""
    table = logits.new_ones(len(logits), 1)
    for logit in logits.unbind(dim=-1):
        p = torch.sigmoid(torch.stack((-logit, logit), dim=-1))
        table = (table[:, :, None] * p[:, None, :]).flatten(1)
    return table
