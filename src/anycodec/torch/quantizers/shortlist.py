"""Nearest codes from a short list that bfloat16 products make and float32 products decide.

Scores s_k = |c_k|^2 / 2 - z.c_k are computed with rounded z~ and c~. Before its own rounding, a score
is off by at most

    e = |z - z~| max|c| + |z~| max|c - c~| + g (|z~| max|c| + max|c|^2 / 2)

(Cauchy-Schwarz; g bounds the rounding of W float32 sums), and rounding takes it to a value within
r = u / (1 - u) of itself, u = 2^-8. So the nearest code has s - r|s| <= least s + r|least s| + 2 e: the
codes that satisfy this are the short list. Rows with a long list are left to the caller.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from anycodec.torch.quantizers.tiles import COLUMNS, GROUP, half_norms, row_tiles

LONGEST = 8
"""Entries of a list; more are dearer than products with all codes."""
FEWEST_ROWS, FEWEST_CODES, SMALLEST_TABLE = 1024, 1024, 2**17
"""Below these N, K and K D making lists takes as long as the float32 products."""

_ROUNDING = 2**-8 * 1.02
"""r and r / (1 - r), rounded up."""
_BIAS_TERMS = 3
"""bfloat16 numbers that hold a float32."""
_FAR = 1e38
"""Score of rows that fill the last group."""


def pays(z: Tensor, codes: Tensor) -> bool:
    """Whether a short list is quicker: on processors with matrix units for bfloat16 (AMX)."""
    large = len(z) >= FEWEST_ROWS and len(codes) >= FEWEST_CODES and codes.numel() >= SMALLEST_TABLE
    # without AMX bfloat16 products were measured to be slower than float32 (AVX512-BF16)
    return large and z.device.type == "cpu" and torch.cpu._is_amx_tile_supported()


def nearest(z: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest codes of the rows whose list is short.

    Args:
        z: [N D] float32.
        codes: [K D] float32.

    Returns:
        index [N] int64, ties to the lowest, and which rows are undecided, [N] bool.
    """
    rows = _Rows.of(z)
    index = torch.zeros(len(z), dtype=torch.int64)
    best = torch.full((len(z),), torch.inf)
    unsure = torch.zeros(len(z), dtype=torch.bool)
    for start in range(0, len(codes), COLUMNS):
        part = codes[start : start + COLUMNS]
        table = _Table.of(part)
        for tile in row_tiles(len(z), len(part)):
            row, code, open_ = _list(rows, tile, table)
            score, code = _decide(z[tile], part, row, code)
            index[tile] = torch.where(score < best[tile], code + start, index[tile])
            best[tile] = torch.minimum(best[tile], score)
            unsure[tile] |= open_
    return index, unsure


@dataclass(frozen=True, slots=True)
class _Rows:
    """Latents rounded, [N W] with W = D + 3 filled up to full registers; lengths; what rounding took off."""

    rounded: Tensor
    length: Tensor
    loss: Tensor

    @staticmethod
    def of(z: Tensor) -> _Rows:
        rounded = z.bfloat16()
        ones = rounded.new_ones(len(z), _BIAS_TERMS)
        return _Rows(_fill(rounded, ones), _no_shorter(torch.linalg.vector_norm(z, dim=1)), _loss(z, rounded))


@dataclass(frozen=True, slots=True)
class _Table:
    """Codes negated and rounded with |c|^2 / 2 as three more channels, [K W], K filled up to full groups."""

    rounded: Tensor
    longest: Tensor
    loss: Tensor
    half_norm: Tensor

    @staticmethod
    def of(codes: Tensor) -> _Table:
        rounded = codes.bfloat16()
        half_norm = half_norms(codes)
        bias = F.pad(half_norm, (0, -len(codes) % GROUP), value=_FAR)
        channels = _fill(F.pad(-rounded, (0, 0, 0, -len(codes) % GROUP)), _split(bias))
        longest = (2 * half_norm.max()).sqrt()
        return _Table(channels, _no_shorter(longest), _loss(codes, rounded).max(), half_norm.max())


def _list(rows: _Rows, tile: slice, table: _Table) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of rows of a tile and codes that may be nearest, [M] each, and rows without a list, [n]."""
    scores = table.rounded @ rows.rounded[tile].T
    scores = scores.view(-1, GROUP, scores.shape[1])  # [K/G G n]
    groups = scores.amin(dim=1)
    limit = _limit(groups.amin(dim=0).float(), rows, tile, table)
    hits = groups <= limit
    hits &= hits.sum(dim=0) <= LONGEST
    group, row = hits.nonzero(as_tuple=True)
    pair, member = (scores[group, :, row] <= limit[row, None]).nonzero(as_tuple=True)
    row, code = row[pair], group[pair] * GROUP + member
    count = torch.bincount(row, minlength=scores.shape[2])
    kept = count[row] <= LONGEST
    return row[kept], code[kept], (count == 0) | (count > LONGEST)


def _limit(least: Tensor, rows: _Rows, tile: slice, table: _Table) -> Tensor:
    """The largest score that the nearest code can have, [n]."""
    length, loss = rows.length[tile], rows.loss[tile]
    sums = table.rounded.shape[1] * 2**-23
    error = loss * table.longest + length * table.loss
    error = 1.001 * error + sums * (length * table.longest + table.half_norm)
    top = least + _ROUNDING * least.abs() + 2 * error
    return top + _ROUNDING * top.abs()


def _decide(z: Tensor, codes: Tensor, row: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
    """Least float32 score of the listed codes of each row and its code; infinity without any."""
    listed = codes[code]
    score = listed.square().sum(dim=1) / 2 - listed.mul_(z[row]).sum(dim=1)
    best = score.new_full((len(z),), torch.inf).scatter_reduce_(0, row, score, "amin")
    first = score == best[row]
    index = code.new_full((len(z),), len(codes)).scatter_reduce_(0, row[first], code[first], "amin")
    return best, index


def _split(x: Tensor) -> Tensor:
    """float32 [K] as bfloat16 [K 3] of the same sum."""
    terms = []
    for _ in range(_BIAS_TERMS):
        terms.append(x.bfloat16())
        x = x - terms[-1].float()
    return torch.stack(terms, dim=1)


def _fill(channels: Tensor, bias: Tensor) -> Tensor:
    """Both side by side, with zeros up to a multiple of 32 channels."""
    width = channels.shape[1] + bias.shape[1]
    return F.pad(torch.cat([channels, bias], dim=1), (0, -width % 32))


def _no_shorter(length: Tensor) -> Tensor:
    """At least as long as the vector is after rounding."""
    return length * (1 + 2**-7)


def _loss(x: Tensor, rounded: Tensor) -> Tensor:
    """|x - x~| of each row."""
    loss: Tensor = torch.linalg.vector_norm(x - rounded, dim=1)
    return loss
