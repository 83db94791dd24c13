"""Settings of the term `mse`."""

from __future__ import annotations

from typing import Literal

from anycodec.config.losses.base import LossTerm


class MseSpec(LossTerm):
    """Mean squared error of the normalised window."""

    type: Literal["mse"] = "mse"
