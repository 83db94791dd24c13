"""Classes as a condition of encoder and decoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LabelCondition(nn.Module):
    """An embedding of the class, and its part in what the encoder gives and in what the decoder gets.

    Args:
        classes: number of classes K; label K means "no label".
        width: of the embedding.
        moments: channels of the encoder's output.
        latents: channels of the decoder's input.
        dropout: share of the labels that training hides, so that windows without a label work too.
    """

    def __init__(self, classes: int, width: int, moments: int, latents: int, dropout: float) -> None:
        super().__init__()
        self.classes = classes
        self.dropout = dropout
        self.embedding = nn.Embedding(classes + 1, width)
        self.to_moments = nn.Linear(width, moments)
        self.to_latents = nn.Linear(width, latents)

    def known(self, labels: Tensor | None, x: Tensor) -> Tensor:
        """Labels [B] with K for "no label", some more of them hidden in training.

        Args:
            labels: int64 [B], -1 or K = no label; None = none has one.
            x: windows [B ...].
        """
        none = torch.full((len(x),), self.classes, device=x.device)
        if labels is None:
            return none
        hidden = labels < 0
        if self.training and self.dropout:
            hidden = hidden | (torch.rand(len(x), device=x.device) < self.dropout)
        return torch.where(hidden, none, labels)

    def for_moments(self, labels: Tensor) -> Tensor:
        """[B] -> what is added to the encoder's output [B 2z 1 1]."""
        shift: Tensor = self.to_moments(self.embedding(labels))[..., None, None]
        return shift

    def for_latents(self, labels: Tensor) -> Tensor:
        """[B] -> what is added to the decoder's input [B z 1 1]."""
        shift: Tensor = self.to_latents(self.embedding(labels))[..., None, None]
        return shift
