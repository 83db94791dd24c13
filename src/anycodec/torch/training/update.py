"""One optimizer's side of a training with two: scaled gradients, clipping, the step, skipped steps."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from anycodec.errors import RunError
from anycodec.torch.parallel.gradients import gradient_mean

PERSISTENT = 20
"""Overflows in a row that end a training: the scale has then fallen by 2^20, below any that would help."""


class Update:
    """The updates of one network.

    Each network has a loss scale of its own: an overflow of one must not weaken the other's gradients,
    and with accumulation neither scale may change between the backward passes of a step.

    Args:
        name: what error messages call the network.
        optimizer: its optimizer.
        clip: largest global gradient norm; None = off.
        scaler: of fp16's gradients, disabled elsewhere.
    """

    def __init__(self, name: str, optimizer: Optimizer, clip: float | None, scaler: GradScaler) -> None:
        self.name = name
        self.optimizer = optimizer
        self.clip = math.inf if clip is None else clip
        self.scaler = scaler
        self.skipped = 0
        self.in_a_row = 0
        self._mean = gradient_mean(self._parameters())

    def expect(self) -> None:
        """The next backward pass is the last one before the step."""
        if self._mean:
            self._mean.expect()

    def scaled(self, loss: Tensor) -> Tensor:
        """What to propagate back in place of `loss`."""
        scaled: Tensor = self.scaler.scale(loss)
        return scaled

    def scale(self, device: torch.device) -> Tensor:
        """The factor of `scaled`."""
        return self.scaled(torch.ones((), device=device))

    def gradient_norm(self) -> Tensor:
        """Average over processes, unscale and clip the gathered gradients; their norm before."""
        if self._mean:
            self._mean.finish()
        self.scaler.unscale_(self.optimizer)
        return nn.utils.clip_grad_norm_(self._parameters(), self.clip)

    def step(self, finite: bool, step: int) -> None:
        """Update the network, or leave it as it is where fp16 overflowed, and forget the gradients.

        Args:
            finite: whether the gradients are; in fp32 and bf16 they must be.
            step: the update's number, for the message.

        Raises:
            RunError: fp16 has overflowed for long.
        """
        self.skipped += not finite
        self.in_a_row = 0 if finite else self.in_a_row + 1
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        if self.in_a_row == PERSISTENT:
            raise RunError(
                f"fp16 overflowed in {PERSISTENT} updates of the {self.name} in a row, up to step {step}",
                where="train.precision",
                how="train in bf16 or fp32; the last checkpoint before it is kept",
            )

    def state_dict(self) -> dict[str, Any]:
        """The state beside the optimizer's own."""
        return {
            "scaler": self.scaler.state_dict(),
            "skipped": self.skipped,
            "in_a_row": self.in_a_row,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        self.skipped, self.in_a_row = state["skipped"], state["in_a_row"]

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
