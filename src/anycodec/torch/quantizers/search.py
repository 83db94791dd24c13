"""Nearest code by squared Euclidean distance, in memory that grows with neither N nor K."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from anycodec.torch.quantizers import shortlist
from anycodec.torch.quantizers.tiles import GROUP, half_norms, row_tiles

COLUMNS = 2**12
"""Codes of a tile; with more, tiles become narrow and their products slow."""


@torch.no_grad()
def nearest(z: Tensor, codes: Tensor) -> Tensor:
    """Index of the nearest code of each row; ties go to the lowest index.

    argmin_k |z - c_k|^2 = argmin_k |c_k|^2 / 2 - z.c_k, in float32 whatever the autocast. Where the
    processor multiplies bfloat16 much faster, that makes a short list first.

    Args:
        z: [N D].
        codes: [K D].

    Returns:
        [N] int64.
    """
    with torch.autocast(z.device.type, enabled=False):
        z, codes = z.float(), codes.float()
        if not shortlist.pays(z, codes):
            return nearest_of_all(z, codes)
        index, unsure = shortlist.nearest(z, codes)
        if bool(unsure.any()):
            index[unsure] = nearest_of_all(z[unsure], codes)
        return index


@torch.no_grad()
def nearest_of_all(z: Tensor, codes: Tensor) -> Tensor:
    """As `nearest`, by float32 products with every code.

    |c|^2 / 2 is one more channel of the product, (-c, |c|^2 / 2) . (z, 1): as a summand it would cost
    another pass over the scores.
    """
    index = torch.zeros(len(z), dtype=torch.int64, device=z.device)
    best = torch.full_like(z[:, 0], torch.inf)
    room, points = z.new_empty(0), z.new_empty(0)
    for start in range(0, len(codes), COLUMNS):
        part = codes[start : start + COLUMNS]
        table = torch.cat([-part, half_norms(part)[:, None]], dim=1)
        for tile in row_tiles(len(z), len(part)):
            rows = len(z[tile])
            points.resize_(rows, table.shape[1])
            torch.cat([z[tile], torch.ones_like(z[tile, :1])], dim=1, out=points)
            score, code = _least(torch.mm(table, points.T, out=room.resize_(len(table), rows)))
            index[tile] = torch.where(score < best[tile], code + start, index[tile])
            best[tile] = torch.minimum(best[tile], score)
    return index


@torch.no_grad()
def nearest_few(z: Tensor, codes: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` nearest codes of each row, the nearest first, and |c|^2 / 2 - z.c of each.

    Args:
        z: [N D] float32.
        codes: [K D] float32, K >= count.

    Returns:
        [N count] int64 and [N count].
    """
    half_norm = half_norms(codes)
    parts = [
        _least_few(torch.addmm(half_norm, z[tile], codes.T, alpha=-1), count)
        for tile in row_tiles(len(z), len(codes))
    ]
    indices, scores = zip(*parts, strict=True)
    return torch.cat(indices), torch.cat(scores)


def _least_few(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` least of each row of [n K]: they lie in the groups with the least minima."""
    if scores.shape[1] <= 2 * GROUP * count:
        least, place = scores.topk(count, largest=False)
        return place, least
    filled = F.pad(scores, (0, -scores.shape[1] % GROUP), value=torch.inf)
    groups = filled.view(len(scores), -1, GROUP)
    group = groups.amin(dim=2).topk(count, largest=False).indices  # [n count]
    rows = torch.arange(len(scores), device=scores.device)[:, None]
    members = groups[rows, group].flatten(1)  # [n count * GROUP]
    least, place = members.topk(count, largest=False)
    return group.gather(1, place // GROUP) * GROUP + place % GROUP, least


def _least(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Minimum of each column of [K n] and its first place.

    By groups of rows: `amin` is several times as fast as `min`, which tells the place.
    """
    whole = len(scores) - len(scores) % GROUP
    if whole <= GROUP:
        score, index = scores.min(dim=0)
        return score, index
    groups = scores[:whole].view(-1, GROUP, scores.shape[1])
    _, group = _least(groups.amin(dim=1))
    columns = torch.arange(scores.shape[1], device=scores.device)
    score, member = groups[group, :, columns].min(dim=1)
    index = group * GROUP + member
    if whole < len(scores):
        rest, place = scores[whole:].min(dim=0)
        index = torch.where(rest < score, place + whole, index)
        score = torch.minimum(score, rest)
    return score, index
