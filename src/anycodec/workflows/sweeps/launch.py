"""Processes that train: on this machine, or wherever a launcher puts them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from anycodec.workflows.sweeps.slots import Slot


class Child(Protocol):
    """A training as a process of its own, which ends when its pipe breaks."""

    def poll(self) -> int | None:
        """The exit code, None while it runs."""

    def close(self) -> None:
        """Break its pipe: it writes a checkpoint and leaves."""

    def kill(self) -> None:
        """End it now, with the processes that read its data."""


Launch = Callable[[Sequence[str], Slot, Path, str], Child]
"""Starts a command in a slot, with a log, in a folder."""


class LocalChild:
    """A process of this machine, in a session of its own, so that Ctrl-C reaches the sweep alone.

    Args:
        command: what runs.
        environment: variables beside those of this process.
        log: where its output goes.
        working: its folder.

    Attributes:
        pid: number of the process.
    """

    def __init__(self, command: Sequence[str], environment: dict[str, str], log: Path, working: str) -> None:
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
                cwd=working,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.poll()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


def launch_here(command: Sequence[str], slot: Slot, log: Path, working: str) -> Child:
    """Start it on this machine."""
    return LocalChild(command, slot.environment(), log, working)
