"""What a sweep remembers of its runs: `sweep.json`, replaced atomically at each change."""

from __future__ import annotations

import hashlib
import signal
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from anycodec.atomic import atomic_write
from anycodec.errors import RunError

_NAME = r"^[A-Za-z0-9._-]+$"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class JobState(StrEnum):
    """Where a run stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Attempt(_Record):
    """One process that trained a run.

    Attributes:
        slot: where.
        began: seconds since 1970.
        seconds: how long it took; None while it runs, or where the sweep was killed meanwhile.
        code: its exit code, minus the signal that killed it; None as above.
        stopped: the sweep asked it to stop.
    """

    slot: str
    began: float
    seconds: float | None = None
    code: int | None = None
    stopped: bool = False

    @property
    def how(self) -> str:
        """How it ended."""
        if self.code is None:
            return "interrupted"
        if self.code < 0:
            return signal.Signals(-self.code).name
        return "stopped" if self.stopped else f"exit code {self.code}"


class Job(_Record):
    """A run of the sweep.

    Attributes:
        name: its name and those of its files.
        settings: what sets it apart, by key, as written on the command line.
        digest: SHA-256 of its configuration.
        state: where it stands.
        failures: attempts that failed since the sweep was last begun or resumed.
        attempts: all of them.
        trial: its number in a search.
        note: what went wrong last.
    """

    name: str = Field(pattern=_NAME)
    settings: dict[str, str] = Field(default_factory=dict)
    digest: str
    state: JobState = Field(JobState.WAITING, strict=False)
    failures: int = 0
    attempts: list[Attempt] = Field(default_factory=list)
    trial: int | None = None
    note: str = ""


class SweepState(_Record):
    """A sweep.

    Attributes:
        version: of this file.
        working: what relative paths in the configurations are relative to.
        metric: column of metrics.csv that ranks the runs.
        base: SHA-256 of the configuration that a search varies, None = no search.
        search: its ranges.
        trials: its runs in all.
        jobs: runs in the order in which they were planned.
    """

    version: Literal[1] = 1
    working: str
    metric: str
    base: str | None = None
    search: tuple[str, ...] = Field((), strict=False)
    trials: int = 0
    jobs: list[Job]

    def save(self, path: Path) -> None:
        """Replace the file."""
        atomic_write(path, self.model_dump_json(indent=1) + "\n")

    def count(self, state: JobState) -> int:
        """Runs that stand there."""
        return sum(job.state is state for job in self.jobs)


def load_state(path: Path) -> SweepState:
    """The state of a sweep.

    Raises:
        RunError: there is none, or it is damaged.
    """
    try:
        return SweepState.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(
            "the folder holds no sweep", where=str(path.parent), how="give the folder of a sweep with --out"
        ) from error
    except (ValidationError, UnicodeDecodeError) as error:
        first = str(error).splitlines()[-2:] if isinstance(error, ValidationError) else [str(error)]
        raise RunError(f"damaged: {' '.join(line.strip() for line in first)}", where=str(path)) from error


def digest(config: str) -> str:
    """SHA-256 of the text of a configuration."""
    return hashlib.sha256(config.encode()).hexdigest()
