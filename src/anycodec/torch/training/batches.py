"""Batches for the trainer: anycodec's windows through torch's worker processes.

The order of batches is a pure function of (seed, step), so that a resumed run sees the same ones.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing import resource_tracker
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from anycodec.config.data import SourceSpec
from anycodec.data.sampler import BatchSampler
from anycodec.engine import TrainingWindows
from anycodec.errors import ResourceError, UserError
from anycodec.torch.training.batch import Batch, Labelled

Key = tuple[int, int]
"""(epoch, index) of an item."""


Item = NDArray[np.float32] | UserError


class _Items(Dataset[Item]):
    """Items by key. An error travels as a value: torch would wrap it in a worker's traceback."""

    def __init__(self, windows: TrainingWindows) -> None:
        self.windows = windows

    def __getitem__(self, key: Key) -> Item:
        try:
            return self.windows.item(*key)
        except UserError as error:
            return error


class _LabelledItems(Dataset[tuple[NDArray[np.float32], int] | UserError]):
    """Items with their classes by key, errors as in `_Items`."""

    def __init__(self, windows: TrainingWindows) -> None:
        self.windows = windows

    def __getitem__(self, key: Key) -> tuple[NDArray[np.float32], int] | UserError:
        try:
            return self.windows.labelled_item(*key)
        except UserError as error:
            return error


class _Steps(Sampler[list[Key]]):
    """Keys of each batch from `start` on, without end."""

    def __init__(self, sampler: BatchSampler, start: int) -> None:
        self.sampler = sampler
        self.start = start

    def __iter__(self) -> Iterator[list[Key]]:
        step = self.start
        while True:
            yield self.sampler.batch(step)
            step += 1


def _collate(items: Sequence[Item]) -> Tensor | UserError:
    windows = []
    for item in items:
        if isinstance(item, UserError):
            return item
        windows.append(item)
    return torch.from_numpy(np.concatenate(windows))


def _collate_labelled(items: Sequence[tuple[NDArray[np.float32], int] | UserError]) -> Labelled | UserError:
    windows, labels = [], []
    for item in items:
        if isinstance(item, UserError):
            return item
        windows.append(item[0])
        labels += [item[1]] * len(item[0])
    return Labelled(torch.from_numpy(np.concatenate(windows)), torch.tensor(labels))


def _next(batches: Iterator[Batch | UserError]) -> Batch:
    """The next batch.

    Raises:
        UserError: what a worker met.
        ResourceError: a worker was killed.
    """
    try:
        batch = next(batches)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise ResourceError(
            "a process that prepares batches was killed, probably for want of memory",
            where="data.workers",
            how="lower data.workers, data.prefetch or train.batch_size",
        ) from error
    if isinstance(batch, UserError):
        raise batch
    return batch


@contextmanager
def _signals_held() -> Iterator[None]:
    """Processes that start here never see Ctrl-C or SIGTERM, which may go to the whole process group.

    They inherit the mask; the trainer gets what arrived meanwhile, and its workers end with it.
    """
    resource_tracker.ensure_running()  # its own start would let the signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _log_files() -> list[str]:
    """Where this process logs to."""
    handlers = logging.getLogger("anycodec").handlers
    return [handler.baseFilename for handler in handlers if isinstance(handler, logging.FileHandler)]


def _log_to(files: Sequence[str], _: int) -> None:
    """Let a worker log where the trainer does, not on the terminal."""
    logger = logging.getLogger("anycodec")
    logger.propagate = False
    for path in files or [os.devnull]:
        handler = logging.FileHandler(path, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
        logger.addHandler(handler)


def _loader(
    windows: TrainingWindows, batches: Any, source: SourceSpec, workers: int, labelled: bool
) -> DataLoader[Any]:
    """A loader with its own generator: making one must not move the training's random state."""
    return DataLoader(
        _LabelledItems(windows) if labelled else _Items(windows),
        batch_sampler=batches,
        collate_fn=_collate_labelled if labelled else _collate,
        num_workers=workers,
        # a forked worker can inherit a lock that a thread of pyarrow, PyAV or OpenMP held, and wait for ever
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=partial(_log_to, _log_files()),
        prefetch_factor=source.prefetch if workers else None,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(0),
    )


def _end_workers(batches: Iterator[Batch | UserError]) -> None:
    """End the workers now: a traceback may keep the iterator, and they don't see Python's SIGTERM at exit."""
    shutdown = getattr(batches, "_shutdown_workers", None)
    if shutdown is not None:
        shutdown()


class TrainBatches:
    """Endless training batches [B C *s], labelled on request, that know how long the trainer waited.

    Args:
        windows: the training split.
        source: its settings.
        batch_size: windows of a batch, those of all processes.
        start: the first batch.
        labelled: whether to give classes too.
        share: (i, n) for the i-th of n equal parts of each batch.
    """

    def __init__(
        self,
        windows: TrainingWindows,
        source: SourceSpec,
        batch_size: int,
        start: int,
        *,
        labelled: bool = False,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        sampler = BatchSampler(windows, batch_size, share)
        self._windows = windows
        self._loader = _loader(windows, _Steps(sampler, start), source, source.workers, labelled)
        self.waited = 0.0

    def __iter__(self) -> Generator[Batch, None, None]:
        self._windows.close()  # what was read here to check the data would only take memory
        with _signals_held():
            batches = iter(self._loader)
        try:
            next_batch = _next(batches)  # the start of the workers is not a wait of the loop
            while True:
                yield next_batch
                begin = time.perf_counter()
                next_batch = _next(batches)
                self.waited += time.perf_counter() - begin
        finally:
            _end_workers(batches)


def starting_batches(windows: TrainingWindows, batch_size: int, device: torch.device) -> Iterator[Tensor]:
    """The batches of the first epoch once, read in this process: what a codec starts from."""
    sampler = BatchSampler(windows, batch_size)
    for step in range(-(-len(windows) // batch_size)):
        items = [windows.item(*key) for key in sampler.batch(step)]
        yield torch.from_numpy(np.concatenate(items)).to(device)


def validation_batches(
    windows: TrainingWindows, source: SourceSpec, batch_size: int, count: int, labelled: bool = False
) -> list[Batch]:
    """Up to `count` batches spread evenly over the validation grid, read once and kept."""
    wanted = min(len(windows), batch_size * count)
    indices = np.linspace(0, len(windows) - 1, wanted).round().astype(int).tolist()
    batches = [[(0, index) for index in indices[i : i + batch_size]] for i in range(0, wanted, batch_size)]
    loaded = iter(_loader(windows, batches, source, 0, labelled))
    read = [_next(loaded) for _ in batches]
    windows.close()
    return read
