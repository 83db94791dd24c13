"""Figures of a codec on the validation windows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from anycodec.torch.quantizers.usage import code_use, level_stats
from anycodec.torch.training.batch import Batch, moved, windows_of
from anycodec.torch.training.module import CodecTraining
from anycodec.torch.training.pictures import PictureFigures


@torch.no_grad()
def validate(module: CodecTraining, batches: Sequence[Batch], pictures: PictureFigures) -> dict[str, float]:
    """Pooled figures over all batches; the codec is left in training mode."""
    codec, device = module.codec, module.device
    codec.eval()
    loss = squared = absolute = total = power = 0.0
    count = 0
    seen: defaultdict[str, float] = defaultdict(float)
    usage = [torch.zeros(size, dtype=torch.int64, device=device) for size in codec.codebook_sizes]
    for batch in batches:
        here = moved(batch, device)
        x, output = windows_of(here), module.reconstructed(here)
        error = output.reconstruction.float() - x
        terms = module.terms(output.reconstruction, x) | dict(output.losses)
        loss += float(sum(float(term) for term in terms.values())) * x.numel()
        squared += float(error.square().sum(dtype=torch.float64))
        absolute += float(error.abs().sum(dtype=torch.float64))
        total += float(x.sum(dtype=torch.float64))
        power += float(x.square().sum(dtype=torch.float64))
        count += x.numel()
        for name, figure in pictures(output.reconstruction, x).items():
            seen[name] += float(figure) * x.numel()
        for counts, grid in zip(usage, output.tokens, strict=True):
            counts.add_(torch.bincount(grid.flatten(), minlength=len(counts)))
    codec.train()
    mse = max(squared / count, 1e-20)
    variance = max(power / count - (total / count) ** 2, 1e-20)
    return {
        "val/loss": loss / count,
        "val/mse": mse,
        "val/l1": absolute / count,
        "val/snr": _db(variance / mse),
        "val/psnr": _db(4 / mse),
        **{name: total / count for name, total in seen.items()},
        **_token_figures(usage),
    }


def _token_figures(usage: Sequence[Tensor]) -> dict[str, float]:
    """From the uses of each code, [K] a level."""
    if not usage:
        return {}
    figures = level_stats([code_use(counts.double()) for counts in usage])
    return {f"val/{name}": float(figure) for name, figure in figures.items()}


def _db(ratio: float) -> float:
    return 10 * float(torch.log10(torch.tensor(ratio, dtype=torch.float64)))
