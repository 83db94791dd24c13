"""Feature matching."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def feature_matching(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Mean over layers of mean |D_i(x) - D_i(x^)|, no gradient through D_i(x) (Larsen 2016; Wang 2018).

    Args:
        real: features of the windows, a tensor a layer.
        fake: those of their reconstructions.
    """
    distances = [(f.float() - r.detach().float()).abs().mean() for r, f in zip(real, fake, strict=True)]
    return torch.stack(distances).mean()
