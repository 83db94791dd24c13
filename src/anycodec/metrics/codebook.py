"""How a codec uses its codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anycodec.types import Tokens

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class CodebookUse:
    """Use of the codebook of one level.

    Attributes:
        size: codes there are.
        used: codes that occur.
        share: used / size.
        perplexity: exp(-sum p ln p), 1 (one code) .. size (all alike); 0 without tokens.
        entropy: -sum p log2 p, bits a token.
    """

    size: int
    used: int
    share: float
    perplexity: float
    entropy: float

    @classmethod
    def of(cls, counts: Sequence[int] | Counts) -> CodebookUse:
        """From the number of tokens a code, [K]."""
        histogram = np.asarray(counts, dtype=np.int64)
        used, bits = int(np.count_nonzero(histogram)), entropy(histogram)
        return cls(
            size=len(histogram),
            used=used,
            share=used / len(histogram),
            perplexity=2.0**bits if used else 0.0,
            entropy=bits,
        )


def entropy(counts: Sequence[int] | Counts) -> float:
    """Empirical order-0 entropy of a histogram, bits a token; 0 without tokens."""
    present = np.asarray(counts, dtype=np.float64)
    present = present[present > 0]
    if not present.size:
        return 0.0
    p = present / present.sum()
    return max(0.0, -float(p @ np.log2(p)))


class TokenCounts:
    """Histogram of tokens for each level, filled batch by batch."""

    def __init__(self, codebook_sizes: Sequence[int]) -> None:
        self.counts: tuple[Counts, ...] = tuple(np.zeros(size, dtype=np.int64) for size in codebook_sizes)

    def update(self, tokens: Tokens) -> None:
        """Count the tokens of some windows."""
        for counts, grid in zip(self.counts, tokens.grids, strict=True):
            np.add(counts, np.bincount(grid.ravel(), minlength=len(counts)), out=counts)

    def use(self) -> tuple[CodebookUse, ...]:
        """Use of each level's codebook."""
        return tuple(CodebookUse.of(counts) for counts in self.counts)
