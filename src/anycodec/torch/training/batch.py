"""What a step of a training gets."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Labelled(NamedTuple):
    """Windows with their classes.

    Attributes:
        windows: [B C *s].
        labels: int64 [B], -1 = no class.
    """

    windows: Tensor
    labels: Tensor


Batch = Tensor | Labelled
"""Windows [B C *s], with labels where the codec looks at them."""


def windows_of(batch: Batch) -> Tensor:
    """[B C *s]."""
    return batch.windows if isinstance(batch, Labelled) else batch


def labels_of(batch: Batch) -> Tensor | None:
    """[B], None where the codec does not look at them."""
    return batch.labels if isinstance(batch, Labelled) else None


def moved(batch: Batch, device: torch.device) -> Batch:
    """The batch on a device."""
    if isinstance(batch, Labelled):
        return Labelled(batch.windows.to(device), batch.labels.to(device))
    return batch.to(device)
