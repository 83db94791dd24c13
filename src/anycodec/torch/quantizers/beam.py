"""Codes of several stages that are chosen together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from anycodec.torch.quantizers.search import nearest, nearest_few
from anycodec.torch.quantizers.tiles import TILE


@torch.no_grad()
def beam_search(
    z: Tensor, tables: Sequence[Tensor], width: int, prices: Sequence[Tensor] | None = None
) -> list[Tensor]:
    """One code of each table, so that their sum comes near z and, where codes have prices, costs little.

    The nearest code of each stage in turn need not end in the best sum. A beam search (Babenko &
    Lempitsky 2014, Additive Quantization, section 3.1) follows the `width` best sums from stage to
    stage; width 1 is the nearest code in turn. "Best" is the least |z - sum|^2 + sum of prices.

    Args:
        z: [N D].
        tables: codes [K D] of each stage.
        width: sums that are followed.
        prices: [K] of each stage, not negative.

    Returns:
        [N] int64 for each stage.
    """
    with torch.autocast(z.device.type, enabled=False):
        if prices is not None:
            z, tables = _priced(z, tables, prices)
        rows = max(1, TILE // (width * z.shape[1]))
        paths = [_search(part, tables, width) for part in torch.split(z.float(), rows)]
        return list(torch.cat(paths).unbind(dim=1))


def _priced(z: Tensor, tables: Sequence[Tensor], prices: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Prices as squared distances along axes of their own, an axis a stage: |(z, 0) - (c, sqrt p)|^2."""
    stages = len(tables)
    priced = [
        torch.cat(
            [F.pad(table, (0, i)), price.sqrt()[:, None], table.new_zeros(len(table), stages - 1 - i)], 1
        )
        for i, (table, price) in enumerate(zip(tables, prices, strict=True))
    ]
    return F.pad(z, (0, stages)), priced


def _search(z: Tensor, tables: Sequence[Tensor], width: int) -> Tensor:
    """Codes of all stages [N S]."""
    left = z[:, None]  # [N B D], what each of B sums leaves
    paths = z.new_zeros((len(z), 1, 0), dtype=torch.int64)  # [N B stages so far]
    for table in tables[:-1]:
        count = min(width, len(table))
        codes, scores = nearest_few(left.flatten(0, 1), table, count)
        # |left - c|^2 = |left|^2 + 2 (|c|^2 / 2 - left.c)
        lengths = left.square().sum(dim=-1, keepdim=True)
        errors = (lengths + 2 * scores.view(*left.shape[:2], count)).flatten(1)
        kept = errors.topk(min(width, errors.shape[1]), largest=False).indices
        code = codes.view(len(z), -1).gather(1, kept)
        left = _take(left, kept // count) - table[code]
        paths = torch.cat([_take(paths, kept // count), code[..., None]], dim=-1)
    last = nearest(left.flatten(0, 1), tables[-1]).view(left.shape[:2])
    best = (left - tables[-1][last]).square().sum(dim=-1).argmin(dim=1, keepdim=True)
    return torch.cat([_take(paths, best)[:, 0], last.gather(1, best)], dim=1)


def _take(x: Tensor, index: Tensor) -> Tensor:
    """Entries [N I ..] of x [N B ..] at index [N I]."""
    return x[torch.arange(len(x), device=x.device)[:, None], index]
