"""`python -m anycodec.torch.parallel.helper`: a further process of a training, as `Helpers` starts it.

Its place is in the environment, as torchrun tells it. Standard input is a pipe that only the first process of
the machine holds: when it breaks, this one ends.
"""

from __future__ import annotations

import os
import signal
import threading

from anycodec.torch.parallel.place import launched_place
from anycodec.torch.parallel.team import EXIT_USER, follow


def main() -> None:
    """Take part until the training ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process gets it too, and decides
    threading.Thread(target=_end_with_the_first, daemon=True).start()
    from anycodec.torch.training.jobs import work

    place = launched_place(os.environ)
    follow(place, lambda job: work(job, place))


def _end_with_the_first() -> None:
    while os.read(0, 1):
        pass
    os._exit(EXIT_USER)


if __name__ == "__main__":
    main()
