"""What every generator's spec says about the latents that it takes."""

from __future__ import annotations

from typing import ClassVar, Literal

from anycodec.config.base import Spec
from anycodec.config.losses.base import Misfit


class AnyGeneratorSpec(Spec):
    """A generator's settings; sizes that latents, tokens or classes have are derived from those."""

    takes: ClassVar[Literal["latents", "tokens"]] = "latents"
    """What it generates: latents, by a process, or token grids, without one."""

    def misfit(self, shape: tuple[int, ...]) -> Misfit | None:
        """Why it cannot work on latents (D, *g) or on the coarsest token grid (*g), None where it can."""
        return None
