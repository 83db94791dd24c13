"""A run mirrored to slow or remote storage while it trains (`train.backup_dir`), and brought back."""

from __future__ import annotations

import logging
import shutil
import threading
import warnings
from pathlib import Path
from types import TracebackType
from typing import Self

from anycodec.atomic import atomic_folder, atomic_path
from anycodec.checkpoint import RunDirectory
from anycodec.config.kinds import CODEC
from anycodec.config.run import RunSpec
from anycodec.errors import Notice, ResourceError, RunError
from anycodec.workflows.checkpoint_files import CheckpointFiles, Version
from anycodec.workflows.continuing import check_folder

RETRY_SECONDS = 10.0
"""Pause after a copy that failed."""
LAST_ATTEMPTS = 3
"""Attempts of a training that has ended."""
_TEMPORARY = ".*.tmp*"
"""What `anycodec.atomic` leaves behind when its process is killed."""

_log = logging.getLogger("anycodec.train")


def backup_folder(spec: RunSpec, run: RunDirectory) -> Path | None:
    """Where the run is mirrored, None where it is not: the folder of its name in `train.backup_dir`."""
    parent = spec.train.backup_dir
    return None if parent is None else parent / run.path.absolute().name


def restore(backup: Path, run: RunDirectory) -> bool:
    """Bring a run back that is gone; whether there was anything to do.

    Raises:
        RunError: the backup can't be read.
        ResourceError: the local disk is full.
    """
    gone = not run.path.exists() or (run.path.is_dir() and not any(run.path.iterdir()))
    if not gone or not RunDirectory(backup).config.is_file():
        return False
    hidden = shutil.ignore_patterns(".*")
    with atomic_folder(run.path) as folder:
        try:
            shutil.copytree(backup, folder, dirs_exist_ok=True, copy_function=shutil.copyfile, ignore=hidden)
        except shutil.Error as error:
            (*_, reason), *_ = error.args[0]
            raise RunError(f"the backup can't be brought back: {reason}", where=str(backup)) from error
    return True


def check_backup(backup: Path, run: RunDirectory, spec: RunSpec, *, resume: bool) -> None:
    """Refuse a place that can't hold this run's backup, before any time is spent.

    Raises:
        RunError: it holds another run, is the run itself, or can't be written.
    """
    if backup.resolve() == run.path.resolve():
        raise RunError(
            "the backup would be the run itself",
            where=f"train.backup_dir {backup.parent}",
            how="choose another folder, best on another disk",
        )
    if RunDirectory(backup).config.is_file():
        check_folder(RunDirectory(backup), CODEC, spec, resume=resume)
    try:
        backup.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"the backup can't be written: {(error.strerror or str(error)).lower()}",
            where=str(backup),
            how="mount it, choose another train.backup_dir, or train without (null)",
        ) from error


class Backup:
    """Mirrors a run in a thread: one copy at a time, the newest checkpoint next, each file atomically.

    A copy that fails is tried again, and never ends the training. A context around it: what is newest at
    the end is copied before the context closes.

    Args:
        run: what is mirrored.
        folder: where to; nobody else writes there.
    """

    def __init__(self, run: RunDirectory, folder: Path) -> None:
        self._run, self._folder = run, folder
        self._waiting: CheckpointFiles | None = None
        self._failure: str | None = None
        self._told = self._ends = False
        self._changed = threading.Condition()
        self._there: dict[str, Version] = {}
        self._thread = threading.Thread(target=self._work, name="anycodec-backup", daemon=True)

    def take(self) -> None:
        """Copy the run as it is now, later: the trainer does not wait."""
        now = CheckpointFiles(self._run)
        with self._changed:
            older, self._waiting = self._waiting, now
            tell, self._told = self._failure if not self._told else None, self._failure is not None
            self._changed.notify()
        if older is not None:
            older.close()
        if tell is not None:
            text = f"the run can't be copied to {self._folder} now: {tell}; training goes on"
            warnings.warn(text, Notice, stacklevel=2)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Copy what waits, and warn where that is impossible."""
        with self._changed:
            self._ends = True
            self._changed.notify()
        self._thread.join()
        if self._waiting is not None:
            self._waiting.close()
            what = f"the backup in {self._folder} is not complete: {self._failure}"
            warnings.warn(f"{what}; copy {self._run.path} there", Notice, stacklevel=2)

    # --- the thread -----------------------------------------------------------------------------

    def _work(self) -> None:
        attempts = LAST_ATTEMPTS
        while attempts and (checkpoint := self._next()) is not None:
            try:
                self._copy(checkpoint)
            except (OSError, ResourceError) as error:
                attempts -= self._ends
                self._put_back(checkpoint, error)
                if attempts:
                    self._pause()
            else:
                self._failure = None
                checkpoint.close()

    def _next(self) -> CheckpointFiles | None:
        """The newest checkpoint once there is one, None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ends or self._waiting is not None)
            newest, self._waiting = self._waiting, None
        return newest

    def _put_back(self, checkpoint: CheckpointFiles, error: OSError | ResourceError) -> None:
        """Try it again, unless there is a newer one by now."""
        reason = error.what if isinstance(error, ResourceError) else str(error)
        _log.warning("backup: %s", reason)
        with self._changed:
            self._failure = reason
            if self._waiting is None:
                self._waiting = checkpoint
                return
        checkpoint.close()

    def _pause(self) -> None:
        """Wait a while, or until there is something newer."""
        with self._changed:
            self._changed.wait(RETRY_SECONDS)

    def _copy(self, checkpoint: CheckpointFiles) -> None:
        for file in checkpoint.files:
            if self._there.get(file.name) == file.version:
                continue
            target = self._folder / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(target) as temporary:
                file.write_to(temporary)
            self._there[file.name] = file.version
        self._tidy({file.name for file in checkpoint.files})

    def _tidy(self, names: set[str]) -> None:
        """Remove the state of an engine that the run has left, and what killed copies left behind."""
        resume = RunDirectory(self._folder).resume
        stale = [p for p in resume.rglob("*") if p.relative_to(self._folder).as_posix() not in names]
        for path in (*stale, *self._folder.rglob(_TEMPORARY)):
            if path.is_file():
                path.unlink()
