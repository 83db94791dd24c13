"""Grids of tokens as a sequence, for models of sequences.

Each level has a range of its own in one vocabulary: code k of level l is `offsets[l] + k`; the token that
ends a document, where there is one, comes after all of them.

Order of the tokens of a window: `interleaved` goes through the cells of the coarsest grid, each with its
token of every level, those of finer grids in their order below it; `levels` gives level after level.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from anycodec.errors import FormatError, UserError
from anycodec.types import Tokens

Order = Literal["interleaved", "levels"]
Flat = NDArray[np.uint16 | np.uint32]
_MOST_CODES = 2**31
"""Entries of a vocabulary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLayout:
    """How grids of tokens become a sequence.

    Attributes:
        codebook_sizes: codes a level.
        grids: token grid *g of a window for each level.
        order: see the module.
        eos: whether a token ends each document.
        codec: hints for people: `fingerprint`, `run`, `name`.

    Raises:
        UserError: `interleaved`, and a grid is no multiple of the coarsest one.
    """

    codebook_sizes: tuple[int, ...]
    grids: tuple[tuple[int, ...], ...]
    order: Order = "interleaved"
    eos: bool = False
    codec: Mapping[str, Any]

    def __post_init__(self) -> None:
        coarse = self._coarsest
        fits = all(
            len(grid) == len(coarse) and not any(g % c for g, c in zip(grid, coarse, strict=True))
            for grid in self.grids
        )
        if self.order == "interleaved" and not fits:
            raise UserError(
                f"grids {[list(grid) for grid in self.grids]} can't be interleaved",
                how="choose --order levels",
            )

    @property
    def offsets(self) -> tuple[int, ...]:
        """First entry of the vocabulary of each level."""
        return tuple(sum(self.codebook_sizes[:level]) for level in range(len(self.codebook_sizes)))

    @property
    def eos_token(self) -> int | None:
        """The entry that ends a document, None where none does."""
        return sum(self.codebook_sizes) if self.eos else None

    @property
    def vocabulary(self) -> int:
        """Number of entries."""
        return sum(self.codebook_sizes) + self.eos

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest type that holds an entry."""
        return np.dtype("<u2" if self.vocabulary <= 2**16 else "<u4")

    @property
    def tokens_a_window(self) -> int:
        """Tokens of a window, all levels together."""
        return sum(map(math.prod, self.grids))

    @property
    def _coarsest(self) -> tuple[int, ...]:
        return min(self.grids, key=math.prod)

    def flatten(self, tokens: Tokens) -> Flat:
        """Tokens of N windows -> [N * tokens_a_window]."""
        parts = [
            self._cells(grid, level) + offset
            for level, (grid, offset) in enumerate(zip(tokens.grids, self.offsets, strict=True))
        ]
        flat: Flat = np.concatenate(parts, axis=-1).astype(self.dtype).ravel()
        return flat

    def restore(self, flat: NDArray[Any]) -> Tokens:
        """Inverse of `flatten`.

        Raises:
            FormatError: not whole windows, or an entry out of the range of its level.
        """
        if len(flat) % self.tokens_a_window:
            raise FormatError(f"{len(flat)} tokens are no whole number of windows of {self.tokens_a_window}")
        cells = math.prod(self._coarsest) if self.order == "interleaved" else 1
        table = flat.astype(np.int64).reshape(-1, cells, self.tokens_a_window // cells)
        grids, begin = [], 0
        for level, (grid, offset, size) in enumerate(
            zip(self.grids, self.offsets, self.codebook_sizes, strict=True)
        ):
            end = begin + math.prod(grid) // cells
            part = table[..., begin:end] - offset
            if part.size and not 0 <= part.min() <= part.max() < size:
                raise FormatError(f"a token of level {level} is not one of its {size} codes")
            grids.append(self._from_cells(part, grid))
            begin = end
        return Tokens(tuple(grids), self.codebook_sizes)

    def _cells(self, grid: NDArray[np.int64], level: int) -> NDArray[np.int64]:
        """[N *g] -> [N cells, tokens a cell]; one cell where levels are not interleaved."""
        windows = len(grid)
        if self.order == "levels":
            return grid.reshape(windows, 1, math.prod(self.grids[level]))
        pairs = self._pairs(self.grids[level])
        split = grid.reshape(windows, *(n for pair in pairs for n in pair))
        axes = range(1, split.ndim)
        cells, below = (math.prod(pair[i] for pair in pairs) for i in (0, 1))
        return split.transpose(0, *axes[::2], *axes[1::2]).reshape(windows, cells, below)

    def _from_cells(self, cells: NDArray[np.int64], grid: tuple[int, ...]) -> NDArray[np.int64]:
        windows = len(cells)
        if self.order == "levels":
            return cells.reshape(windows, *grid)
        pairs = self._pairs(grid)
        coarse, below = zip(*pairs, strict=True) if pairs else ((), ())
        split = cells.reshape(windows, *coarse, *below)
        axes = [1 + axis + part * len(pairs) for axis in range(len(pairs)) for part in (0, 1)]
        return split.transpose(0, *axes).reshape(windows, *grid)

    def _pairs(self, grid: tuple[int, ...]) -> list[tuple[int, int]]:
        """Cells of the coarsest grid, and tokens below each, along each axis."""
        return [(c, g // c) for c, g in zip(self._coarsest, grid, strict=True)]


def layout_from_json(document: Any) -> TokenLayout:
    """The layout from JSON.

    Raises:
        ValueError: not one.
    """
    sizes = _positive(document["codebook_sizes"])
    grids = tuple(map(_positive, document["grids"]))
    order, eos, codec = (document[key] for key in ("order", "eos", "codec"))
    if order not in get_args(Order) or not isinstance(eos, bool) or not isinstance(codec, dict):
        raise ValueError
    if len(sizes) != len(grids) or sum(sizes) >= _MOST_CODES:
        raise ValueError
    return TokenLayout(codebook_sizes=sizes, grids=grids, order=order, eos=eos, codec=codec)


def _positive(values: Any) -> tuple[int, ...]:
    if not isinstance(values, list) or not values or not all(type(n) is int and n > 0 for n in values):
        raise ValueError
    return tuple(values)
