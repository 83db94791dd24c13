"""What the second engine has of the parts of a configuration; torch has all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from anycodec.config.adversarial import AdversarialSpec
from anycodec.config.codec import CodecSpec, SimVqganSpec
from anycodec.config.discriminator import DiscriminatorSpec
from anycodec.config.loss import LossSpec
from anycodec.config.losses.base import Misfit
from anycodec.config.quantizers.residual import ResidualSpec
from anycodec.config.train import TrainSpec

JAX: Mapping[str, tuple[str, ...]] = {
    "codec": ("simvqgan",),
    "quantizer": ("ema", "fsq", "none", "residual", "simvq", "vq"),
    "loss": ("gradient", "huber", "l1", "log_cosh", "mse", "stft"),
    "discriminator": ("patchgan", "res_patchgan"),
}
"""Types of each kind of part."""


def engine_misfits(
    engine: Literal["torch", "jax"],
    codec: CodecSpec,
    losses: Mapping[str, LossSpec],
    adversarial: AdversarialSpec | None,
    train: TrainSpec,
) -> Iterator[Misfit]:
    """What an engine lacks of a configuration; `setting` is the whole key."""
    if engine == "torch":
        return
    asked: list[tuple[str, str, str]] = [("codec", codec.type, "codec.type")]
    if isinstance(codec, SimVqganSpec):
        asked += [("quantizer", name, key) for name, key in _quantizers(codec)]
        if isinstance(codec.quantizer, ResidualSpec) and codec.quantizer.rate_weight:
            yield Misfit(
                "codec.quantizer.rate_weight", "the engine jax knows no prices of codes", "use engine=torch"
            )
    asked += [("loss", term.type, f"losses.{name}.type") for name, term in losses.items()]
    if adversarial:
        asked += [("discriminator", adversarial.discriminator.type, "adversarial.discriminator.type")]
    for kind, name, key in asked:
        if name not in JAX[kind]:
            yield Misfit(
                key,
                f"the engine jax has no {kind} {name}",
                f"use one of {', '.join(JAX[kind])}, or engine=torch",
            )
    if adversarial:
        yield from _discriminator_misfits(adversarial.discriminator)
    if train.strategy == "fsdp":
        yield Misfit(
            "train.strategy", "the engine jax keeps the weights on every device", "use ddp, or engine=torch"
        )
    if train.num_nodes > 1:
        yield Misfit(
            "train.num_nodes",
            "the engine jax learns of other machines from their environment",
            "leave it out, and set JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID on each",
        )
    if train.precision == "fp16":
        yield Misfit("train.precision", "the engine jax has no fp16", "use bf16 or fp32, or engine=torch")


def _discriminator_misfits(spec: DiscriminatorSpec) -> Iterator[Misfit]:
    key = "adversarial.discriminator"
    if spec.spectral_norm:
        yield Misfit(
            f"{key}.spectral_norm", "the engine jax has no spectral norm", "set it to false, or engine=torch"
        )
    if spec.norm == "actnorm":
        yield Misfit(
            f"{key}.norm",
            "the engine jax has no norm actnorm",
            "use group, instance, batch or none, or engine=torch",
        )


def _quantizers(codec: SimVqganSpec) -> Iterator[tuple[str, str]]:
    """Type and key of a codec's quantizer, and of that of its stages."""
    yield codec.quantizer.type, "codec.quantizer.type"
    if isinstance(codec.quantizer, ResidualSpec):
        yield codec.quantizer.quantizer.type, "codec.quantizer.quantizer.type"
