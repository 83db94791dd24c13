"""How a sweep goes: a live table on a terminal, a line at each change elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from anycodec.config.metrics import better
from anycodec.workflows.sweeps.follow import Curve
from anycodec.workflows.sweeps.state import Job, JobState, SweepState
from anycodec.workflows.sweeps.training import Training

_REFRESH = 0.5
"""Seconds between looks at the figures."""
_ORDER = (JobState.RUNNING, JobState.FAILED, JobState.WAITING, JobState.DONE)
_STYLE = {
    JobState.WAITING: "dim",
    JobState.RUNNING: "bold",
    JobState.DONE: "green",
    JobState.FAILED: "red",
}
_FRAME = 7
"""Lines of a table and around it that are not rows."""


class LiveBoard:
    """Shows the runs of a sweep while they train; a context around its scheduler.

    Args:
        state: of the sweep.
        retries: as of `Scheduler`.
    """

    def __init__(self, state: SweepState, retries: int) -> None:
        self._state, self._retries = state, retries
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._running: dict[str, Training] = {}
        self._ended: dict[str, Curve] = {}
        self._next = 0.0

    def __enter__(self) -> LiveBoard:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def started(self, training: Training) -> None:
        """A training was started."""
        attempt = len(training.job.attempts)
        again = f", attempt {attempt}" if attempt > 1 else ""
        self._say(f"{training.job.name}: started on {training.slot.name}{again}")

    def ended(self, training: Training) -> None:
        """A training ended."""
        job, attempt = training.job, training.attempt
        self._ended[job.name] = training.follower.update()
        took = f"{attempt.seconds or 0:,.1f} s"
        if job.state is JobState.DONE:
            best = self._ended[job.name].best(self._state.metric)
            figure = f", best {self._state.metric} {best[0]:.5g} at step {best[1]}" if best else ""
            self._say(f"{job.name}: done after {took}{figure}", "green")
        elif attempt.stopped:
            self._say(f"{job.name}: stopped at step {self._ended[job.name].step}")
        else:
            again = "it starts again" if job.state is JobState.WAITING else "given up"
            note = f": {job.note}" if job.note else ""
            self._say(f"{job.name}: failed after {took} ({attempt.how}), {again}{note}", "yellow")

    def stopping(self, count: int) -> None:
        """Trainings were asked to stop."""
        runs = "run writes its checkpoint" if count == 1 else "runs write their checkpoints"
        self._say(f"stopping: {count} {runs}; Ctrl-C again ends at once")

    def refresh(self, running: list[Training]) -> None:
        """Draw the table anew, not too often."""
        now = time.monotonic()
        if not self._live.is_started or now < self._next:
            return
        self._next = now + _REFRESH
        self._running = {training.job.name: training for training in running}
        self._live.update(self._table(), refresh=True)

    def _say(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style=style))

    def _table(self) -> Table:
        counts = ", ".join(f"{count} {state}" for state in JobState if (count := self._state.count(state)))
        table = Table(
            title=f"{counts}; {self._state.metric} ({better(self._state.metric)})", title_justify="left"
        )
        for column in ("run", "state", "slot"):
            table.add_column(column, no_wrap=True)
        for column in ("step", "now", "best", "time", "attempt"):
            table.add_column(column, justify="right", no_wrap=True)
        jobs = sorted(self._state.jobs, key=lambda job: _ORDER.index(job.state))
        shown = max(3, self._console.height - _FRAME)
        for job in jobs[:shown]:
            table.add_row(*self._row(job), style=_STYLE[job.state])
        if len(jobs) > shown:
            table.caption = f"and {len(jobs) - shown} more"
        return table

    def _row(self, job: Job) -> tuple[str, ...]:
        training = self._running.get(job.name) if job.state is JobState.RUNNING else None
        curve = training.follower.update() if training else self._ended.get(job.name, Curve())
        best = curve.best(self._state.metric)
        attempt = job.attempts[-1] if job.attempts else None
        seconds = training.seconds if training else attempt.seconds if attempt else None
        return (
            job.name,
            str(job.state),
            training.slot.name if training else "",
            f"{curve.step}/{training.steps}" if training else f"{curve.step or ''}",
            f"{curve.values[-1]:.5g}" if curve.values else "",
            f"{best[0]:.5g}" if best else "",
            "" if seconds is None else f"{seconds:,.0f} s",
            f"{job.failures + 1}/{self._retries + 1}" if training else "",
        )
