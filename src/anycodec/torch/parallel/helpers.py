"""The other processes of this machine: started, watched, ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from anycodec.errors import ResourceError
from anycodec.torch.parallel.place import Place

_POLL = 0.1
"""Seconds between looks at the helpers."""
_GRACE = 5.0
"""Seconds in which this process must notice that another is gone; with NCCL it may wait for ever."""
_FAREWELL = 30.0
"""Seconds that helpers have to end once the training has."""
_EXIT_USER = 2


class Helpers:
    """A process for each further device of this machine; a context around the training.

    Each holds a pipe to this process, and ends when it breaks.

    Args:
        place: of this process.
        port: where the first process listens.
    """

    def __init__(self, place: Place, port: int) -> None:
        self._place, self._port = place, port
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look, name="anycodec-helpers", daemon=True)

    def __enter__(self) -> Self:
        for number in range(1, self._place.local_size):
            self._processes[self._place.rank + number] = self._start(number)
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for process in self._processes.values():
            if kind is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_FAREWELL)
            assert process.stdin is not None
            process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE)
            process.kill()
            process.wait()

    def lost(self) -> ResourceError | None:
        """A helper that was killed."""
        for rank, process in self._processes.items():
            code = process.poll()
            if code is not None and code < 0:
                return ResourceError(
                    f"process {rank} of {self._place.size} was killed ({signal.Signals(-code).name}), "
                    "perhaps for want of memory",
                    where="train.devices",
                    how="continue with --resume; lower train.batch_size or use fewer devices",
                )
        return None

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        place = self._place
        told = {
            "RANK": place.rank + number,
            "WORLD_SIZE": place.size,
            "LOCAL_RANK": number,
            "LOCAL_WORLD_SIZE": place.local_size,
            "MASTER_ADDR": place.address,
            "MASTER_PORT": self._port,
        }
        return subprocess.Popen(
            [sys.executable, "-m", "anycodec.torch.parallel.helper"],
            stdin=subprocess.PIPE,
            env=os.environ | {key: str(value) for key, value in told.items()},
        )

    def _look(self) -> None:
        """End this process if a helper was killed and nothing else tells it."""
        while not self._over.wait(_POLL):
            lost = self.lost()
            if lost is None:
                continue
            if not self._over.wait(_GRACE):
                print(f"error: {lost}", file=sys.stderr, flush=True)
                os._exit(_EXIT_USER)
            return
