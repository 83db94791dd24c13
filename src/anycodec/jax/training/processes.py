"""The job of a training, in all processes that do it."""

from __future__ import annotations

import pickle
from dataclasses import replace

import jax
import numpy as np
from jax.experimental import multihost_utils

from anycodec.engine import TrainingJob


def shared(job: TrainingJob | None) -> TrainingJob:
    """The first process's job. The others are quiet, and keep nothing.

    Args:
        job: what the first process is to do; others need none.
    """
    if jax.process_count() == 1 or jax.process_index() == 0:
        assert job is not None
    if jax.process_count() == 1:
        return job  # type: ignore[return-value]
    packed = np.zeros(0, np.uint8)
    if jax.process_index() == 0 and job is not None:
        packed = np.frombuffer(pickle.dumps(replace(job, quiet=True, saved=_nothing)), np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(packed))))
    buffer = np.zeros(size, np.uint8)
    buffer[: len(packed)] = packed
    told = multihost_utils.broadcast_one_to_all(buffer)
    if jax.process_index() == 0 and job is not None:
        return job
    found: TrainingJob = pickle.loads(np.asarray(told).astype(np.uint8).tobytes())
    return found


def _nothing() -> None:
    """What happens after a checkpoint that another process wrote."""
