"""What every process's spec says."""

from __future__ import annotations

from typing import ClassVar

from anycodec.config.base import Spec


class AnyProcessSpec(Spec):
    """A process's settings."""

    samplers: ClassVar[tuple[str, ...]]
    """Types of the samplers that can run it; the first is the default."""
