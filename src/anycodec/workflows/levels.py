"""A codec with its first levels of tokens alone: residual stages that were dropped are not stored.

Stages of residual quantisation each refine the sum of those before, so that the decoder does without the last
ones; a codec trained with `quantizer.dropout` has learned to (Zeghidour et al. 2021, arXiv 2107.03312).
"""

from __future__ import annotations

import copy

from anycodec.bitstream.header import Header
from anycodec.config.codecs.causal3d import Causal3dSpec
from anycodec.config.quantizer import ResidualSpec
from anycodec.engine import CodecRuntime, Labels, LatentValues, WindowCoder, Windows
from anycodec.types import Tokens
from anycodec.workflows.pipeline import Pipeline


def operating_points(pipeline: Pipeline) -> tuple[int, ...]:
    """Numbers of levels that the codec can be used with, rising; the last is all of them."""
    levels = len(pipeline.codec.codebook_sizes)
    codec = pipeline.spec.codec
    quantizer = getattr(codec, "quantizer", None)
    if not isinstance(quantizer, ResidualSpec) or len(quantizer.codebook_sizes) != levels:
        return (levels,)
    if isinstance(codec, Causal3dSpec) and codec.differences:  # whose errors would add up over time
        return (levels,)
    each = levels // quantizer.stages
    return tuple(range(each, levels + 1, each))


def with_levels(pipeline: Pipeline, levels: int) -> Pipeline:
    """The same run with its first levels alone, without a learned prior where that is not all of them."""
    if levels == len(pipeline.codec.codebook_sizes):
        return pipeline
    shorter = copy.copy(pipeline)
    shorter.codec = FirstLevels(pipeline.codec, levels)
    shorter.replace_coder(pipeline.coder.first(levels))
    return shorter


def for_file(pipeline: Pipeline, header: Header) -> Pipeline:
    """The run with the levels and the grid of statistics of a file."""
    sizes, all_sizes = header.codebook_sizes, pipeline.codec.codebook_sizes
    if header.coarse:
        pipeline = pipeline.with_coarse_statistics()
    usable = len(sizes) in operating_points(pipeline) and all_sizes[: len(sizes)] == sizes
    return with_levels(pipeline, len(sizes)) if usable else pipeline


class _Coder:
    """Windows to the tokens of the first levels and back."""

    def __init__(self, coder: WindowCoder, levels: int) -> None:
        self._coder, self._levels = coder, levels

    def encode(self, windows: Windows) -> Tokens:
        """[N C *s] -> tokens of N windows."""
        tokens = self._coder.encode(windows)
        return Tokens(tokens.grids[: self._levels], tokens.codebook_sizes[: self._levels])

    def decode(self, tokens: Tokens) -> Windows:
        """Tokens of N windows -> [N C *s]."""
        return self._coder.decode(tokens)


class FirstLevels(_Coder):
    """A codec whose later levels are left out."""

    def __init__(self, codec: CodecRuntime, levels: int) -> None:
        super().__init__(codec, levels)
        self._codec = codec

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Codes of each level that is kept."""
        return self._codec.codebook_sizes[: self._levels]

    def reconstruct(self, windows: Windows) -> Windows:
        """[N C *s] through what is left of the codec."""
        return self.decode(self.encode(windows))

    def latents(self, windows: Windows, labels: Labels | None = None) -> LatentValues:
        """As the whole codec."""
        return self._codec.latents(windows, labels)

    def decode_latents(self, values: LatentValues, labels: Labels | None = None) -> Windows:
        """As the whole codec."""
        return self._codec.decode_latents(values, labels)

    def stream(self, side_by_side: int) -> WindowCoder:
        """A coder of consecutive windows; see `anycodec.engine.CodecRuntime.stream`."""
        inner = self._codec.stream(side_by_side)
        return self if inner is self._codec else _Coder(inner, self._levels)
