"""Open files of a data set, a few at a time, in whichever process needs them."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from anycodec.config.data import DataSpec
from anycodec.io.base import Reader
from anycodec.types import Signal

MOST_OPEN = 16
"""Files that are open at once in a process."""

OpenFile = Callable[[Path, DataSpec], Reader]
"""Opens a file for reading; a module-level function, so that it can be pickled."""


class Readers:
    """Reads parts of signals, keeping the files used last open.

    Pickles and forks as an empty one: each process opens its own files.

    Args:
        source: the settings that files are opened with.
        open_file: how.
    """

    def __init__(self, source: DataSpec, open_file: OpenFile) -> None:
        self._source = source
        self._open_file = open_file
        self._open: OrderedDict[str, Reader] = OrderedDict()
        self._process = os.getpid()

    def fetch(self, path: str, signal: int, start: int, stop: int) -> Signal:
        """Samples or frames [start, stop) of a signal.

        Raises:
            DataError: the file is damaged, or gone since it was found.
        """
        return self._reader(path).fetch(signal, start, stop)

    def close(self) -> None:
        """Close all files; a later `fetch` opens them again."""
        while self._open:
            self._open.popitem()[1].close()

    def _reader(self, path: str) -> Reader:
        if self._process != os.getpid():  # forked: the parent's files share their positions with it
            self._open, self._process = OrderedDict(), os.getpid()
        if path not in self._open:
            self._open[path] = self._open_file(Path(path), self._source)
            if len(self._open) > MOST_OPEN:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(path)
        return self._open[path]

    def __getstate__(self) -> dict[str, Any]:
        return {
            "_source": self._source,
            "_open_file": self._open_file,
            "_open": OrderedDict(),
            "_process": -1,
        }
