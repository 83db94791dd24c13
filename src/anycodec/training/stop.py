"""SIGTERM and Ctrl-C end a training at the next step, with a checkpoint."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Terminated(SystemExit):
    """A training was asked to stop; the exit code is 128 + the signal (143, 130)."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


class StopRequest:
    """Remembers the first stop signal; a second Ctrl-C interrupts at once.

    A context around a training: the handlers from before come back at its end, whoever changed them.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        self._before = {number: signal.getsignal(number) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        if _may_handle():
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def listen(self) -> None:
        """Install the handlers; Python allows it in the main thread only."""
        if _may_handle():
            for number in _SIGNALS:
                signal.signal(number, self._remember)

    def _remember(self, number: int, _: FrameType | None) -> None:
        if self.number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number


def _may_handle() -> bool:
    return threading.current_thread() is threading.main_thread()
