"""The figures of a training while it runs: new rows of its metrics.csv."""

from __future__ import annotations

import csv
import math
import os
from dataclasses import dataclass, field
from pathlib import Path

from anycodec.config.metrics import better


@dataclass(slots=True)
class Curve:
    """What metrics.csv says of one metric.

    Attributes:
        step: the last step logged.
        steps: those at which the metric was measured.
        values: what it was.
    """

    step: int = 0
    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def best(self, metric: str) -> tuple[float, int] | None:
        """The best value and its step, the earliest of equals; None where there is none."""
        sign = 1 if better(metric) == "max" else -1
        found = zip(self.values, self.steps, strict=True)
        return max(found, key=lambda one: (sign * one[0], -one[1]), default=None)


class Follower:
    """Reads what is new in a metrics.csv; starts over where the file was replaced.

    Args:
        path: the file, which may not be there yet.
        metric: the column to follow.
    """

    def __init__(self, path: Path, metric: str) -> None:
        self._path, self._metric = path, metric
        self._file: tuple[int, int] | None = None
        self._header: list[str] = []
        self._offset = 0
        self.curve = Curve()

    def update(self) -> Curve:
        """The curve with all whole rows there are now."""
        try:
            with self._path.open("rb") as file:
                self._start_over_if_replaced(file.fileno())
                file.seek(self._offset)
                text = file.read()
        except FileNotFoundError:
            return self.curve
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        for row in csv.reader(whole.decode("utf-8", "replace").splitlines()):
            self._take(row)
        return self.curve

    def _start_over_if_replaced(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        if self._file != (found.st_dev, found.st_ino) or found.st_size < self._offset:
            self._file = found.st_dev, found.st_ino
            self._header, self._offset, self.curve = [], 0, Curve()

    def _take(self, row: list[str]) -> None:
        if not self._header:
            self._header = row
            return
        figures = dict(zip(self._header, row, strict=False))
        if not figures.get("step", "").isdecimal():
            return
        self.curve.step = int(figures["step"])
        value = _number(figures.get(self._metric, ""))
        if value is not None:
            self.curve.steps.append(self.curve.step)
            self.curve.values.append(value)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
