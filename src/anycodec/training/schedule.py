"""Learning-rate schedules as a factor of the peak rate, a pure function of the step."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Protocol

from anycodec.config.train import (
    CosineSchedule,
    ExponentialSchedule,
    OptimizerSpec,
    ScheduleSpec,
    StagedSchedule,
)


class Scheduled(Protocol):
    """A training loop's spec: what the learning rate depends on."""

    @property
    def steps(self) -> int: ...

    @property
    def schedule(self) -> ScheduleSpec: ...

    @property
    def optimizer(self) -> OptimizerSpec: ...


def schedule_factor(spec: Scheduled) -> Callable[[int], float]:
    """Map a step (0 = the first update) to lr / peak lr.

    Warm-up: (step + 1) / warmup. Cosine: from 1 at the end of warm-up to final_lr / lr at the last
    step (Loshchilov 2017, eq. 5). Exponential: gamma^(steps // every). Stages: a rate each.
    """
    schedule, peak = spec.schedule, spec.optimizer.lr

    def factor(step: int) -> float:
        if isinstance(schedule, StagedSchedule):
            warm = min(1.0, (step + 1) / max(1, schedule.warmup))
            stage = stage_at([stage.share for stage in schedule.stages], step, spec.steps)
            return warm * schedule.stages[stage].lr / peak
        if step < schedule.warmup:
            return (step + 1) / schedule.warmup
        if isinstance(schedule, CosineSchedule):
            span = max(1, spec.steps - 1 - schedule.warmup)
            progress = min(1.0, (step - schedule.warmup) / span)
            floor = schedule.final_lr / peak
            return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))
        if isinstance(schedule, ExponentialSchedule):
            return schedule.gamma ** (step // schedule.every)
        return 1.0

    return factor


def stage_at(shares: Sequence[float], step: int, steps: int) -> int:
    """The stage that a step is in, where each stage has its share of all steps."""
    ends = [round(steps * end / sum(shares)) for end in accumulate(shares)]
    return min(bisect_right(ends, step), len(shares) - 1)
