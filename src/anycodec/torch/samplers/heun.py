"""Heun's method for dx/dt = v(x, t), the explicit trapezoidal rule."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor


def heun(velocity: Callable[[Tensor, Tensor], Tensor], x: Tensor, times: Tensor) -> Tensor:
    """Follow the mean of the velocities before and after a step of Euler's, from each time to the next.

    Args:
        velocity: of points [B ...] at times [B].
        x: [B ...] at the first time.
        times: [steps + 1].

    Returns:
        [B ...] at the last time.
    """
    for now, then in pairwise(times.tolist()):
        step = then - now
        first = velocity(x, x.new_full((len(x),), now)).to(x.dtype)
        second = velocity(x + step * first, x.new_full((len(x),), then)).to(x.dtype)
        x = x + step / 2 * (first + second)
    return x
