"""A trained codec that is loaded when it is first asked for something.

Files without loss or within a bound often need prediction alone, and a framework takes longer to start than a
small file to code.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from anycodec.engine import CodecRuntime, Labels, LatentValues, WindowCoder, Windows
from anycodec.types import Tokens


class DeferredCodec:
    """A `CodecRuntime` that knows its codebooks and loads the rest when it is used.

    Args:
        codebook_sizes: as the run's configuration says.
        load: gives the codec; what it raises, the first use raises.
    """

    def __init__(self, codebook_sizes: tuple[int, ...], load: Callable[[], CodecRuntime]) -> None:
        self.codebook_sizes = codebook_sizes
        self._load = load

    @cached_property
    def _codec(self) -> CodecRuntime:
        return self._load()

    def encode(self, windows: Windows) -> Tokens:
        return self._codec.encode(windows)

    def decode(self, tokens: Tokens) -> Windows:
        return self._codec.decode(tokens)

    def reconstruct(self, windows: Windows) -> Windows:
        return self._codec.reconstruct(windows)

    def latents(self, windows: Windows, labels: Labels | None = None) -> LatentValues:
        return self._codec.latents(windows, labels)

    def decode_latents(self, values: LatentValues, labels: Labels | None = None) -> Windows:
        return self._codec.decode_latents(values, labels)

    def stream(self, side_by_side: int) -> WindowCoder:
        coder = self._codec.stream(side_by_side)
        return self if coder is self._codec else coder
