"""`--search KEY=LOW..HIGH`: a setting for which a search chooses values."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from anycodec.errors import ConfigError, UserError
from anycodec.workflows.sweeps.grid import split_values


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers between two bounds, both included.

    Attributes:
        key: dotted.
        low: smallest.
        high: largest.
        log: whether every factor is as likely, not every difference.
        whole: whole numbers only.
    """

    key: str
    low: float
    high: float
    log: bool
    whole: bool

    def extremes(self) -> tuple[str, ...]:
        """The bounds as override values."""
        return self.text(self.low), self.text(self.high)

    def text(self, value: float) -> str:
        """A number of it as an override value."""
        return str(int(value)) if self.whole else f"{value:.6g}"


@dataclass(frozen=True, slots=True)
class Choices:
    """Some values.

    Attributes:
        key: dotted.
        values: as they are written in overrides.
    """

    key: str
    values: tuple[str, ...]

    def extremes(self) -> tuple[str, ...]:
        """All of them."""
        return self.values

    def text(self, value: str) -> str:
        """One of them as an override value."""
        return value


Searched = Range | Choices


def parse_ranges(texts: Iterable[str]) -> tuple[Searched, ...]:
    """Ranges as given on the command line: `KEY=LOW..HIGH`, `KEY=LOW..HIGH:log`, `KEY=V,V,V`.

    Numbers are whole where both bounds are written so.

    Raises:
        ConfigError: all texts that are no range.
    """
    found: list[Searched] = []
    mistakes: list[UserError] = []
    for text in texts:
        try:
            found.append(_parse(text))
            if [one.key for one in found].count(found[-1].key) > 1:
                raise ValueError(f"{found[-1].key} is given twice")
        except ValueError as error:
            how = "for example --search train.optimizer.lr=1e-5..1e-3:log, or KEY=8,16,32"
            mistakes.append(UserError(str(error), where=f"--search '{text}'", how=how))
    if mistakes:
        raise ConfigError(mistakes)
    return tuple(found)


def _parse(text: str) -> Searched:
    key, equals, rest = text.partition("=")
    key = key.strip()
    if not equals or not key or not rest:
        raise ValueError("a range has the form KEY=LOW..HIGH or KEY=VALUE,VALUE")
    low, dots, high = rest.partition("..")
    if not dots:
        values = split_values(rest)
        if not all(values) or len(set(values)) < max(2, len(values)):
            raise ValueError("a search needs two or more different values")
        return Choices(key, values)
    high, colon, scale = high.partition(":")
    if colon and scale != "log":
        raise ValueError(f"{scale!r} is no scale; there is log")
    bounds = _number(low), _number(high)
    if bounds[0] >= bounds[1] or (colon and bounds[0] <= 0):
        raise ValueError(
            "the lower bound is above the upper one" if not colon else "log needs 0 < LOW < HIGH"
        )
    return Range(
        key, low=bounds[0], high=bounds[1], log=bool(colon), whole=_is_whole(low) and _is_whole(high)
    )


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is no bound")
    return value


def _is_whole(text: str) -> bool:
    return text.strip().lstrip("+-").isdecimal()
