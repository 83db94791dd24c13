"""Settings of the term `l1`."""

from __future__ import annotations

from typing import Literal

from anycodec.config.losses.base import LossTerm


class L1Spec(LossTerm):
    """Mean absolute error of the normalised window."""

    type: Literal["l1"] = "l1"
