"""What `anycodec inspect` says of the error bound of an `.acz` file."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from anycodec.bitstream.container import AczReader
from anycodec.bitstream.restoration import PATHS, path_of

_SHOWN = 24


def bound_rows(reader: AczReader) -> Iterable[tuple[str, object]]:
    """What the file promises, and by which paths its segments keep it."""
    bound, totals = reader.header.bound, reader.totals
    if bound is None:
        yield "mode", "tokens, no bound of the error"
        return
    of = "" if bound.unit == "native" else ", of the range of a channel in a segment"
    yield "mode", "lossless" if bound.lossless else f"max. error {bound.max_error:g} ({bound.unit}{of})"
    yield "paths", f"{totals.plain:,} segments plain, {totals.codec:,} by the codec, {totals.raw:,} raw"
    found = (PATHS[path_of(one.restoration)] for _, one in reader.records() if one.restoration)
    paths = list(islice(found, _SHOWN + 1))
    yield "segments", " ".join(paths[:_SHOWN]) + (" ..." if len(paths) > _SHOWN else "")
