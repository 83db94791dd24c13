"""Where to compute, and what to say when memory runs out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from anycodec.errors import ResourceError, UserError


def choose_device(name: str) -> torch.device:
    """`auto` takes a CUDA device where there is one.

    Raises:
        UserError: cuda was asked for and there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "no CUDA device is available",
            where="device cuda",
            how="use device auto or cpu; see `anycodec doctor`",
        )
    return torch.device(name)


@contextmanager
def out_of_memory(where: str, how: str) -> Iterator[None]:
    """Turn an allocation failure of any device into a `ResourceError`."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise ResourceError("out of memory", where=where, how=how) from error
    except RuntimeError as error:
        if "allocate memory" in str(error) or "not enough memory" in str(error):
            raise ResourceError("out of memory", where=where, how=how) from error
        raise


def coding_memory(device: torch.device) -> AbstractContextManager[None]:
    """`out_of_memory` of a trained codec at work."""
    return out_of_memory(f"device {device}", "use --device cpu, or a smaller window in the next training")
