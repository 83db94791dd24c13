"""What every sampler's spec says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anycodec.config.base import Spec


class AnySamplerSpec(Spec):
    """A sampler's settings."""

    if TYPE_CHECKING:  # each sampler declares it with a default of its own
        steps: int
