"""Numbers of a channel that holds few of those in its range, as the steps of a meter: k is their rank.

value = n_k / 10^d   of n_0 < n_1 < .. in the file, k cut to those
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream.fields import Damaged, FieldReader, FieldWriter

Integers = NDArray[np.int64]

MOST_LISTED = 2**16
"""Numbers of a channel that a reader accepts."""
MOST_TOGETHER = 2**16
"""Numbers of all channels of a segment that an encoder lists."""
_MOST_WRITTEN = 2**12
_SPARSE = 4
"""Steps from one number to the next, on average, from which a list pays."""
_USED = 4
"""Values for each number of the list, at least."""


@dataclass(frozen=True, slots=True, eq=False)
class Listed:
    """A channel of decimal fractions with `places` places.

    Attributes:
        whole: [c] the values that occur, in units of the last place, from the lowest.
        places: decimal places.
    """

    whole: Integers
    places: int

    @classmethod
    def of(cls, whole: Integers, places: int) -> Listed | None:
        """The list of whole numbers [n]; None where it would not pay."""
        found = np.unique(whole)
        few = 0 < len(found) <= min(_MOST_WRITTEN, len(whole) // _USED)
        sparse = few and int(found[-1]) - int(found[0]) >= _SPARSE * len(found)
        return cls(found, places) if sparse else None

    def ranks(self, whole: Integers) -> Integers:
        """k of whole numbers that are in the list."""
        return np.searchsorted(self.whole, whole).astype(np.int64)

    def values(self, numbers: Integers) -> NDArray[Any]:
        """The values of these k."""
        whole = self.whole[np.clip(numbers, 0, len(self.whole) - 1)]
        return whole if self.places == 0 else whole / 10.0**self.places

    def write(self, fields: FieldWriter) -> None:
        """Append it, without the byte that tells its kind."""
        fields.byte(self.places)
        fields.uint(len(self.whole))
        fields.sint(int(self.whole[0]))
        for gap in np.diff(self.whole).tolist():
            fields.uint(gap - 1)

    @classmethod
    def read(cls, fields: FieldReader, most_places: int, largest: int) -> Listed:
        """Inverse of `write`; `largest` is the largest size of a number.

        Raises:
            Damaged: not such a list.
        """
        places, count = fields.byte(), fields.uint(MOST_LISTED, "numbers of a list")
        if places > most_places or not count:
            raise Damaged("a list of numbers out of bounds")
        whole = [fields.sint(largest, "first number of a list")]
        for _ in range(count - 1):
            whole.append(whole[-1] + 1 + fields.uint(2 * largest, "number of a list"))
        if whole[-1] > largest:
            raise Damaged("a list of numbers out of bounds")
        return cls(np.array(whole, np.int64), places)
