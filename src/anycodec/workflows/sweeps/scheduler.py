"""Runs over slots: a queue, retries, and a state that outlives the scheduler."""

from __future__ import annotations

import time
from collections import deque
from typing import Protocol

from anycodec.training.stop import StopRequest
from anycodec.workflows.sweeps.folder import SweepFolder
from anycodec.workflows.sweeps.launch import Launch, launch_here
from anycodec.workflows.sweeps.slots import Slot
from anycodec.workflows.sweeps.state import Job, JobState, SweepState
from anycodec.workflows.sweeps.training import Training

_POLL = 0.1
"""Seconds between looks at the trainings."""


class Board(Protocol):
    """Shows how a sweep goes."""

    def started(self, training: Training) -> None:
        """A training was started."""

    def ended(self, training: Training) -> None:
        """A training ended; its job says what becomes of it."""

    def stopping(self, count: int) -> None:
        """That many trainings were asked to stop."""

    def refresh(self, running: list[Training]) -> None:
        """Some time has passed."""


class Search(Protocol):
    """Makes runs from what earlier ones gave."""

    def ask(self) -> Job | None:
        """A new run, part of the state already; None = there will be no more."""

    def tell(self, job: Job) -> None:
        """A run is done, or has failed for good."""


class Scheduler:
    """Gives each free slot the next run.

    Args:
        folder: of the sweep, absolute.
        state: of the sweep; saved at each change.
        slots: where trainings run.
        retries: further attempts that a run has after its first failure.
        board: shows how it goes.
        search: makes further runs; None = all are planned.
        launch: starts trainings.
    """

    def __init__(
        self,
        folder: SweepFolder,
        state: SweepState,
        slots: list[Slot],
        *,
        retries: int,
        board: Board,
        search: Search | None = None,
        launch: Launch = launch_here,
    ) -> None:
        self._folder, self._state, self._board, self._search = folder, state, board, search
        self._retries, self._launch = retries, launch
        self._free = deque(slots)
        self._waiting = deque(job for job in state.jobs if job.state is JobState.WAITING)
        self._running: list[Training] = []

    def run(self) -> int | None:
        """Run everything to its end; the number of the signal that stopped it before, None = none did."""
        with StopRequest() as stop:
            stop.listen()
            try:
                while stop.number is None and (self._fill() or self._running):
                    self._look()
                self._stop()
            finally:
                for training in self._running:
                    training.kill()
                self._collect()
                self._save()
        return stop.number

    def _fill(self) -> bool:
        """Start runs while there are slots; whether one waits still."""
        while self._free and (job := self._next()):
            job.state = JobState.RUNNING
            slot = self._free.popleft()
            training = Training(
                job, slot, self._folder, self._state.working, self._state.metric, launch=self._launch
            )
            self._running.append(training)
            self._save()
            self._board.started(training)
        return bool(self._waiting)

    def _next(self) -> Job | None:
        if self._waiting:
            return self._waiting.popleft()
        return self._search.ask() if self._search else None

    def _look(self) -> None:
        self._collect()
        self._board.refresh(self._running)
        time.sleep(_POLL)

    def _stop(self) -> None:
        """Let all trainings write their checkpoints; a second Ctrl-C interrupts this."""
        if self._running:
            self._board.stopping(len(self._running))
        for training in self._running:
            training.stop()
        while self._running:
            self._look()

    def _collect(self) -> None:
        """Take note of trainings that have ended."""
        for training in [one for one in self._running if one.poll() is not None]:
            self._running.remove(training)
            self._free.append(training.slot)
            self._judge(training)
            self._save()
            self._board.ended(training)

    def _judge(self, training: Training) -> None:
        """What becomes of a run whose training ended."""
        job, attempt = training.job, training.attempt
        if attempt.code == 0:
            job.state, job.note = JobState.DONE, ""
        elif attempt.stopped:
            job.state = JobState.WAITING
        else:
            job.failures += 1
            job.note = training.complaint()
            again = job.failures <= self._retries
            job.state = JobState.WAITING if again else JobState.FAILED
            if again:
                self._waiting.append(job)
        if self._search and job.state in (JobState.DONE, JobState.FAILED):
            self._search.tell(job)

    def _save(self) -> None:
        self._state.save(self._folder.state)
