"""Leading a training of several processes, and following one."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from torch._C._distributed_c10d import Store, TCPStore
from torch.distributed.rendezvous import rendezvous

from anycodec.errors import Notice, RunError, UserError
from anycodec.torch.parallel.failure import broken, report, reported
from anycodec.torch.parallel.group import PATIENCE, joined, tell
from anycodec.torch.parallel.helpers import Helpers
from anycodec.torch.parallel.place import Place

_NEWS = 3.0
"""Seconds in which the reason becomes known why a process is gone."""
EXIT_USER = 2


@contextmanager
def together(place: Place) -> Iterator[None]:
    """Within the block all processes of a training are there, and the others of this machine run.

    Raises:
        UserError: what another process met.
        ResourceError: another process of this machine was killed.
        RunError: one of another machine is gone.
    """
    if place.alone:
        yield
        return
    store = _store(place)
    with nullcontext() if place.launched else Helpers(place, store.port) as helpers:
        try:
            with joined(store, place.rank, place.size):
                yield
        except UserError as error:
            report(store, place.rank, error)
            raise
        except RuntimeError as error:
            if not broken(error):
                report(store, place.rank, UserError(f"process {place.rank}: {error}"))
                raise
            raise _reason(store, place, helpers) from error


def follow(place: Place, work: Callable[[Any], object]) -> None:
    """Take part in a training that another process leads.

    Args:
        place: of this process, not the first.
        work: takes the job that the first one tells.

    Raises:
        SystemExit: the training failed. The first process says why; where this one stands for a machine of
            its own, it does so too.
    """
    warnings.simplefilter("ignore", Notice)  # the first process has said it
    try:
        with together(place):
            work(tell(None))
    except UserError as error:
        if place.launched:
            raise SystemExit(EXIT_USER) from error
        raise


def _store(place: Place) -> TCPStore:
    """Where the processes find one another."""
    if not place.launched:
        return TCPStore(
            place.address, place.port, is_master=place.rank == 0, timeout=PATIENCE, wait_for_workers=False
        )
    os.environ["RANK"], os.environ["WORLD_SIZE"] = str(place.rank), str(place.size)
    found: TCPStore = next(iter(rendezvous("env://", place.rank, place.size, timeout=PATIENCE)))[0]
    return found


def _reason(store: Store, place: Place, helpers: Helpers | None) -> UserError:
    """Why another process is gone."""
    deadline = time.monotonic() + _NEWS
    while time.monotonic() < deadline:
        found = reported(store, place.rank) or (helpers.lost() if helpers else None)
        if found:
            return found
        time.sleep(0.05)
    return RunError(
        "another process of the training is gone",
        where=f"process {place.rank} of {place.size}",
        how="see what it said, and continue with --resume",
    )
