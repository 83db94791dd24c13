"""What a table file is, to `anycodec.io.table`: rows that can be read and written in stretches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from anycodec.errors import DataError

Numbers = tuple[NDArray[np.float64], NDArray[np.int64]]
"""Values, NaN where missing, and the kind of missing value (an index; -1 where there is a value)."""


class Rows(ABC):
    """An open table.

    Attributes:
        names: names of the columns.
        n_rows: number of rows.
        numeric: positions of columns that hold numbers a float64 can hold.
    """

    names: tuple[str, ...]
    n_rows: int
    numeric: tuple[int, ...]

    @abstractmethod
    def read(self, start: int, stop: int) -> list[pa.Array]:
        """Columns of the rows [start, stop)."""

    @abstractmethod
    def numbers(self, position: int, column: pa.Array) -> Numbers:
        """The values of a numeric column."""

    @abstractmethod
    def check(self, position: int) -> None:
        """Raise a DataError that says where, if this column holds something else than numbers."""

    @abstractmethod
    def dtype(self, position: int) -> str:
        """NumPy name of the type that a numeric column is stored in."""

    @abstractmethod
    def meta(self) -> dict[str, Any]:
        """What `RowWriter` needs."""

    @abstractmethod
    def close(self) -> None: ...


class RowWriter(ABC):
    """A table being written. Use as a context manager."""

    most_rows: ClassVar[int]
    """Rows to write at once."""

    @abstractmethod
    def column(self, position: int, values: NDArray[np.float64], kinds: NDArray[np.int64]) -> pa.Array:
        """A numeric column: the inverse of `Rows.numbers`."""

    @abstractmethod
    def kind(self, position: int) -> pa.DataType:
        """Type of a column."""

    @abstractmethod
    def write(self, columns: Sequence[pa.Array]) -> None:
        """Append rows."""

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def damage(path: Path, kind: str) -> Iterator[None]:
    """Turn what pyarrow raises on damaged files into a DataError."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError("the file does not exist", where=str(path)) from error
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, OverflowError) as error:
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"not a usable {kind} file, it is truncated, damaged or of another kind ({detail})",
            where=str(path),
            how="repair it, or leave it out with data.exclude",
        ) from error


def json_map(mapping: Mapping[int, Any]) -> dict[str, Any]:
    """Keys of JSON are text."""
    return {str(key): value for key, value in mapping.items()}
