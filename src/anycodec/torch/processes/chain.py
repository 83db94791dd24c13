"""The chain of a diffusion: how much of the data is left after each step.

Throughout, k = 0 ... 999 are the steps towards noise, p_k = prod_{i <= k} (1 - beta_i) is the power of
the data in x_k, 1 - p_k that of the noise; k = -1 is the data itself, with p = 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

STEPS = 1000

_LINEAR = (1e-4, 0.02)
"""First and last beta of DDPM (arXiv 2006.11239, section 4)."""
_SCALED_LINEAR = (0.0015, 0.0195)
"""Those of latent diffusion (arXiv 2112.10752, published configurations)."""
_COSINE_OFFSET = 0.008
_LARGEST_BETA = 0.999
"""Of the squared cosine (arXiv 2102.09672, eq. 17)."""

_LEAST_SIGNAL_TO_NOISE = math.exp(-2 * 5.1)
"""p / (1 - p) where sampling starts: where the squared cosine has less, an error of the predicted noise
is multiplied a hundredfold (DPM-Solver's lambda >= -5.1, arXiv 2206.00927, appendix)."""


def data_powers(betas: str) -> Tensor:
    """p_k [1000], float64, of the schedule `linear`, `scaled_linear` or `squared_cosine`."""
    return torch.cumprod(1 - _betas(betas), 0)


def _betas(schedule: str) -> Tensor:
    if schedule == "linear":
        return torch.linspace(*_LINEAR, STEPS, dtype=torch.float64)
    if schedule == "scaled_linear":
        first, last = (math.sqrt(beta) for beta in _SCALED_LINEAR)
        return torch.linspace(first, last, STEPS, dtype=torch.float64).square()
    times = torch.linspace(0, 1, STEPS + 1, dtype=torch.float64)
    power = torch.cos((times + _COSINE_OFFSET) / (1 + _COSINE_OFFSET) * math.pi / 2).square()
    return (1 - power[1:] / power[:-1]).clamp(max=_LARGEST_BETA)


def most_steps(powers: Tensor) -> int:
    """Steps of the chain with enough data left to start sampling there."""
    return int((powers / (1 - powers) >= _LEAST_SIGNAL_TO_NOISE).sum())


def visited(powers: Tensor, steps: int) -> list[int]:
    """The k of `steps` equal steps from noise to data; -1, where they end, is left out."""
    ks = torch.linspace(most_steps(powers) - 1, -1, steps + 1, dtype=torch.float64)[:-1]
    return [round(k) for k in ks.tolist()]
