"""Processors that this process may use: fewer than the machine has, in containers and under schedulers."""

from __future__ import annotations

import math
import os
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Of a container: microseconds of processor time, or `max`, and the period that they are for (cgroup v2)."""


def processors() -> int:
    """Those that affinity and the container's quota leave; at least one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, _quota())))


def threads(share: int = 1) -> int:
    """Threads for one of `share` processes that compute side by side: OMP_NUM_THREADS where it is set.

    More threads than processors are far slower than one thread: they wait for each other in turns.
    """
    wished = os.environ.get("OMP_NUM_THREADS", "")
    return int(wished) if wished.isdecimal() and int(wished) else max(1, processors() // share)


def _quota() -> float:
    words = QUOTA.read_text(encoding="ascii").split() if QUOTA.is_file() else ["max"]
    return int(words[0]) / int(words[1]) if words[0].isdecimal() else math.inf
