"""FSQ: each channel rounded to a few levels (Mentzer et al. 2023, arXiv 2309.15505)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from anycodec.config.quantizer import FsqSpec
from anycodec.torch.quantizers.implicit import ImplicitQuantizer
from anycodec.torch.quantizers.ranks import mean_over_ranks
from anycodec.torch.quantizers.usage import shannon_entropy

_MARGIN = 1e-3
"""How far bounded latents go beyond the outer levels, so that rounding reaches them."""
_SOFTNESS = 0.5
"""Squared distance, in levels, over which a channel's hold on a level falls by a factor of e."""


class Fsq(ImplicitQuantizer):
    """q_i = round(b_i) / floor(L_i / 2), b_i = h_i tanh(z_i + s_i) - o_i,

    with h = (L - 1)(1 + margin) / 2, o = 1/2 for even L (else 0) and s = atanh(o / h), so that 0 maps
    to 0. `symmetric`: q_i = 2 floor((L_i - 1)(tanh(z_i) + 1) / 2 + 1/2) / (L_i - 1) - 1. The gradient
    passes the rounding as if it were not there. Channel 0 is the least significant digit of a token.
    `bound: clip` has no tanh: the nearest level. loss = -w H(code) over a batch, see `mean_code_entropy`.
    """

    counts: Tensor
    places: Tensor

    def __init__(self, spec: FsqSpec, dim: int) -> None:
        super().__init__(dim, spec.code_dim, spec.codebook_size)
        self.entropy_weight = spec.entropy_weight
        self.symmetric, self.clip = spec.symmetric, spec.bound == "clip"
        counts = torch.tensor(spec.levels)
        places = torch.cumprod(torch.tensor((1, *spec.levels[:-1])), dim=0)
        self.register_buffer("counts", counts, persistent=False)
        self.register_buffer("places", places, persistent=False)

    def squash(self, z: Tensor) -> Tensor:
        return torch.tanh(z)

    @property
    def shrinkage(self) -> Tensor:
        return 1 / (self.counts - 1)

    def bound(self, z: Tensor) -> Tensor:
        """Levels before rounding: -floor(L/2) .. floor((L-1)/2), or 0 .. L-1 if symmetric."""
        if self.symmetric:
            inside = z.clamp(-1, 1) if self.clip else torch.tanh(z)
            return (self.counts - 1) * (inside + 1) / 2
        if self.clip:
            return torch.clamp(z * (self.counts // 2), -(self.counts // 2), (self.counts - 1) // 2)
        half = (self.counts - 1) * (1 + _MARGIN) / 2
        offset = torch.where(self.counts % 2 == 0, 0.5, 0.0)
        return torch.tanh(z + torch.atanh(offset / half)) * half - offset

    def index_of(self, bounded: Tensor) -> Tensor:
        digits = torch.floor(bounded + 0.5) if self.symmetric else torch.round(bounded) + self.counts // 2
        return (digits.long() * self.places).sum(dim=-1)

    def codes_of(self, index: Tensor) -> Tensor:
        digits = index[..., None] // self.places % self.counts
        if self.symmetric:
            return digits * 2 / (self.counts - 1) - 1
        return (digits - self.counts // 2) / (self.counts // 2)

    def gradient_path(self, bounded: Tensor) -> Tensor:
        return bounded * 2 / (self.counts - 1) if self.symmetric else bounded / (self.counts // 2)

    def losses(self, bounded: Tensor, q: Tensor) -> dict[str, Tensor]:
        if self.entropy_weight == 0:
            return {}
        lowest = 0 if self.symmetric else -(self.counts // 2)
        return {"entropy": -self.entropy_weight * mean_code_entropy(bounded - lowest, self.counts.tolist())}


def mean_code_entropy(position: Tensor, counts: Sequence[int]) -> Tensor:
    """Entropy in nats of the mean over N, and over processes, of the products of soft levels.

    p_i(l) = softmax_l(-(x_i - l)^2 / softness) for channel i; mean_n prod_i p_i = A^T B / N with the
    products of the first channels A [N K'] and of the last B [N K/K'].

    Args:
        position: bounded latents [N d] from 0 to L_i - 1.
        counts: L_i.
    """
    half = len(counts) // 2
    first, last = _joint(position[:, :half], counts[:half]), _joint(position[:, half:], counts[half:])
    return shannon_entropy(mean_over_ranks(first.T @ last / len(position)))


def _joint(position: Tensor, counts: Sequence[int]) -> Tensor:
    """Probabilities [N prod L] of all combinations of levels."""
    table = position.new_ones(len(position), 1)
    for x, count in zip(position.unbind(dim=1), counts, strict=True):
        levels = torch.arange(count, device=position.device)
        p = torch.softmax(-(x[:, None] - levels).square() / _SOFTNESS, dim=1)
        table = (table[:, :, None] * p[:, None, :]).flatten(1)
    return table
