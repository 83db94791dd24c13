"""What one process of a training tells the others when it fails."""

from __future__ import annotations

import json
import re
from contextlib import suppress

import torch.distributed as dist
from torch._C._distributed_c10d import Store

from anycodec.errors import DataError, ResourceError, RunError, UserError

_KEY = "failed"
_KINDS: dict[str, type[UserError]] = {kind.__name__: kind for kind in (DataError, ResourceError, RunError)}
_BROKEN = re.compile(
    "connection (closed|reset)|broken pipe|socket|recvvalue|sendbytes|recvbytes|timed out|peer", re.I
)
"""Of messages that gloo and the store give when another process is gone."""


def report(store: Store, rank: int, error: UserError) -> None:
    """Tell that this process ends and why, unless another one did before."""
    told = {
        "rank": rank,
        "kind": type(error).__name__,
        "what": error.what,
        "where": error.where,
        "how": error.how,
    }
    with suppress(RuntimeError):  # the first process, and the store with it, may be gone
        store.compare_set(_KEY, "", json.dumps(told))


def reported(store: Store, rank: int) -> UserError | None:
    """What another process told."""
    with suppress(RuntimeError):
        if store.check([_KEY]):
            told = json.loads(store.get(_KEY))
            if told["rank"] != rank:
                kind = _KINDS.get(told["kind"], UserError)
                return kind(told["what"], where=told["where"], how=told["how"])
    return None


def broken(error: Exception) -> bool:
    """Whether an error only means that another process is gone."""
    return isinstance(error, dist.DistError) or bool(_BROKEN.search(str(error)))
