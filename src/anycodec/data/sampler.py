"""The order of training items: a pure function of a seed and a position.

Nothing is drawn from a running generator, so that a resumed run continues with the batches that
an uninterrupted one would have seen.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anycodec.engine import TrainingWindows

ORDER_STREAM, ITEM_STREAM = 1, 2
"""Keys that keep the random streams of orders and of crops apart."""


def generator(seed: int, stream: int, *position: int) -> np.random.Generator:
    """The random numbers that belong to a position, independent of all others."""
    return np.random.default_rng((seed, stream, *position))


def subset_order(
    files: NDArray[np.int64], length: int, files_per_epoch: int, seed: int, epoch: int
) -> NDArray[np.int64]:
    """Order of an epoch that sees a random subset of files.

    Args:
        files: the file of each item, numbered from 0.
        length: items of an epoch; the items of the subset are repeated or cut to this number, so
            that every epoch is equally long whichever files it draws.
        files_per_epoch: files to draw, without replacement.
        seed: seed of the order.
        epoch: number of the epoch.
    """
    random = generator(seed, ORDER_STREAM, epoch)
    chosen = random.permutation(int(files.max()) + 1)[:files_per_epoch]
    items = np.flatnonzero(np.isin(files, chosen))
    return np.resize(random.permutation(items), length)


def full_order(length: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Order of an epoch that sees every item once."""
    return generator(seed, ORDER_STREAM, epoch).permutation(length)


class BatchSampler:
    """Which items make up the batch of a step.

    Epochs are laid end to end and cut into full batches: a batch may hold the end of one epoch and
    the beginning of the next, and none is smaller than the others.

    Args:
        windows: gives the order of each epoch.
        batch_size: items a batch.
        share: (i, n) for the i-th of n equal parts of each batch, as each of n processes takes one.
    """

    def __init__(self, windows: TrainingWindows, batch_size: int, share: tuple[int, int] = (0, 1)) -> None:
        self._windows = windows
        self._batch_size = batch_size
        self._share = share
        self._orders: dict[int, NDArray[np.int64]] = {}

    def batch(self, step: int) -> list[tuple[int, int]]:
        """(epoch, index) of the items of the batch at `step`, counted from 0."""
        length = len(self._windows)
        part, parts = self._share
        size = self._batch_size // parts
        first = step * self._batch_size + part * size
        places = (divmod(position, length) for position in range(first, first + size))
        return [(epoch, int(self._order(epoch)[place])) for epoch, place in places]

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._orders:
            self._orders = {e: order for e, order in self._orders.items() if e == epoch - 1}
            self._orders[epoch] = self._windows.epoch_order(epoch)
        return self._orders[epoch]
