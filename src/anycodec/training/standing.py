"""Where a training stands, and what a validation changes about it."""

from __future__ import annotations

from dataclasses import dataclass

from anycodec.config.train import TrainSpec


@dataclass(slots=True)
class Progress:
    """Where a training stands.

    Attributes:
        step: optimizer steps done.
        best: best value of the chosen metric so far, None before the first validation.
        reference: the value that the next has to beat by `early_stop.min_delta`.
        stale: validations since it was reached.
    """

    step: int = 0
    best: float | None = None
    reference: float | None = None
    stale: int = 0

    def take(self, value: float, spec: TrainSpec) -> bool:
        """Note the chosen metric of a validation; whether it is the best so far."""
        best = _better(value, self.best, spec)
        if best:
            self.best = value
        if _better(value, self.reference, spec, spec.early_stop.min_delta if spec.early_stop else 0.0):
            self.reference, self.stale = value, 0
        else:
            self.stale += 1
        return best

    def exhausted(self, spec: TrainSpec) -> bool:
        """Whether early stopping has ended, or would have ended, the training."""
        return spec.early_stop is not None and self.stale >= spec.early_stop.patience


def _better(value: float, than: float | None, spec: TrainSpec, margin: float = 0.0) -> bool:
    sign = 1 if spec.best.mode == "max" else -1
    return than is None or sign * (value - than) > margin
