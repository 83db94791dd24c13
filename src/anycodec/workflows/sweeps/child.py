"""`python -m anycodec.workflows.sweeps.child VERB ...`: `anycodec`, which ends when its sweep is gone.

Standard input is a pipe whose other end only the sweep holds. When that end closes, because the sweep asks
this run to stop or was killed, the training gets SIGTERM: it writes a checkpoint and leaves. (On Linux
alone, prctl(PR_SET_PDEATHSIG) would do the same.)

Standard output is the run's log, and the lock of the run: what a killed sweep has left behind may still
be writing its checkpoint when the next sweep starts the same run.
"""

from __future__ import annotations

import fcntl
import os
import runpy
import signal
import sys
import threading
import time

PATIENCE = 300.0
"""Seconds that a training has to come to the end of a step and to write its checkpoint."""


def main() -> None:
    """Run the command line with this process's arguments."""
    threading.Thread(target=_end_with_the_sweep, daemon=True).start()
    fcntl.flock(sys.stdout.fileno(), fcntl.LOCK_EX)
    runpy.run_module("anycodec", run_name="__main__", alter_sys=True)


def _end_with_the_sweep() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
