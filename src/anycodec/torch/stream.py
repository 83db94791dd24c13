"""A causal codec along one long signal, on NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anycodec.engine import Windows
from anycodec.torch.codecs.streaming import StreamingCodec
from anycodec.torch.device import coding_memory
from anycodec.torch.layers.causal3d import Past
from anycodec.types import Tokens

Parts = tuple[NDArray[Any], ...]
"""Arrays [n ..] of the same windows: values, or a token grid a level."""


class TorchStream:
    """Consecutive windows of one signal; between calls, the last frames of each layer are kept.

    What is kept grows with the extent of the picture, never with the length of the video.

    Args:
        codec: in evaluation mode, on its device.
        device: where it computes.
        side_by_side: windows of each step in time (the tiles of a frame); they run fastest.
        chunk_values: scalar values of the windows that are computed at once.
    """

    def __init__(
        self, codec: StreamingCodec, device: torch.device, side_by_side: int, chunk_values: int
    ) -> None:
        self.codec, self.device = codec, device
        self._side_by_side, self._chunk_values = side_by_side, chunk_values
        self._encoded: dict[int, Past] = {}
        self._decoded: dict[int, Past] = {}

    @torch.inference_mode()
    def encode(self, windows: Windows) -> Tokens:
        """The next windows [N C *s], whole steps in time -> their tokens."""
        grids = self._run((windows,), windows[:1].size, self._encoded, self._encode)
        return Tokens(grids, self.codec.codebook_sizes)

    @torch.inference_mode()
    def decode(self, tokens: Tokens) -> Windows:
        """Tokens of the next N windows -> [N C *s]."""
        values = tokens.grids[0][:1].size * int(np.prod(self.codec.stride))
        (windows,) = self._run(tokens.grids, values, self._decoded, self._decode)
        return windows

    def _encode(self, parts: tuple[Tensor, ...], past: Past) -> tuple[Tensor, ...]:
        return self.codec.encode_chunk(parts[0], past)

    def _decode(self, parts: tuple[Tensor, ...], past: Past) -> tuple[Tensor, ...]:
        return (self.codec.decode_chunk(tuple(part.long() for part in parts), past).float(),)

    def _run(
        self,
        parts: Parts,
        values: int,
        pasts: dict[int, Past],
        code: Callable[[tuple[Tensor, ...], Past], tuple[Tensor, ...]],
    ) -> Parts:
        """Code all windows: a few tiles at a time, each from its first step to its last.

        Args:
            parts: the windows.
            values: scalar values of one of them.
            pasts: of each group of tiles, by its first tile.
            code: windows of one step and their past -> results.
        """
        results: dict[int, Parts] = {}
        tiles = max(1, self._chunk_values // max(1, values))
        with coding_memory(self.device):
            for tile, step, place in self._places(len(parts[0]), tiles):
                chunk = [torch.from_numpy(np.ascontiguousarray(part[place])) for part in parts]
                coded = code(tuple(part.to(self.device) for part in chunk), pasts.setdefault(tile, {}))
                results[step + tile] = tuple(part.cpu().numpy() for part in coded)
        ordered = [results[first] for first in sorted(results)]
        return tuple(np.concatenate(level) for level in zip(*ordered, strict=True))

    def _places(self, windows: int, tiles: int) -> Iterator[tuple[int, int, slice]]:
        """(first tile, first window of the step, where) of each computation."""
        for tile in range(0, self._side_by_side, tiles):
            for step in range(0, windows, self._side_by_side):
                yield tile, step, slice(step + tile, step + min(tile + tiles, self._side_by_side))
