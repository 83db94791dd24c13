"""The times between which an ordinary differential equation is solved."""

from __future__ import annotations

import torch
from torch import Tensor


def shifted_times(steps: int, shift: float) -> Tensor:
    """s t / (1 + (s - 1) t) of t = 0, 1/steps, .., 1 (arXiv 2403.03206, eq. 23): [steps + 1], on the CPU.

    `shift` s below 1 puts smaller steps near t = 0, 1 leaves them equal.
    """
    t = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    return (shift * t / (1 + (shift - 1) * t)).float()
