"""Where a run comes from."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from anycodec import __version__
from anycodec.config.run import RunSpec
from anycodec.engine import TrainingResult


def provenance(spec: RunSpec, in_channels: int) -> dict[str, Any]:
    """What a manifest says of any new run: when and with which versions it was made, for which windows."""
    return {**made_by(spec.engine), "in_channels": in_channels}


def outcome(result: TrainingResult, best: dict[str, Any], speed: str) -> dict[str, Any]:
    """What a manifest says of how a training ended.

    Args:
        result: what the training gave.
        best: what chose the weights.
        speed: name of the figure of values, samples or tokens a second.
    """
    return {
        "steps": result.steps,
        "best": best,
        "seconds": round(result.seconds, 2),
        "data_wait": round(result.data_wait, 5),
        speed: round(result.samples_per_second),
    }


def made_by(engine: str) -> dict[str, Any]:
    """When, by which engine and with which versions a run was made."""
    return {
        "anycodec": __version__,
        "format": 1,
        "engine": engine,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "python": platform.python_version(),
            "numpy": metadata.version("numpy"),
            "torch": metadata.version("torch"),
        },
    }
