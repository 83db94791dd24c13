"""Values as text, for people and pipes."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anycodec.types import Signal

ROWS = 2**13
"""Rows that become text at once."""


def rows(
    segments: Iterable[Signal], native: Callable[[Signal], NDArray[Any]], *, several: bool
) -> Iterator[str]:
    """Series [T C] as CSV: a column a channel under its name, missing values empty.

    Args:
        segments: in order.
        native: gives the values of a segment as the user knows them.
        several: the file has many signals: their ids come in a column before.
    """
    header: list[str] | None = None
    for segment in segments:
        names = [*(["signal"] if several else []), *segment.info.channels]
        if header is None:
            header = names
            yield line(names)
        values = native(segment)
        for start in range(0, len(values), ROWS):
            cells = texts(values[start : start + ROWS])
            lead = [segment.info.id] if several else []
            yield "".join(line([*lead, *row]) for row in cells)


def line(cells: Iterable[str]) -> str:
    """A row of CSV."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()


def texts(values: NDArray[Any]) -> list[list[str]]:
    """Numbers [T C] as the shortest texts that name them in their type, NaN as nothing."""
    cells: list[list[str]] = values.astype(str).tolist()
    if values.dtype.kind == "f":
        for row, column in np.argwhere(np.isnan(values)).tolist():
            cells[row][column] = ""
    return cells
