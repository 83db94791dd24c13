"""Where a training stands, and what a validation changes about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from anycodec.config.metrics import STEP, better
from anycodec.config.train import TrainSpec
from anycodec.engine import Best


@dataclass(slots=True)
class Progress:
    """Where a training stands; plain data inside, so that any format can store it.

    Attributes:
        step: optimizer steps done.
        bests: the best value of each of `train.kept_metrics`, {} before the first validation.
        reference: the value of `train.best.metric` that the next has to beat by `early_stop.min_delta`.
        stale: validations since it was reached.
    """

    step: int = 0
    bests: dict[str, Best] = field(default_factory=dict)
    reference: float | None = None
    stale: int = 0

    def take(self, figures: Mapping[str, float], spec: TrainSpec) -> list[str]:
        """Note a validation; the metrics of `spec.kept_metrics` that were never as good."""
        figures = {**figures, STEP: self.step}
        improved = [
            metric
            for metric in spec.kept_metrics
            if metric not in self.bests or _gain(metric, figures[metric], self.bests[metric]["value"]) > 0
        ]
        self.bests |= {metric: Best(value=figures[metric], step=self.step) for metric in improved}
        value, margin = figures[spec.best.metric], spec.early_stop.min_delta if spec.early_stop else 0.0
        if self.reference is None or _gain(spec.best.metric, value, self.reference) > margin:
            self.reference, self.stale = value, 0
        else:
            self.stale += 1
        return improved

    def exhausted(self, spec: TrainSpec) -> bool:
        """Whether early stopping has ended, or would have ended, the training."""
        return spec.early_stop is not None and self.stale >= spec.early_stop.patience


def praise(improved: Sequence[str], spec: TrainSpec) -> str:
    """What the line of a validation says of metrics that were never as good."""
    others = [metric for metric in improved if metric != spec.best.metric]
    return "  best" * (spec.best.metric in improved) + "".join(f"  best {metric}" for metric in others)


def _gain(metric: str, value: float, than: float) -> float:
    """By how much a value is better than another."""
    return value - than if better(metric) == "max" else than - value
