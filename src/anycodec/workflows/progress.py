"""Progress bars over files, for everything that is not training."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")


def track(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Pass items on, showing how many are done; silent where standard error is no terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn(what),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, disable=not console.is_terminal or total < 2, transient=True
    ) as bar:
        task = bar.add_task(what, total=total)
        for item in items:
            yield item
            bar.advance(task)


class TokenizeBar:
    """Files, samples/s and the time left, by the bytes of native files; silent where there is no terminal.

    Args:
        files: in total.
        size: of them in bytes.
    """

    def __init__(self, files: int, size: int) -> None:
        console = Console(stderr=True)
        columns = (
            TextColumn("tokenizing"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[files]:,}/" + f"{files:,} files"),
            TextColumn("{task.fields[rate]:,.0f} samples/s"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
        self._task = self._bar.add_task("", total=max(1, size), files=0, rate=0.0)
        self._begin = time.perf_counter()
        self._samples = self._files = self._size = 0
        self._shards: dict[int, tuple[int, int]] = {}

    def __enter__(self) -> TokenizeBar:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def advance(self, shard: int, files: int, size: int, samples: int) -> None:
        """Some more of a shard is done."""
        done_files, done_size = self._shards.get(shard, (0, 0))
        self._shards[shard] = done_files + files, done_size + size
        self._add(files, size, samples)

    def start_again(self, shard: int | None) -> None:
        """A shard is lost."""
        if shard is not None:
            files, size = self._shards.pop(shard, (0, 0))
            self._add(-files, -size, 0)

    def _add(self, files: int, size: int, samples: int) -> None:
        self._files += files
        self._size += size
        self._samples += samples
        rate = self._samples / max(1e-9, time.perf_counter() - self._begin)
        self._bar.update(self._task, completed=self._size, files=self._files, rate=rate)


class StepsBar:
    """Steps of a job whose number shows when it begins; silent where there is no terminal."""

    def __init__(self, what: str) -> None:
        console = Console(stderr=True)
        columns = (TextColumn(what), BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
        self._task = self._bar.add_task(what, total=None)

    def __enter__(self) -> StepsBar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def total(self, steps: int) -> None:
        """How many there will be."""
        self._bar.update(self._task, total=steps)

    def advance(self) -> None:
        """One is done."""
        self._bar.advance(self._task)
