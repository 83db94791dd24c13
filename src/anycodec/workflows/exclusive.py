"""One job a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anycodec.errors import UserError


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the folder against other jobs; the system lets go of it when this process ends, however.

    Raises:
        UserError: another job is at it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise UserError(
            "another job writes into this folder", where=str(folder), how="wait for it, or stop it first"
        ) from error
    finally:
        os.close(descriptor)
