"""Trellis-coded quantisation of samples, with a price on what is hard to foretell."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from anycodec.config.quantizers.trellis import TrellisSpec
from anycodec.jit import compiled
from anycodec.torch.quantizers.base import Quantized, Quantizer, TokenGrids
from anycodec.torch.quantizers.ranks import sum_over_ranks
from anycodec.torch.quantizers.usage import code_use
from anycodec.trellis import transitions

_ORDER = 16
_COSETS = 4
_FORGETTING = 0.88
_MEMORY = 40
"""Weights of past prediction errors fall by this factor a sample, over so many samples."""
_LEAST_SCALE = 0.3
"""Of the logistic distribution, in steps: no place is surer than the spacing of its codes allows."""


class Trellis(Quantizer):
    """Samples [B 1 T] -> whole numbers v of steps along the cheapest path through the trellis of each window.

        cost = sum_t (x_t / step - v_t)^2 + rate_weight R(|v_t - m_t| / b_t),   R(r) = r + 2 ln(1 + e^-r)

    R is, but for a constant, the negative log likelihood of a logistic distribution around what the samples
    before foretell, m, with a scale b from recent prediction errors: an estimate of what the coder will
    charge (entropy-constrained TCQ, Fischer and Wang 1992). Token = v + K / 2: its value depends on no
    other.
    """

    def __init__(self, spec: TrellisSpec) -> None:
        super().__init__()
        self.step, self.rate_weight = spec.step, spec.rate_weight
        self.codebook_size = spec.codebook_size
        self.transitions = transitions(spec.states)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        return (self.codebook_size,)

    def forward(self, z: Tensor) -> Quantized:
        tokens = self._search(z[:, 0].detach()) + self.codebook_size // 2
        values = self.lookup((tokens,))
        counts = torch.bincount(tokens.flatten(), minlength=self.codebook_size).float()
        stats = code_use(sum_over_ranks(counts) if self.training else counts)
        return Quantized(values + (z - z.detach()), (tokens,), {}, stats)

    def lookup(self, tokens: TokenGrids) -> Tensor:
        (index,) = tokens
        return ((index - self.codebook_size // 2) * self.step)[:, None].float()

    @torch.no_grad()
    def _search(self, z: Tensor) -> Tensor:
        """Whole numbers [B T] of samples [B T]."""
        farthest = self.codebook_size / 2 - _COSETS
        x = (torch.nan_to_num(z.double()) / self.step).clamp(-farthest, farthest)
        numbers, costs = self._branches(x, farthest)
        paths = cheapest_paths(costs.cpu().numpy(), self.transitions)
        chosen = torch.from_numpy(paths).to(z.device)
        return numbers.gather(2, chosen[..., None])[..., 0].long()

    def _branches(self, x: Tensor, farthest: float) -> tuple[Tensor, Tensor]:
        """The best number of each class modulo 4 and its cost, [B T 4] each."""
        cosets = torch.arange(_COSETS, device=x.device, dtype=x.dtype)
        x = x[..., None]
        nearest = _COSETS * torch.round((x - cosets) / _COSETS) + cosets
        distances = (x - nearest).square()
        if self.rate_weight == 0:
            return nearest, distances
        mean, scale = (each[..., None] for each in forecast(x[..., 0]))
        mean = mean.clamp(-farthest, farthest)
        towards = torch.where((mean - nearest).abs() > _COSETS / 2, (mean - nearest).sign() * _COSETS, 0.0)
        other = nearest + towards

        def cost(v: Tensor) -> Tensor:
            r = (v - mean).abs() / scale
            return (x - v).square() + self.rate_weight * (r + 2 * torch.log1p(torch.exp(-r)))

        costs = torch.stack([cost(nearest), cost(other)])
        best = costs.argmin(dim=0)
        return torch.where(best == 0, nearest, other), costs.amin(dim=0)


def forecast(x: Tensor) -> tuple[Tensor, Tensor]:
    """What samples foretell of the next one: mean and scale of a logistic distribution.

    Args:
        x: windows [B T] in steps.

    Returns:
        [B T] each, from earlier samples only but for the coefficients: linear prediction of order 16 by the
        autocorrelation method, and .55 times the mean of recent absolute errors and those of the window.
    """
    past = F.pad(x, (_ORDER, 0))
    lagged = torch.stack([past[:, _ORDER - i : _ORDER - i + x.shape[1]] for i in range(_ORDER + 1)])
    correlations = (lagged * x).sum(dim=2).T
    lags = torch.arange(_ORDER, device=x.device)
    toeplitz = correlations[:, (lags[:, None] - lags).abs()]
    ridge = 1e-6 * correlations[:, :1, None] + 1e-6
    ridge = ridge * torch.eye(_ORDER, device=x.device)
    weights = torch.linalg.solve(toeplitz + ridge, correlations[:, 1:, None])
    mean = torch.einsum("ibt,bi->bt", lagged[1:], weights[..., 0])
    errors = (x - mean).abs()
    ages = torch.arange(_MEMORY - 1, -1, -1, device=x.device, dtype=x.dtype)
    kernel = (1 - _FORGETTING) * _FORGETTING**ages
    recent = F.conv1d(F.pad(errors[:, None, :-1], (_MEMORY, 0)), kernel[None, None])[:, 0]
    scale = 0.55 * (recent + errors.mean(dim=1, keepdim=True)) / 2
    return mean, scale.clamp(min=_LEAST_SCALE)


@compiled
def cheapest_paths(costs: NDArray[np.float64], following: NDArray[np.int64]) -> NDArray[np.int64]:
    """Viterbi's algorithm, window by window.

    Args:
        costs: [B T 4] of each class modulo 4.
        following: [states 2], see `anycodec.trellis.transitions`.

    Returns:
        [B T], the class at each place of the path of lowest cost that begins in state 0.
    """
    batch, length, _ = costs.shape
    states = following.shape[0]
    paths = np.empty((batch, length), np.int64)
    came_from = np.empty((length, states), np.int64)
    total, updated = np.empty(states), np.empty(states)
    for b in range(batch):
        total[:] = np.inf
        total[0] = 0.0
        for t in range(length):
            updated[:] = np.inf
            for state in range(states):
                for z1 in range(2):
                    after = following[state, z1]
                    cost = total[state] + costs[b, t, (state & 1) + 2 * z1]
                    if cost < updated[after]:
                        updated[after] = cost
                        came_from[t, after] = 2 * state + z1
            total[:] = updated
        state = int(np.argmin(total))
        for t in range(length - 1, -1, -1):
            branch = came_from[t, state]
            state = branch >> 1
            paths[b, t] = (state & 1) + 2 * (branch & 1)
    return paths
