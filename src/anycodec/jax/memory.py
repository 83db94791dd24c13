"""What to say when memory runs out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import jax

from anycodec.errors import ResourceError


@contextmanager
def out_of_memory(where: str, how: str) -> Iterator[None]:
    """Turn an allocation failure of any device into a `ResourceError`."""
    try:
        yield
    except MemoryError as error:
        raise ResourceError("out of memory", where=where, how=how) from error
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error) and "out of memory" not in str(error).lower():
            raise
        raise ResourceError("out of memory", where=where, how=how) from error
