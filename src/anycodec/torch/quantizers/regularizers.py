"""Terms that keep codes in use and apart, in memory that grows with neither N nor K."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from anycodec.torch.quantizers.ranks import mean_over_ranks
from anycodec.torch.quantizers.tiles import row_tiles
from anycodec.torch.quantizers.usage import shannon_entropy


def entropy(z: Tensor, codes: Tensor, temperature: float) -> Tensor:
    """E_n H(p_n) - H(E_n p_n) with p_n = softmax_k(-|z_n - c_k|^2 / temperature), in nats.

    Small where each latent is sure of its code and all codes are used alike (Yu et al. 2023,
    arXiv 2310.05737, eq. 4); the mean runs over the batches of all processes.

    Args:
        z: [N D].
        codes: [K D].
        temperature: in units of squared distance.
    """
    own, use = z.new_zeros(()), z.new_zeros(len(codes))
    for tile in row_tiles(len(z), len(codes)):
        # the table of a tile is computed again for the gradient instead of being kept
        sums = checkpoint(_entropy_sums, z[tile], codes, temperature, use_reentrant=False)
        own, use = own + sums[0], use + sums[1]
    mean = mean_over_ranks(use / len(z))
    return own / len(z) - shannon_entropy(mean)


def _entropy_sums(z: Tensor, codes: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Sums over rows of H(p_n), [], and of p_n, [K]."""
    with torch.autocast(z.device.type, enabled=False):
        half_norm = codes.square().sum(dim=1) / 2
        log_p = F.log_softmax(torch.addmm(half_norm, z, codes.T, alpha=-1) * (-2 / temperature), dim=1)
    p = log_p.exp()
    return -(p * log_p).sum(), p.sum(dim=0)


def orthogonality(codes: Tensor) -> Tensor:
    """Mean squared cosine of two codes (Shin et al. 2021, arXiv 2112.00384), without those of themselves.

    |C C^T|_F^2 / K^2 - 1 / K with rows of C of length one; |C C^T|_F = |C^T C|_F, which is [D D].
    """
    with torch.autocast(codes.device.type, enabled=False):
        unit = F.normalize(codes, dim=1)
        return (unit.T @ unit).square().sum() / len(codes) ** 2 - 1 / len(codes)
