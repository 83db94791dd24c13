"""Tokens <-> bytes: a range coder whose model starts from the run's token counts and adapts.

Everything that decides a probability is integer arithmetic, so that all machines agree:

    f_i   = floor(c_i * M * 32 / sum c) + 1          start: counts c of the run, weight of M symbols
    left_i = floor(F_i * (2^24 - K) / F_K) + i       F_i = f_0 + .. + f_{i-1}, the quantised model
    f_i  += 32 * (times symbol i occurred)           after each block

Where the run knows which tokens go together, their context is tried as well (`context.py`); samples on a
trellis are foretold (`trellis.py`). Every stream starts afresh. FORMAT.md says the same in full.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self

import constriction
import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream.adaptation import INCREMENT, Symbols, blocks, bounded, categorical
from anycodec.bitstream.context import ContextCoder, TokenContext
from anycodec.bitstream.fields import Damaged
from anycodec.bitstream.limits import LARGEST_CODEBOOK, MOST_LEVELS, MOST_TOKENS
from anycodec.bitstream.prior import Prior
from anycodec.bitstream.prior_lanes import Grid
from anycodec.bitstream.rangecoder import finish, from_bytes, to_bytes

if TYPE_CHECKING:
    from anycodec.bitstream.trellis import TrellisCoder

NAME = "adaptive-range-1"
"""Name of this coder in a file's header."""
TRELLIS_NAME = "trellis-range-1"
"""The same where streams of mode 66 may occur."""
NAMES = (NAME, TRELLIS_NAME)
LARGEST_MODELLED = 2**18
"""Codebooks above this are bit-packed: a model would cost more than it saves."""
STRENGTHS = (0, 3, 6)
"""The encoder weighs the start counts as K * 2^strength symbols and keeps the shortest stream."""
STRONGEST = 12
"""Largest strength that a reader accepts."""

_RAW = 0
_ADAPTIVE = 1
_CONTEXT = 64
_PRIOR = 65
_TRELLIS = 66
"""Mode byte of a stream: 0 bit-packed, 1 + strength adaptive, 64 with context, 65 by a learned prior,
66 foretold on a trellis."""
_CHUNK = 2**16


class AdaptiveCoder:
    """Codes the tokens of each level.

    Args:
        priors: how often each code occurred in training, [K] integers a level.
        contexts: what training knows of tokens in context, by level.
        trellises: states of the trellis that the tokens of a window follow, by level.

    Attributes:
        prior: the learned prior that streams may use, None where there is none.
    """

    def __init__(
        self,
        priors: Sequence[NDArray[np.int64]],
        contexts: Mapping[int, TokenContext] | None = None,
        trellises: Mapping[int, int] | None = None,
    ) -> None:
        if not 1 <= len(priors) <= MOST_LEVELS:
            raise ValueError(f"{len(priors)} levels, 1 to {MOST_LEVELS} can be coded")
        self.prior: Prior | None = None
        self._priors = [_checked(prior) for prior in priors]
        self._contexts = {
            level: ContextCoder(context, self._priors[level]) for level, context in (contexts or {}).items()
        }
        self._trellises = {
            level: _trellis_coder(states, len(self._priors[level]))
            for level, states in (trellises or {}).items()
        }

    @property
    def name(self) -> str:
        """Name for a file's header."""
        return TRELLIS_NAME if self._trellises else NAME

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """K of each level."""
        return tuple(len(prior) for prior in self._priors)

    def with_prior(self, prior: Prior | None) -> Self:
        """The same coder with this learned prior.

        Raises:
            ValueError: it is of other codebooks.
        """
        if prior is not None and prior.codebook_sizes != self.codebook_sizes:
            raise ValueError(f"a prior of codebooks {prior.codebook_sizes}, not {self.codebook_sizes}")
        other = copy.copy(self)
        other.prior = prior
        return other

    def shorter(self, stream: bytes, grids: Sequence[Grid], beside: int) -> bytes:
        """A stream of the last of these levels, or the one by the learned prior where that is shorter.

        Args:
            stream: what `encode` gave.
            grids: tokens [N *g] of the levels up to this one.
            beside: windows of the same time, which stand beside each other.
        """
        if self.prior is None or not grids[-1].size or not self.prior.fits(grids):
            return stream
        return min(stream, bytes([_PRIOR]) + self.prior.encode(grids, beside), key=len)

    def by_prior(self, data: bytes, shape: tuple[int, ...], before: Sequence[Grid]) -> Grid | None:
        """The tokens of a stream by the learned prior; None where the stream is of another kind.

        Args:
            data: the stream.
            shape: [N *g] of its tokens.
            before: tokens of the levels before.

        Raises:
            Damaged: not such a stream, or its prior is not at hand.
        """
        if not codes_by_prior(data):
            return None
        if self.prior is None or self.prior.grids[len(before)] != shape[1:]:
            raise Damaged("a token stream of a learned prior that is not at hand, or of other windows")
        return self.prior.decode(data[1:], shape[0], before)

    def first(self, levels: int) -> Self:
        """The same coder for the first levels alone."""
        other = copy.copy(self)
        other.prior = None
        other._priors = self._priors[:levels]
        other._contexts = {level: one for level, one in self._contexts.items() if level < levels}
        return other

    def encode(
        self, symbols: Symbols, level: int, coarser: Symbols | None = None, window: int | None = None
    ) -> bytes:
        """Code symbols [n], as short as the modes allow.

        Args:
            symbols: tokens of a level in order.
            level: number of the level.
            coarser: tokens [n] of the level before at the same places, where its grid is the same.
            window: tokens of a window; None = all.

        Raises:
            ValueError: a symbol outside the level's codebook, or too many symbols.
        """
        size = len(self._priors[level])
        if len(symbols) > MOST_TOKENS:
            raise ValueError(f"{len(symbols)} tokens, at most {MOST_TOKENS} can be coded at once")
        if len(symbols) and not 0 <= symbols.min() <= symbols.max() < size:
            raise ValueError(
                f"tokens {symbols.min()}..{symbols.max()} of level {level}: not in 0..{size - 1}"
            )
        streams = [bytes([_RAW]) + _pack_bits(symbols, size)]
        if size <= LARGEST_MODELLED:
            streams += [
                bytes([_ADAPTIVE + strength]) + self._encode(symbols, level, strength)
                for strength in STRENGTHS
            ]
        if level in self._trellises:
            foretold = self._trellises[level].encode(symbols, window or max(1, len(symbols)))
            streams += [] if foretold is None else [bytes([_TRELLIS]) + foretold]
        context = self._contexts.get(level)
        if context is not None and (coarser is not None or not context.needs_coarser):
            streams.append(bytes([_CONTEXT]) + context.encode(symbols, coarser))
        return min(streams, key=len)

    def decode(
        self, data: bytes, n: int, level: int, coarser: Symbols | None = None, window: int | None = None
    ) -> Symbols:
        """The `n` symbols of a stream; see `encode`.

        Raises:
            Damaged: not such a stream.
        """
        size = len(self._priors[level])
        if not data or not 0 <= n <= MOST_TOKENS:
            raise Damaged(f"no stream of {n} tokens")
        mode, body = data[0], data[1:]
        if mode == _RAW:
            return _unpack_bits(body, n, size)
        if mode == _CONTEXT and level in self._contexts:
            return self._contexts[level].decode(body, n, coarser)
        if mode == _TRELLIS and level in self._trellises:
            return self._trellises[level].decode(body, n, window or max(1, n))
        if size > LARGEST_MODELLED or mode > _ADAPTIVE + STRONGEST:
            raise Damaged(f"unknown mode {mode} of a token stream")
        return self._decode(body, n, level, mode - _ADAPTIVE)

    def _encode(self, symbols: Symbols, level: int, strength: int) -> bytes:
        model = _Model(self._priors[level], strength)
        encoder = constriction.stream.queue.RangeEncoder()
        narrow = symbols.astype(np.int32)
        for start, stop in blocks(len(symbols), model.size):
            encoder.encode(narrow[start:stop], categorical(model.weights))
            model.update(symbols[start:stop])
        return to_bytes(encoder)

    def _decode(self, body: bytes, n: int, level: int, strength: int) -> Symbols:
        model = _Model(self._priors[level], strength)
        decoder = from_bytes(body)
        symbols = np.empty(n, np.int64)
        for start, stop in blocks(n, model.size):
            try:
                symbols[start:stop] = decoder.decode(categorical(model.weights), stop - start)
            except (AssertionError, ValueError) as error:
                raise Damaged("a token stream that no encoder writes") from error
            model.update(symbols[start:stop])
        finish(decoder)
        return symbols


