"""The contract between a job and what runs its tasks: `anycodec.workflows.shards.local` is one executor."""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from anycodec.errors import ResourceError, UserError
from anycodec.workflows.shards.manifest import ShardRecord
from anycodec.workflows.shards.plan import Task

MOST_DEATHS = 3
"""Workers that may die over one file, or before the first one, until it is given up."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A worker is at a file.

    Attributes:
        shard: its number.
        source: the file at hand.
        samples: scalar values that were coded since the last message.
        done: bytes of native files that were finished since then.
        files: how many.
    """

    shard: int
    source: str
    samples: int = 0
    done: int = 0
    files: int = 0


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker died; its shard starts again.

    Attributes:
        shard: its number, None where it had none.
        reason: how it died, and over which file.
    """

    shard: int | None
    reason: str


Event = Progress | Lost | ShardRecord
Report = Callable[[Progress], None]
Work = Callable[[Task, Report], ShardRecord]
"""Writes a shard, reporting each file before it opens it. The same task gives the same bytes."""


class Job(Protocol):
    """What workers do. Picklable."""

    def open(self) -> Work:
        """Prepare, once in each worker: load the codec."""

    def clear(self, shard: int) -> None:
        """Remove what a worker that died over a shard has left behind."""


class Executor(ABC):
    """Runs tasks in worker processes."""

    @abstractmethod
    def run(self, job: Job, tasks: Sequence[Task]) -> Generator[Event, None, None]:
        """Run each task to its end, yielding a `ShardRecord` for each in any order.

        A worker that dies costs its shard, which starts again in a new one. Closing it ends the workers.

        Raises:
            UserError: what a worker could not go on after: a full disk, a damaged run.
        """


@dataclass(frozen=True, slots=True)
class Failure:
    """What a worker could not go on after: a mistake of the user's, or a bug with its traceback."""

    what: str
    where: str | None = None
    how: str | None = None
    bug: bool = False

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """What the exception that is being handled means."""
        if isinstance(error, MemoryError):
            return cls("the machine has too little free memory", how="give fewer --workers")
        if isinstance(error, UserError):
            return cls(error.what, error.where, error.how)
        return cls(traceback.format_exc(), bug=True)

    def error(self) -> Exception:
        """The exception to raise in the job."""
        if self.bug:
            return RuntimeError(f"a worker process failed:\n{self.what}")
        return UserError(self.what, where=self.where, how=self.how)


class Deaths:
    """Decides what becomes of the task of a worker that died."""

    def __init__(self) -> None:
        self._deaths: Counter[tuple[int | None, str | None]] = Counter()

    def of(self, task: Task | None, source: str | None, how: str) -> Task | None:
        """The task to run again, without a file that costs too many workers.

        Args:
            task: what the worker had to do, None = nothing yet.
            source: the file that it was at, None = none yet.
            how: how it died.

        Raises:
            ResourceError: workers die without having opened a file.
        """
        key = (None if task is None else task.number), source
        self._deaths[key] += 1
        if self._deaths[key] < MOST_DEATHS:
            return task
        if task is None or source is None:
            raise ResourceError(
                f"{MOST_DEATHS} worker processes died before they opened a file ({how})",
                how="see whether memory is short: fewer --workers need less",
            )
        reason = f"{MOST_DEATHS} worker processes died over it ({how}): damaged, or too large for the memory"
        return replace(task, barred={**task.barred, source: reason})
