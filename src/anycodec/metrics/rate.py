"""How many bits a value costs, with all side information counted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anycodec.metrics.codebook import Counts, entropy

TOKENS = "tokens"
"""The category of the tokens in `Rate.bytes`; everything else is side information."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Size of compressed signals.

    Attributes:
        values: scalar values that were coded (samples or pixels x channels).
        bytes: compressed size by category: `tokens`, and side information under its own names
            (statistics, metadata, header, ...). They add up to the files' size.
        nominal: sum over levels of log2(codebook size) / values a token, bits/value.
        entropy: empirical order-0 entropy of the tokens, bits/value.
        pixels: pixels that were coded, None where the signal has none.
        source_bytes: size of the native files, None where unknown.
    """

    values: int
    bytes: Mapping[str, int]
    nominal: float
    entropy: float
    pixels: int | None = None
    source_bytes: int | None = None

    @property
    def total_bytes(self) -> int:
        return sum(self.bytes.values())

    @property
    def bits_per_value(self) -> float:
        """Measured rate with all side information."""
        return 8 * self.total_bytes / self.values

    @property
    def bits_per_pixel(self) -> float | None:
        return None if self.pixels is None else 8 * self.total_bytes / self.pixels

    @property
    def side_bits_per_value(self) -> float:
        """The share of `bits_per_value` that is not tokens."""
        return self.bits_per_value - self.split()[TOKENS]

    def split(self) -> dict[str, float]:
        """bits/value by category, tokens first."""
        sizes = {TOKENS: 0, **self.bytes}
        return {name: 8 * size / self.values for name, size in sizes.items()}

    def with_tokens(self, *, entropy: float, nominal: float) -> Rate:
        """The same signals and side information with other tokens, coded at their entropy."""
        size = math.ceil(entropy * self.values / 8)
        return Rate(
            values=self.values,
            bytes={**self.bytes, TOKENS: size},
            nominal=nominal,
            entropy=entropy,
            pixels=self.pixels,
            source_bytes=self.source_bytes,
        )


def nominal_rate(codebook_sizes: Sequence[int], values_per_token: Sequence[float]) -> float:
    """Fixed-length rate, sum over levels of log2(K) / values a token, in bits/value.

    Args:
        codebook_sizes: K of each level.
        values_per_token: product of the level's strides times the channels of a window.
    """
    levels = zip(codebook_sizes, values_per_token, strict=True)
    return sum(math.log2(size) / values for size, values in levels)


def entropy_rate(counts: Sequence[Counts], values: int) -> float:
    """Empirical order-0 entropy of all tokens in bits/value.

    Args:
        counts: histogram of the tokens of each level, [K] each.
        values: scalar values that these tokens stand for.
    """
    return sum(int(level.sum()) * entropy(level) for level in counts) / values
