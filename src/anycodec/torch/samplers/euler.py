"""Euler's method for dx/dt = v(x, t)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor


def euler(velocity: Callable[[Tensor, Tensor], Tensor], x: Tensor, times: Tensor) -> Tensor:
    """Follow the velocity: x + h v(x, t) from each time t to the next, t + h.

    Args:
        velocity: of points [B ...] at times [B].
        x: [B ...] at the first time.
        times: [steps + 1].

    Returns:
        [B ...] at the last time.
    """
    for now, then in pairwise(times.tolist()):
        x = x + (then - now) * velocity(x, x.new_full((len(x),), now)).to(x.dtype)
    return x
