"""A training that diverges ends with the names of what broke."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from anycodec.errors import RunError


def require_finite(figures: Mapping[str, ArrayLike], step: int) -> None:
    """Raise if a figure or array is not finite.

    Raises:
        RunError: names them.
    """
    broken = [name for name, value in figures.items() if not np.isfinite(value).all()]
    if broken:
        raise diverged(broken, step)


def diverged(broken: Sequence[str], step: int) -> RunError:
    """The error of a step after which these are not finite."""
    more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
    return RunError(
        f"the training diverged at step {step}: not finite: {', '.join(broken[:3])}{more}",
        how="start again with a lower train.optimizer.lr, a smaller train.clip or fp32; "
        "the last checkpoint before it is kept",
    )
