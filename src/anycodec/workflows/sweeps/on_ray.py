"""Trainings on a Ray cluster: each in an actor that holds its share of GPUs or processors.

An actor starts the same process as a sweep of one machine does, and holds its pipe: when the actor ends,
because the sweep or its node is gone, the training writes a checkpoint and leaves. All nodes see the folder
of the sweep.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from anycodec.errors import UserError
from anycodec.workflows.shards.on_ray import cluster, require_ray, unable
from anycodec.workflows.sweeps.launch import Child, Launch, LocalChild
from anycodec.workflows.sweeps.slots import Slot

_PATIENCE = 10.0
"""Seconds that an actor has to end its training at once."""


@contextmanager
def ray_slots(
    address: str | None, gpus: str | None, per_gpu: int, slots: int | None
) -> Iterator[tuple[list[Slot], Launch]]:
    """The slots of a cluster, and what starts trainings in them.

    Args:
        address: as `ray.init` takes it; None = a Ray of this machine.
        gpus: must be None: Ray chooses them.
        per_gpu: trainings on a GPU at a time.
        slots: trainings at a time on processors; None = a GPU each, or one where the cluster has none.

    Raises:
        MissingExtra: Ray is not installed.
        UserError: GPUs by name, or nothing answers at the address.
    """
    require_ray()
    if gpus is not None:
        raise UserError("with --engine ray each run gets a GPU, whichever it is", where="--gpus")
    with cluster(address, None):
        import ray

        there = ray.cluster_resources()
        found = _slots(int(there.get("GPU", 0)), int(there.get("CPU", 1)), per_gpu, slots)
        yield found, _launch


def _slots(gpus: int, processors: int, per_gpu: int, slots: int | None) -> list[Slot]:
    if gpus and slots is None:
        count = gpus * per_gpu
        threads = max(1, processors // count)
        return [Slot(f"ray {number}", threads, number, per_gpu, elsewhere=True) for number in range(count)]
    count = slots or 1
    return [Slot(f"ray {number}", max(1, processors // count)) for number in range(count)]


def _launch(command: Sequence[str], slot: Slot, log: Path, working: str) -> Child:
    import ray

    share = {"num_cpus": slot.threads} if slot.gpu is None else {"num_cpus": 0, "num_gpus": 1 / slot.sharing}
    actor = ray.remote(max_restarts=0, **share)(LocalChild)
    return _RayChild(actor.remote(list(command), slot.environment(), log, working))


class _RayChild:
    """A training of an actor."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._asked: Any = None
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit code; that of SIGKILL where the actor is gone."""
        import ray

        if self._code is not None:
            return self._code
        self._asked = self._asked or self._actor.poll.remote()
        if not ray.wait([self._asked], timeout=0)[0]:
            return None
        try:
            self._code = ray.get(self._asked)
        except ray.exceptions.RayActorError as error:
            if error.actor_init_failed:
                raise unable(error) from error
            self._code = -signal.SIGKILL
        self._asked = None
        if self._code is not None:
            ray.kill(self._actor)  # its GPU or processors are for the next one
        return self._code

    def close(self) -> None:
        if self._code is None:
            self._actor.close.remote()

    def kill(self) -> None:
        import ray

        if self._code is not None:
            return
        with suppress(ray.exceptions.RayError):
            ray.get(self._actor.kill.remote(), timeout=_PATIENCE)
        ray.kill(self._actor)
        self._code = -signal.SIGKILL
