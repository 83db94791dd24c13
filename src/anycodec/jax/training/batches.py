"""Batches for the devices: threads read the next ones and send them off while a step computes.

The order of batches is a pure function of (seed, step), so that a resumed run sees the same ones.
"""

from __future__ import annotations

import pickle
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import jax
import numpy as np
from jax.sharding import Mesh
from numpy.typing import NDArray

from anycodec.config.data import SourceSpec
from anycodec.config.train import TrainSpec
from anycodec.data.sampler import BatchSampler
from anycodec.engine import TrainingWindows
from anycodec.jax.runtime import replicated, split


class TrainBatches:
    """Endless steps of batches [A B C *s], on the devices, that know how long the trainer waited.

    Each thread has a copy of the windows, and so its own open files. `data.workers` threads (at least
    one) keep `data.prefetch` steps each ahead.

    Args:
        windows: the training split.
        source: its settings.
        train: tells A and B.
        start: the first step.
        mesh: the devices that share a batch.
    """

    def __init__(
        self,
        windows: TrainingWindows,
        source: SourceSpec,
        train: TrainSpec,
        *,
        start: int,
        mesh: Mesh,
    ) -> None:
        self.waited = 0.0
        self._sampler = BatchSampler(windows, train.batch_size)
        self._accumulate = train.accumulate
        self._start = start
        self._mesh = mesh
        self._threads = max(1, source.workers)
        self._ahead = max(2, self._threads * source.prefetch)
        self._window = windows.item(0, 0).shape[1:]
        windows.close()
        self._pickled = pickle.dumps(windows)
        self._own = threading.local()
        self._copies: list[TrainingWindows] = []

    def __iter__(self) -> Generator[jax.Array, None, None]:
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="anycodec-batches")
        pending: deque[Future[jax.Array]] = deque()
        step = self._start
        try:
            while True:
                while len(pending) < self._ahead:
                    keys = [self._sampler.batch(step * self._accumulate + i) for i in range(self._accumulate)]
                    pending.append(pool.submit(self._load, keys))
                    step += 1
                begin = time.perf_counter()
                batch = pending.popleft().result()
                if step > self._start + self._ahead:  # the first is no wait of the loop
                    self.waited += time.perf_counter() - begin
                yield batch
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            for windows in self._copies:
                windows.close()

    def _load(self, keys: list[list[tuple[int, int]]]) -> jax.Array:
        if not hasattr(self._own, "windows"):
            self._own.windows = pickle.loads(self._pickled)
            self._copies.append(self._own.windows)
        windows: TrainingWindows = self._own.windows

        def part(place: tuple[slice, ...] | None) -> NDArray[np.float32]:
            """The share of one device; those of other processes are never read here."""
            rows = slice(None) if place is None else place[1]
            return np.stack([np.concatenate([windows.item(*key) for key in batch[rows]]) for batch in keys])

        shape = (len(keys), len(keys[0]), *self._window)
        return jax.make_array_from_callback(shape, split(self._mesh, 1), part)


def shared_batch(values: NDArray[np.float32], mesh: Mesh, axis: int) -> jax.Array:
    """A batch that each process holds, on the devices: cut along `axis`, or whole where it can't be cut."""
    cut = values.shape[axis] % mesh.size == 0
    sharding = split(mesh, axis) if cut else replicated(mesh)
    return jax.make_array_from_callback(values.shape, sharding, lambda place: values[place])


def starting_batches(windows: TrainingWindows, batch_size: int) -> Iterator[NDArray[np.float32]]:
    """The batches of the first epoch once, [B C *s]: what a codec starts from."""
    sampler = BatchSampler(windows, batch_size)
    for step in range(-(-len(windows) // batch_size)):
        items = [windows.item(*key) for key in sampler.batch(step)]
        yield np.concatenate(items)


def validation_batches(windows: TrainingWindows, batch_size: int, count: int) -> list[NDArray[np.float32]]:
    """Up to `count` batches spread evenly over the validation grid, read once and kept."""
    wanted = min(len(windows), batch_size * count)
    indices = np.linspace(0, len(windows) - 1, wanted).round().astype(int).tolist()
    items = [windows.item(0, index) for index in indices]
    windows.close()
    return [np.concatenate(items[i : i + batch_size]) for i in range(0, wanted, batch_size)]
