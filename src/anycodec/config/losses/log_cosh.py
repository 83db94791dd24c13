"""Settings of the term `log_cosh`."""

from __future__ import annotations

from typing import Literal

from anycodec.config.losses.base import LossTerm


class LogCoshSpec(LossTerm):
    """Mean of log cosh of the error: quadratic for small errors, absolute for large ones, smooth."""

    type: Literal["log_cosh"] = "log_cosh"
