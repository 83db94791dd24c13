"""A batch shared by devices: what each gets, and what all of them together learn from."""

from __future__ import annotations

from anycodec.config.train import LoopSpec
from anycodec.errors import ConfigError, UserError


def check_shares(batch_size: int, devices: int) -> None:
    """Refuse a batch that the devices can't share.

    Raises:
        ConfigError: says which sizes they can.
    """
    if batch_size % devices:
        below, above = batch_size // devices * devices, (batch_size // devices + 1) * devices
        mistake = UserError(
            f"{devices} devices can't share a batch of {batch_size} evenly",
            where="train.batch_size",
            how=f"use {f'{below} or ' if below else ''}{above}, or fewer devices",
        )
        raise ConfigError([mistake])


def effective(spec: LoopSpec, accumulate: int, devices: int, strategy: str | None = None) -> str:
    """What a step learns from and how fast, in a line.

    Args:
        spec: the training loop.
        accumulate: batches a step.
        devices: that share each of them.
        strategy: how; None = not worth a word.
    """
    factors = [f"{spec.batch_size // devices}"]
    factors += [f"{devices} devices" + (f" ({strategy})" if strategy else "")] if devices > 1 else []
    factors += [f"{accumulate} batches"] if accumulate > 1 else []
    made = f" = {' x '.join(factors)}" if len(factors) > 1 else ""
    rate = f"{spec.optimizer.lr:g}, {spec.schedule.type} schedule"
    return f"{spec.batch_size * accumulate:,} a step{made}; learning rate {rate}"
