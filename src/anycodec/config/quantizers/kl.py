"""The diagonal Gaussian bottleneck."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anycodec.config.base import Spec


class KlSpec(Spec):
    """Continuous latents near a standard normal (VAE, arXiv 1312.6114); gives no tokens."""

    type: Literal["kl"] = "kl"
    weight: float = Field(
        1e-6, ge=0, description="weight of the mean over latent elements of KL(N(mean, var) | N(0, 1)), nats"
    )

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """No tokens."""
        return ()
