"""Worker processes on this machine, each with a connection of its own: a dead one blocks no other."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait

from anycodec.workflows.shards.executor import Deaths, Event, Executor, Failure, Job, Lost, Progress
from anycodec.workflows.shards.manifest import ShardRecord
from anycodec.workflows.shards.plan import Task

_SPAWN = get_context("spawn")
_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_PATIENCE = 5.0
"""Seconds that a worker has to leave by itself."""


class LocalExecutor(Executor):
    """Runs tasks in spawned processes of one thread each.

    Args:
        workers: how many at a time.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def run(self, job: Job, tasks: Sequence[Task]) -> Generator[Event, None, None]:
        """Run each task to its end; see `Executor.run`."""
        waiting = deque(tasks)
        deaths = Deaths()
        crew: list[_Worker] = []
        try:
            while waiting or any(worker.task for worker in crew):
                while waiting and (idle := _idle(crew, job, self._workers)):
                    idle.give(waiting.popleft())
                for worker in _ready(crew):
                    event = worker.receive()
                    if isinstance(event, Lost):
                        crew.remove(worker)
                        if worker.task is not None:
                            job.clear(worker.task.number)
                            again = deaths.of(worker.task, worker.source, worker.how)
                            waiting.extendleft([again] if again else [])
                    yield event
        finally:
            for worker in crew:
                worker.dismiss()
                if worker.task is not None:
                    job.clear(worker.task.number)


class _Worker:
    """A process, and what it is at."""

    def __init__(self, job: Job) -> None:
        self.connection, theirs = _SPAWN.Pipe()
        self.task: Task | None = None
        self.source: str | None = None
        self._process = _SPAWN.Process(target=_serve, args=(theirs, job), daemon=True)
        self._process.start()
        theirs.close()

    def give(self, task: Task) -> None:
        self.task, self.source = task, None
        with suppress(OSError):  # it is dead: `receive` will say so
            self.connection.send(task)

    def receive(self) -> Event:
        """Its next message.

        Raises:
            UserError: it could not go on.
        """
        try:
            message: Event | Failure = self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            shard = self.task.number if self.task else None
            return Lost(shard, self.how if self.source is None else f"{self.how}, over {self.source}")
        if isinstance(message, Failure):
            raise message.error()
        if isinstance(message, Progress):
            self.source = message.source
        elif isinstance(message, ShardRecord):
            self.task = None
        return message

    @property
    def how(self) -> str:
        """How it died."""
        code = self._process.exitcode or 0
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def dismiss(self) -> None:
        """End it: at once where it is busy."""
        self.connection.close()
        if self.task is None:
            self._process.join(_PATIENCE)
        self._process.kill()
        self._process.join()
        self._process.close()


def _idle(crew: list[_Worker], job: Job, most: int) -> _Worker | None:
    """A worker without a task: a new one where there is room for it."""
    for worker in crew:
        if worker.task is None:
            return worker
    if len(crew) == most:
        return None
    crew.append(_Worker(job))
    return crew[-1]


def _ready(crew: list[_Worker]) -> list[_Worker]:
    """Wait until a worker has something to say, or is dead."""
    said = wait([worker.connection for worker in crew])
    return [worker for worker in crew if worker.connection in said]


def _serve(connection: Connection, job: Job) -> None:
    """The life of a worker: ends with the connection, whoever closes it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the driver, which ends its workers
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        work = job.open()
        while True:
            connection.send(work(connection.recv(), connection.send))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except Exception as error:
        connection.send(Failure.of(error))
