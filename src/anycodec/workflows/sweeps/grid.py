"""`--grid KEY=V1,V2`: a setting that varies; each combination of values is a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from anycodec.errors import ConfigError, UserError

_BRACKETS = {"[": 1, "{": 1, "]": -1, "}": -1}


@dataclass(frozen=True, slots=True)
class Axis:
    """A setting that varies.

    Attributes:
        key: dotted.
        values: as they are written in overrides.
    """

    key: str
    values: tuple[str, ...]


def parse_axes(texts: Iterable[str]) -> tuple[Axis, ...]:
    """Axes as given on the command line.

    Raises:
        ConfigError: all texts that are no axis.
    """
    axes: list[Axis] = []
    mistakes: list[UserError] = []
    for text in texts:
        key, _, rest = text.partition("=")
        axis = Axis(key.strip(), split_values(rest))
        wrong = _mistake(axis, axes)
        if wrong:
            how = "for example --grid train.optimizer.lr=1e-4,3e-4"
            mistakes.append(UserError(wrong, where=f"--grid '{text}'", how=how))
        axes.append(axis)
    if mistakes:
        raise ConfigError(mistakes)
    return tuple(axes)


def split_values(text: str) -> tuple[str, ...]:
    """Values between commas; those within brackets belong to lists: `[8,16],[32]` are two."""
    values, depth = [""], 0
    for character in text:
        depth += _BRACKETS.get(character, 0)
        if character == "," and depth == 0:
            values.append("")
        else:
            values[-1] += character
    return tuple(value.strip() for value in values)


def combinations(axes: Sequence[Axis]) -> list[dict[str, str]]:
    """Each combination of values by key; the last axis varies fastest. One, {}, without axes."""
    keys = [axis.key for axis in axes]
    return [dict(zip(keys, values, strict=True)) for values in product(*(axis.values for axis in axes))]


def _mistake(axis: Axis, before: Sequence[Axis]) -> str | None:
    if not axis.key or not all(axis.values):
        return "a grid has the form KEY=VALUE,VALUE"
    if len(set(axis.values)) < len(axis.values):
        return f"a value of {axis.key} is there twice"
    if any(axis.key == other.key for other in before):
        return f"{axis.key} is given twice"
    return None