def codes_by_prior(stream: bytes) -> bool:
    """Whether a token stream needs the learned prior."""
    return stream[:1] == bytes([_PRIOR])


class _Model:
    """Weights f of the symbols of one level while a stream is coded."""

    def __init__(self, prior: NDArray[np.int64], strength: int) -> None:
        self.size = len(prior)
        mass = (self.size << strength) * INCREMENT
        self.weights = prior * mass // prior.sum() + 1

    def update(self, symbols: Symbols) -> None:
        self.weights += INCREMENT * np.bincount(symbols, minlength=self.size)


def _trellis_coder(states: int, size: int) -> TrellisCoder:
    """Imported here, since what compiles it takes a while to load and few runs need it."""
    from anycodec.bitstream.trellis import TrellisCoder

    return TrellisCoder(states, size)


def _checked(prior: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts with a sum in 1..2^28 - 1."""
    counts = np.asarray(prior)
    if counts.ndim != 1 or not 2 <= len(counts) <= LARGEST_CODEBOOK or counts.dtype.kind not in "iu":
        raise ValueError(f"token counts must be 2 to {LARGEST_CODEBOOK} integers")
    counts = counts.astype(np.int64)
    if counts.min() < 0:
        raise ValueError("token counts must not be negative")
    if not counts.any():
        return np.ones_like(counts)
    return bounded(counts)


def _bits(size: int) -> int:
    return (size - 1).bit_length()


def _pack_bits(symbols: Symbols, size: int) -> bytes:
    """ceil(log2 K) bits a symbol, most significant first."""
    places = np.arange(_bits(size) - 1, -1, -1)
    chunks = (symbols[i : i + _CHUNK, None] >> places & 1 for i in range(0, len(symbols), _CHUNK))
    return b"".join(np.packbits(chunk.astype(np.uint8)).tobytes() for chunk in chunks)


def _unpack_bits(body: bytes, n: int, size: int) -> Symbols:
    bits = _bits(size)
    if len(body) != -(n * bits // -8):
        raise Damaged(f"{len(body)} bytes for {n} tokens of {bits} bits")
    places = 1 << np.arange(bits - 1, -1, -1)
    step = _CHUNK * bits // 8
    symbols = np.empty(n, np.int64)
    for i in range(0, n, _CHUNK):
        count = min(_CHUNK, n - i)
        offset = i // _CHUNK * step
        part = np.frombuffer(body[offset : offset + step], np.uint8)
        symbols[i : i + count] = np.unpackbits(part, count=count * bits).reshape(count, bits) @ places
    if n and symbols.max() >= size:
        raise Damaged(f"token {symbols.max()} is not in 0..{size - 1}")
    return symbols
