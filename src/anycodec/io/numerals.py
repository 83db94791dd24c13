"""Numbers as text: how a column of a CSV writes its numbers, and the way back.

form       example          condition
int        42               no decimals
fixed      1.50  2.25       the same number of decimals everywhere
trimmed    1.5   2.0        no trailing zeros, at least one decimal
general    1.5   2          no trailing zeros, no decimals on whole numbers
shortest   1e-05 0.1        the shortest text that gives the number back (Python, pandas)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

MISSING = ("", "NaN", "nan", "NA", "N/A", "n/a", "null", "NULL", "None", "none", "-nan", "?")
"""Texts that stand for a missing value."""
INFINITE = ("inf", "-inf", "Inf", "-Inf", "Infinity", "-Infinity", "infinity", "-infinity", "INF", "-INF")
"""Texts that stand for an infinite one; treated as missing and written back as they were."""
MOST_DIGITS = 15
"""Decimal numbers of up to 15 digits survive a float64 (IEEE 754)."""

_NUMBER = r"^-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_PADDED = r"^-?0\d"
_FORMS = {
    "int": r"^-?(0|[1-9]\d*)$",
    "fixed": r"^-?(0|[1-9]\d*)\.\d+$",
    "trimmed": r"^-?(0|[1-9]\d*)\.(0|\d*[1-9])$",
    "general": r"^-?(0|[1-9]\d*)(\.\d*[1-9])?$",
}


@dataclass(slots=True)
class Survey:
    """What the cells of a column look like; fed with one chunk after the other.

    Attributes:
        numbers: cells that are numbers.
        missing: missing and infinite cells, by their text.
        texts: other cells.
        first_text: row and content of the first of those.
        padded: whether a number starts with needless zeros, as identifiers do.
    """

    numbers: int = 0
    missing: Counter[str] = field(default_factory=Counter)
    texts: int = 0
    first_text: tuple[int, str] | None = None
    padded: bool = False
    _forms: set[str] = field(default_factory=lambda: set(_FORMS))
    _decimals: set[int] = field(default_factory=set)
    _digits: int = 0

    def feed(self, cells: pa.Array, row: int) -> None:
        """Add cells (text) that start at this row."""
        is_number = pc.match_substring_regex(cells, _NUMBER)
        numbers = cells.filter(is_number)
        self.numbers += len(numbers)
        if len(numbers) < len(cells):
            self._feed_others(cells, pc.invert(is_number), row)
        if len(numbers) and self.numbers >= self.texts:
            self._feed_numbers(numbers)

    @property
    def is_numeric(self) -> bool:
        """Whether it is meant as a column of numbers: most cells are, and they are no identifiers."""
        too_long = "int" in self._forms and self._digits > MOST_DIGITS
        return self.numbers >= self.texts and not self.padded and not (self.numbers and too_long)

    def form(self) -> dict[str, Any]:
        """How to write numbers of this column: the arguments of `write_numbers`."""
        decimals = max(self._decimals, default=0)
        exact = self._digits <= MOST_DIGITS
        if not self.numbers:
            name = "shortest"
        elif "int" in self._forms:
            name = "int"
        elif "fixed" in self._forms and len(self._decimals) == 1 and exact:
            name = "fixed"
        else:
            kept = [form for form in ("trimmed", "general") if form in self._forms and exact]
            name = kept[0] if kept else "shortest"
        spellings = [text for text, _ in self.missing.most_common()]
        return {"form": name, "decimals": decimals, "missing": spellings or [""]}

    def _feed_others(self, cells: pa.Array, other: pa.Array, row: int) -> None:
        for entry in cells.filter(other).value_counts():
            text, count = entry["values"].as_py(), entry["counts"].as_py()
            if text in MISSING or text in INFINITE:
                self.missing[text] += count
                continue
            self.texts += count
            if self.first_text is None:
                self.first_text = (row + pc.index(cells, text).as_py(), text)

    def _feed_numbers(self, numbers: pa.Array) -> None:
        self.padded = self.padded or bool(pc.any(pc.match_substring_regex(numbers, _PADDED)).as_py())
        for form in tuple(self._forms):
            if not pc.all(pc.match_substring_regex(numbers, _FORMS[form])).as_py():
                self._forms.discard(form)
        lengths = pc.binary_length(numbers).to_numpy(zero_copy_only=False)
        points = pc.find_substring(numbers, ".").to_numpy(zero_copy_only=False)
        self._decimals |= {int(d) for d in np.unique(np.where(points < 0, 0, lengths - points - 1))}
        signs = pc.starts_with(numbers, "-").to_numpy(zero_copy_only=False)
        self._digits = max(self._digits, int((lengths - (points >= 0) - signs).max()))


def read_numbers(cells: pa.Array, missing: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Text -> numbers; NaN and the index into `missing` where there is none, -1 elsewhere.

    Raises:
        pa.ArrowInvalid: a cell is neither a number nor in `missing`.
    """
    codes = pc.index_in(cells, pa.array(missing, cells.type)).fill_null(-1)
    codes = codes.to_numpy(zero_copy_only=False).astype(np.int64)
    plain = pc.if_else(pa.array(codes >= 0), "nan", cells) if (codes >= 0).any() else cells
    return plain.cast(pa.float64()).to_numpy(zero_copy_only=False), codes


def write_numbers(
    values: NDArray[np.float64], codes: NDArray[np.int64], form: Mapping[str, Any]
) -> list[str]:
    """Numbers -> text in the form of their column: the inverse of `read_numbers`."""
    name, decimals = form["form"], form["decimals"]
    pattern = f"%.{decimals}f"
    if name == "int":
        texts = [f"{value:.0f}" for value in np.rint(values).tolist()]
    elif name == "fixed":
        texts = [pattern % value for value in values.tolist()]
    elif name == "trimmed":
        texts = [_trim(pattern % value, ".0") for value in values.tolist()]
    elif name == "general":
        texts = [_trim(pattern % value, "") if decimals else pattern % value for value in values.tolist()]
    else:
        texts = [repr(value) for value in values.tolist()]
    spellings = form["missing"]
    for place in np.flatnonzero(codes >= 0).tolist():
        texts[place] = spellings[codes[place]]
    return texts


def _trim(text: str, least: str) -> str:
    whole, _, decimals = text.partition(".")
    decimals = decimals.rstrip("0")
    return f"{whole}.{decimals}" if decimals else whole + least
