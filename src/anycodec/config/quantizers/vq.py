"""VQ."""

from __future__ import annotations

from typing import Literal

from anycodec.config.quantizers.codebook import LearnedCodebookSpec


class VqSpec(LearnedCodebookSpec):
    """Learned codebook, |sg(z) - q|^2 + beta |z - sg(q)|^2 (van den Oord 2017, eq. 3)."""

    type: Literal["vq"] = "vq"
