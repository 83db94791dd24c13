"""The time of a training."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Clock:
    """Seconds of training without validations, and of those the ones spent waiting for data."""

    seconds: float = 0.0
    waited: float = 0.0
    values: int = 0
    _begin: float = field(default_factory=time.perf_counter)

    def start(self) -> None:
        self._begin = time.perf_counter()

    def pause(self) -> None:
        self.seconds += time.perf_counter() - self._begin
        self._begin = time.perf_counter()

    @property
    def rate(self) -> float:
        """Scalar values of latents a second."""
        return self.values / max(self.seconds + time.perf_counter() - self._begin, 1e-9)
