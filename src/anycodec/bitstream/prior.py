"""A learned prior of the tokens of a codec: token streams of mode 65, and new tokens.

For each level a network (`prior_network.py`) says how likely each code is, given its neighbours: tokens
before it in its lane (`prior_lanes.py`), and those of the levels before around the same place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import constriction
import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream.fields import Damaged, FieldReader, FieldWriter
from anycodec.bitstream.limits import MOST_TOKENS
from anycodec.bitstream.prior_lanes import Grid, LaneTokens, Layout, Neighbours, Rows, in_lanes, margins_of
from anycodec.bitstream.prior_network import Adapting, Arrays, LevelNetwork
from anycodec.bitstream.prior_tensors import from_tensors, to_tensors
from anycodec.bitstream.rangecoder import finish, from_bytes, to_bytes

Weights = NDArray[np.float64]
Draw = Callable[[Weights, NDArray[np.int64]], NDArray[np.int64]]
"""Weights [n m] of tokens, and their lanes [n] -> symbols [n]."""
RATE = 5
"""The encoder lets a prior adapt to its stream by 2^-RATE."""
SLOWEST = 16
_CHUNK = 2**12
"""Tokens whose tables are in memory at once."""


@dataclass(frozen=True)
class Prior:
    """A trained prior.

    Attributes:
        codec: fingerprint of the codec's run.
        codebook_sizes: codes a level.
        grids: token grid of a window of each level.
        levels: their networks.
    """

    codec: str
    codebook_sizes: tuple[int, ...]
    grids: tuple[tuple[int, ...], ...]
    levels: tuple[LevelNetwork, ...]

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Prior:
        """Inverse of `arrays`.

        Raises:
            ValueError: not a prior, or one whose sums are not exact.
        """
        return cls(*from_tensors(arrays))

    @cached_property
    def arrays(self) -> Arrays:
        """Whole numbers by name, as the prior's run stores them."""
        return to_tensors(self.codec, self.grids, self.levels)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of name, type, shape and content of all arrays, in the order of their names."""
        digest = hashlib.sha256()
        for name, array in sorted(self.arrays.items()):
            shape = "x".join(map(str, array.shape))
            digest.update(f"{name} {array.dtype.str[1:]} {shape}\n".encode() + array.tobytes())
        return digest.hexdigest()

    def fits(self, grids: Sequence[Grid]) -> bool:
        """Whether these are tokens [N *g] of the windows that it knows."""
        return all(grid.shape[1:] == known for grid, known in zip(grids, self.grids, strict=False))

    def encode(self, grids: Sequence[Grid], beside: int) -> bytes:
        """Code the tokens [N *g] of the last of these levels, given all before it.

        Args:
            grids: of the levels up to this one.
            beside: windows of the same time, which stand beside each other.
        """
        level = len(grids) - 1
        layout = Layout.chosen(len(grids[0]), beside, self.grids[level])
        fields = FieldWriter()
        fields.uint(layout.beside)
        fields.uint(layout.run)
        fields.byte(RATE)
        encoder = constriction.stream.queue.RangeEncoder()
        family = constriction.stream.model.Categorical(perfect=False)
        for symbols, weights in self._predicted(grids, layout):
            encoder.encode(symbols.astype(np.int32), family, weights)
        fields.raw(to_bytes(encoder))
        return bytes(fields.data)

    def decode(self, body: bytes, windows: int, grids: Sequence[Grid]) -> Grid:
        """The tokens [N *g] of the level after those of `grids`.

        Raises:
            Damaged: not such a stream.
        """
        level = len(grids)
        fields = FieldReader(body)
        beside, run = (fields.uint(MOST_TOKENS, name) for name in ("windows beside", "windows of a lane"))
        rate = fields.byte()
        if rate > SLOWEST:
            raise Damaged(f"a learned prior that adapts by 2^-{rate}")
        layout = Layout.read(windows, beside, run, self.grids[level])
        decoder = from_bytes(fields.rest())
        family = constriction.stream.model.Categorical(perfect=False)

        def draw(weights: Weights, _: NDArray[np.int64]) -> NDArray[np.int64]:
            try:
                return np.asarray(decoder.decode(family, weights), np.int64)
            except (AssertionError, ValueError) as error:
                raise Damaged("a token stream that no encoder writes") from error

        tokens = self._fill(grids, layout, draw, rate)
        finish(decoder)
        return tokens

    def bits(self, grids: Sequence[Grid], beside: int) -> float:
        """-log2 P of the tokens of the last level."""
        layout = Layout.chosen(len(grids[0]), beside, self.grids[len(grids) - 1])
        total = 0.0
        for symbols, weights in self._predicted(grids, layout):
            chosen = np.take_along_axis(weights, symbols[:, None], axis=1) + 1
            total += float(24 * len(symbols) - np.log2(chosen).sum())
        return total

    def sample(self, seeds: Sequence[tuple[int, ...]], sharpness: float = 1.0) -> tuple[Grid, ...]:
        """New tokens [N *g] of each level, a window a seed, on which alone it depends.

        Args:
            seeds: of NumPy's generator.
            sharpness: exponent of the probabilities: above 1 more typical, below 1 more varied.
        """
        layout = Layout(len(seeds), len(seeds), 1)
        sources = [np.random.default_rng(seed) for seed in seeds]
        grids: list[Grid] = []

        def draw(weights: Weights, lanes: NDArray[np.int64]) -> NDArray[np.int64]:
            ends = np.cumsum(weights if sharpness == 1 else weights**sharpness, axis=1)
            at = np.array([sources[lane].random() for lane in lanes.tolist()]) * ends[:, -1]
            return np.asarray((ends <= at[:, None]).sum(axis=1), np.int64)

        for _ in self.levels:
            grids.append(self._fill(grids, layout, draw, 0))
        return tuple(grids)

    @cached_property
    def _margins(self) -> tuple[tuple[int, ...], ...]:
        return margins_of([network.contexts for network in self.levels])

    def _lanes(self, grids: Sequence[Grid], layout: Layout) -> list[LaneTokens]:
        return in_lanes(grids, layout, self.codebook_sizes, self._margins)

    def _predicted(
        self, grids: Sequence[Grid], layout: Layout
    ) -> Iterator[tuple[NDArray[np.int64], Weights]]:
        """Symbols and weights of all tokens of the last level in the order of coding."""
        level = len(grids) - 1
        network, sources = self.levels[level], self._lanes(grids, layout)
        neighbours, own = Neighbours(sources, network.contexts), sources[-1]
        adapting = Adapting(network.c, RATE)
        for steps in _batches(layout.steps(self.grids[level])):
            rows = tuple(np.concatenate(column) for column in zip(*steps, strict=True))
            assert len(rows) == 2
            codes = own.flat[neighbours.own(rows)].astype(np.int64)
            ends = np.cumsum([len(lanes) for lanes, _ in steps]).tolist()
            g = network.hidden(neighbours.tokens(rows), neighbours.places(rows))
            outputs = network.c(g)
            for start, stop in zip([0, *ends], ends, strict=False):
                part = slice(start, stop)
                groups = codes[part] if network.groups is None else network.groups[codes[part]]
                weights = adapting.weights(outputs[part])
                yield groups, weights
                adapting.update(groups, weights)
                if network.members is not None:
                    ranks = (network.members.table[groups] == codes[part, None]).argmax(axis=1)
                    yield ranks, network.member_weights(g[part], groups)

    def _fill(self, grids: Sequence[Grid], layout: Layout, draw: Draw, rate: int) -> Grid:
        """Tokens of the next level, step by step."""
        level = len(grids)
        network, nothing = self.levels[level], self.codebook_sizes[level]
        own = LaneTokens(layout, self.grids[level], nothing, self._margins[level])
        neighbours = Neighbours([*self._lanes(grids, layout), own], network.contexts)
        adapting = Adapting(network.c, rate)
        for rows in layout.steps(self.grids[level]):
            g = network.hidden(neighbours.tokens(rows), neighbours.places(rows))
            weights = adapting.weights(network.c(g))
            codes = draw(weights, rows[0])
            adapting.update(codes, weights)
            if network.members is not None:
                ranks = draw(network.member_weights(g, codes), rows[0])
                codes = network.members.table[codes, ranks]
                if (codes == nothing).any():
                    raise Damaged("a token stream with a code that is not there")
            own.flat[neighbours.own(rows)] = codes
        return own.tokens()


def _batches(steps: Iterator[Rows]) -> Iterator[list[Rows]]:
    """Steps, as many as are computed at once."""
    batch: list[Rows] = []
    held = 0
    for rows in steps:
        batch.append(rows)
        held += len(rows[0])
        if held >= _CHUNK:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch
