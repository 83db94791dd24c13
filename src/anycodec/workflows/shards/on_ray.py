"""Worker processes on a Ray cluster, or on a Ray of this machine alone.

An actor a worker, which Ray never restarts: what becomes of the task of a dead one is decided here, as for
local workers. Workers say which file they are about to open to an actor that survives them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from anycodec.errors import MissingExtra, ResourceError, UserError
from anycodec.workflows.shards.executor import Deaths, Event, Executor, Failure, Job, Lost, Progress, Work
from anycodec.workflows.shards.manifest import ShardRecord
from anycodec.workflows.shards.plan import Task

_PAUSE = 0.3
"""Seconds between looks at what workers say."""
_HOW = "its process died"


class RayExecutor(Executor):
    """Runs tasks in actors of one processor each, or of one GPU each.

    Args:
        workers: how many at a time; None = one a processor, or one a GPU, of the cluster.
        address: of the cluster, as `ray.init` takes it; None = a Ray of this machine.
        device: cuda = workers ask for a GPU each; auto = where the cluster has GPUs.

    Raises:
        MissingExtra: Ray is not installed.
    """

    def __init__(
        self, workers: int | None, address: str | None, device: Literal["auto", "cpu", "cuda"]
    ) -> None:
        require_ray()
        self._workers, self._address, self._device = workers, address, device

    def run(self, job: Job, tasks: Sequence[Task]) -> Generator[Event, None, None]:
        """Run each task to its end; see `Executor.run`."""
        with cluster(self._address, self._workers):
            gpus = _gpus_a_worker(self._device)
            crew = _Crew(job, self._workers or _room(gpus), gpus)
            try:
                yield from crew.run(tasks)
            finally:
                crew.dismiss()


class _Crew:
    """The workers of a job, and the ledger in which they note their files."""

    def __init__(self, job: Job, most: int, gpus: int) -> None:
        import ray

        self._job, self._most = job, most
        self._ledger = ray.remote(num_cpus=0)(_Ledger).remote()
        self._actor = ray.remote(num_cpus=0 if gpus else 1, num_gpus=gpus, max_restarts=0)(_Actor)
        self._workers: list[_Worker] = []

    def run(self, tasks: Sequence[Task]) -> Iterator[Event]:
        """Run each task to its end."""
        waiting, deaths = deque(tasks), Deaths()
        while waiting or any(worker.task for worker in self._workers):
            while waiting and (idle := self._idle()):
                idle.give(waiting.popleft())
            ended = self._wait()
            yield from self._news()
            for worker in ended:
                event = worker.result()
                if isinstance(event, Lost):
                    self._workers.remove(worker)
                    if worker.task is not None:
                        self._job.clear(worker.task.number)
                        again = deaths.of(worker.task, worker.source, _HOW)
                        waiting.extendleft([again] if again else [])
                yield event

    def dismiss(self) -> None:
        """End all workers now."""
        import ray

        for worker in self._workers:
            ray.kill(worker.actor)
            if worker.task is not None:
                self._job.clear(worker.task.number)
        ray.kill(self._ledger)

    def _idle(self) -> _Worker | None:
        for worker in self._workers:
            if worker.task is None:
                return worker
        if len(self._workers) == self._most:
            return None
        self._workers.append(_Worker(self._actor.remote(self._job, self._ledger)))
        return self._workers[-1]

    def _wait(self) -> list[_Worker]:
        """Workers whose task came to an end, after a pause at most."""
        import ray

        busy = {worker.future: worker for worker in self._workers if worker.task}
        ready, _ = ray.wait(list(busy), timeout=_PAUSE)
        return [busy[future] for future in ready]

    def _news(self) -> Iterator[Progress]:
        """What workers have said.

        Raises:
            ResourceError: the ledger is gone.
        """
        import ray

        try:
            found: list[Progress] = ray.get(self._ledger.take.remote())
        except ray.exceptions.RayActorError as error:
            raise ResourceError(
                "the Ray cluster has lost the process that follows the job",
                how="give the same command again; finished shards stay as they are",
            ) from error
        for progress in found:
            for worker in self._workers:
                if worker.task is not None and worker.task.number == progress.shard:
                    worker.source = progress.source
            yield progress


class _Worker:
    """An actor, and what it is at."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self.task: Task | None = None
        self.source: str | None = None
        self.future: Any = None

    def give(self, task: Task) -> None:
        self.task, self.source = task, None
        self.future = self.actor.work.remote(task)

    def result(self) -> Event:
        """What its task came to.

        Raises:
            UserError: it could not go on.
            ResourceError: it could not begin.
        """
        import ray

        try:
            found: ShardRecord | Failure = ray.get(self.future)
        except ray.exceptions.RayActorError as error:
            if error.actor_init_failed:
                raise unable(error) from error
            shard = self.task.number if self.task else None
            return Lost(shard, _HOW if self.source is None else f"{_HOW}, over {self.source}")
        if isinstance(found, Failure):
            raise found.error()
        self.task = None
        return found


class _Ledger:
    """Keeps what workers say until the job asks."""

    def __init__(self) -> None:
        self._said: list[Progress] = []

    def note(self, progress: Progress) -> None:
        """A worker says something."""
        self._said.append(progress)

    def take(self) -> list[Progress]:
        """All that is new."""
        said, self._said = self._said, []
        return said


class _Actor:
    """A worker process: prepares once, then does task after task."""

    def __init__(self, job: Job, ledger: Any) -> None:
        self._job, self._ledger = job, ledger
        self._work: Work | None = None

    def work(self, task: Task) -> ShardRecord | Failure:
        """Do a task."""
        try:
            self._work = self._work or self._job.open()
            return self._work(task, self._report)
        except Exception as error:
            return Failure.of(error)

    def _report(self, progress: Progress) -> None:
        import ray

        noted = self._ledger.note.remote(progress)
        if not (
            progress.samples or progress.files
        ):  # it may die over the file: first make sure that this is known
            ray.get(noted)


def require_ray() -> None:
    """Go on only where Ray is installed.

    Raises:
        MissingExtra: it is not.
    """
    try:
        import ray  # noqa: F401
    except ImportError as error:
        raise MissingExtra("Ray", "ray") from error


def unable(error: Exception) -> ResourceError:
    """The error of a node on which workers can't begin."""
    lines = str(error).strip().splitlines()
    return ResourceError(
        f"a Ray worker could not begin: {lines[-1].strip()}",
        how="every node needs the same Python, with anycodec and its extras installed",
    )


@contextmanager
def cluster(address: str | None, workers: int | None) -> Iterator[None]:
    """A connection to Ray, unless this process has one already.

    Raises:
        UserError: nothing answers at the address.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    try:
        local = {} if address else {"num_cpus": workers, "include_dashboard": False}
        ray.init(address=address or "local", log_to_driver=False, logging_level="error", **local)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"no Ray cluster answers: {reason}",
            where=f"--address {address}" if address else None,
            how="start one (ray start --head) and give its address, or leave --address out",
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _gpus_a_worker(device: str) -> int:
    """1 where workers compute on GPUs.

    Raises:
        UserError: the cluster has none.
    """
    import ray

    there = ray.cluster_resources().get("GPU", 0)
    if device == "cuda" and not there:
        raise UserError("the Ray cluster has no GPU", where="--device cuda", how="take --device cpu")
    return int(device != "cpu" and there >= 1)


def _room(gpus: int) -> int:
    import ray

    return max(1, int(ray.cluster_resources().get("GPU" if gpus else "CPU", 1)))
