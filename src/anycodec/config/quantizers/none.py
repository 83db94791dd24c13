"""No quantisation."""

from __future__ import annotations

from typing import Literal

from anycodec.config.base import Spec


class NoneSpec(Spec):
    """Latents as they are, without tokens: what quantisation costs is measured against this."""

    type: Literal["none"] = "none"

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """No tokens."""
        return ()
