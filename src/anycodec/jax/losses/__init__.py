"""Loss terms, one file a term; `type` in the config is the module's name."""

from __future__ import annotations

from collections.abc import Mapping

from anycodec.config.loss import LossSpec
from anycodec.jax.losses.base import Loss
from anycodec.jax.support import supported

LOSSES = ("gradient", "huber", "l1", "log_cosh", "mse", "stft")


def make_losses(specs: Mapping[str, LossSpec]) -> dict[str, Loss]:
    """The terms of a configuration by name.

    Raises:
        ConfigError: a kind of term that this engine does not have.
    """
    return {
        name: supported(__name__, Loss, spec.type, LOSSES, where=f"losses.{name}.type")(spec)
        for name, spec in specs.items()
    }


__all__ = ["LOSSES", "Loss", "make_losses"]
