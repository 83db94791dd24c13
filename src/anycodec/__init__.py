"""anycodec: learned discrete codecs for signals of any kind.

codec = anycodec.load("runs/nanopore")
encoded = codec.encode(values)
restored = codec.decode(encoded)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anycodec.api import Codec, Encoded, SeriesCodec, load

__version__ = "0.1.0"
__all__ = ["Codec", "Encoded", "SeriesCodec", "load"]


def __getattr__(name: str) -> Any:
    """Import the Python interface when it is first used: the command line starts without it."""
    if name in __all__:
        from anycodec import api

        return getattr(api, name)
    raise AttributeError(f"module 'anycodec' has no attribute {name!r}")
