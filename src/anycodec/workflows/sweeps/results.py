"""The summary of a sweep: a row a run, best first, as CSV, Markdown and on the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from anycodec.atomic import atomic_write
from anycodec.checkpoint import RunDirectory
from anycodec.config.metrics import better
from anycodec.workflows.sweeps.folder import SweepFolder
from anycodec.workflows.sweeps.follow import Curve, Follower
from anycodec.workflows.sweeps.state import Job, JobState, SweepState


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a run.

    Attributes:
        job: the run.
        curve: its metric over training.
        best: the best value and its step, None before the first validation.
    """

    job: Job
    curve: Curve
    best: tuple[float, int] | None


def collect(folder: SweepFolder, state: SweepState) -> list[Result]:
    """All runs: those that are done by their best value, then the others as planned."""
    found = []
    for job in state.jobs:
        curve = Follower(RunDirectory(folder.run(job.name)).metrics, state.metric).update()
        found.append(Result(job, curve, curve.best(state.metric)))
    sign = -1 if better(state.metric) == "max" else 1

    def rank(result: Result) -> tuple[bool, float]:
        done = result.job.state is JobState.DONE and result.best is not None
        return not done, sign * result.best[0] if done and result.best else 0.0

    return sorted(found, key=rank)


def rows(results: Sequence[Result], metric: str) -> list[dict[str, str]]:
    """The table, its columns in order."""
    keys = list(dict.fromkeys(key for result in results for key in result.job.settings))
    return [
        {
            "run": result.job.name,
            "state": str(result.job.state),
            **{key: result.job.settings.get(key, "") for key in keys},
            f"best {metric}": f"{result.best[0]:.6g}" if result.best else "",
            "at step": str(result.best[1]) if result.best else "",
            "steps": str(result.curve.step or ""),
            "seconds": f"{sum(attempt.seconds or 0 for attempt in result.job.attempts):.1f}",
            "attempts": str(len(result.job.attempts)),
            "ended": result.job.attempts[-1].how if result.job.attempts else "",
            "note": result.job.note,
        }
        for result in results
    ]


def write_tables(folder: SweepFolder, table: Sequence[dict[str, str]]) -> None:
    """results.csv and results.md."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    atomic_write(folder.results(".csv"), text.getvalue())
    lines = [list(table[0]), ["---"] * len(table[0]), *(list(row.values()) for row in table)]
    markdown = "".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines
    )
    atomic_write(folder.results(".md"), markdown)


def terminal_table(results: Sequence[Result], metric: str) -> Table:
    """The same in short for a terminal; the names of runs say their settings."""
    shown = Table()
    shown.add_column("run", overflow="fold")
    for column in ("state", f"best {metric}", "at step", "seconds", "attempts", "ended"):
        shown.add_column(column, justify="left" if column in ("state", "ended") else "right")
    for row, result in zip(rows(results, metric), results, strict=True):
        cells = (row[str(column.header)] for column in shown.columns)
        shown.add_row(*cells, style="" if result.job.state is JobState.DONE else "yellow")
    return shown
