"""The figures of a validation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def summary(step: int, figures: Mapping[str, float], more: str) -> str:
    """The line that a validation prints."""
    text = f"step {step:>6}  loss {figures['val/loss']:.5g}  snr {figures['val/snr']:.2f} dB"
    if "val/codes_used" in figures:
        text += f"  codes {figures['val/codes_used']:.0%}  perplexity {figures['val/perplexity']:.0f}"
    return text + more


class Pooled:
    """Figures over all windows of a validation, from those of its batches.

    Args:
        codebook_sizes: codes a level; () where the codec has no tokens.
    """

    def __init__(self, codebook_sizes: Sequence[int]) -> None:
        self._loss = self._squared = self._absolute = self._total = self._power = 0.0
        self._count = 0
        self._uses = [np.zeros(size, np.int64) for size in codebook_sizes]

    def add(
        self,
        x: NDArray[np.float32],
        reconstruction: NDArray[np.float32],
        loss: float,
        grids: Sequence[NDArray[Any]],
    ) -> None:
        """Take in a batch.

        Args:
            x: windows [B C *s].
            reconstruction: what came back.
            loss: mean of the sum of all terms.
            grids: tokens, a grid [B *g] a level.
        """
        values, error = x.astype(np.float64), reconstruction.astype(np.float64) - x
        self._loss += loss * x.size
        self._squared += float(np.square(error).sum())
        self._absolute += float(np.abs(error).sum())
        self._total += float(values.sum())
        self._power += float(np.square(values).sum())
        self._count += x.size
        for uses, grid in zip(self._uses, grids, strict=True):
            np.add(uses, np.bincount(grid.ravel(), minlength=len(uses)), out=uses)

    def figures(self) -> dict[str, float]:
        """Those of any window and, with tokens, of their codes."""
        mse = max(self._squared / self._count, 1e-20)
        variance = max(self._power / self._count - (self._total / self._count) ** 2, 1e-20)
        return {
            "val/loss": self._loss / self._count,
            "val/mse": mse,
            "val/l1": self._absolute / self._count,
            "val/snr": 10 * math.log10(variance / mse),
            "val/psnr": 10 * math.log10(4 / mse),
        } | self._token_figures()

    def _token_figures(self) -> dict[str, float]:
        """Of each level where there are several, and their means."""
        levels = [_code_use(uses) for uses in self._uses]
        if not levels:
            return {}
        means = {f"val/{name}": float(np.mean([level[name] for level in levels])) for name in levels[0]}
        if len(levels) == 1:
            return means
        return means | {f"val/{k}_{i}": v for i, level in enumerate(levels) for k, v in level.items()}


def _code_use(uses: NDArray[np.int64]) -> dict[str, float]:
    """`perplexity`, exp of the entropy, and `codes_used`, a share, from the uses of each code [K]."""
    p = uses[uses > 0] / uses.sum()
    return {"perplexity": float(np.exp(-(p * np.log(p)).sum())), "codes_used": len(p) / len(uses)}
