"""The whole configuration of a run, with the checks that need several parts at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import Field

from anycodec.config.adversarial import AdversarialSpec
from anycodec.config.alignment import AlignmentSpec
from anycodec.config.base import Spec
from anycodec.config.codec import CodecSpec
from anycodec.config.data import ArraySource, DataSpec, ImageSource, Pod5Source, TableSource, VideoSource
from anycodec.config.engines import engine_misfits
from anycodec.config.equivariance import EquivarianceSpec
from anycodec.config.loss import LossSpec, LossWindow, MseSpec
from anycodec.config.losses.base import Misfit
from anycodec.config.train import TrainSpec
from anycodec.errors import UserError


def _mse() -> dict[str, LossSpec]:
    return {"mse": MseSpec()}


class RunSpec(Spec):
    """Everything that decides a training run."""

    name: str = Field(
        "codec", pattern=r"^[A-Za-z0-9._-]+$", description="name of the run and its default folder"
    )
    seed: int = Field(0, ge=0, description="seed of weights, sampling and splits")
    engine: Literal["torch", "jax"] = Field("torch", description="framework that computes")
    data: DataSpec = Field(description="where signals come from and how they are cut")
    codec: CodecSpec = Field(description="the network")
    losses: dict[str, LossSpec] = Field(
        default_factory=_mse, min_length=1, description="reconstruction terms by name"
    )
    adversarial: AdversarialSpec | None = Field(
        None, description="a discriminator beside the codec; null = reconstruction terms alone"
    )
    alignment: AlignmentSpec | None = Field(
        None, description="latents shaped like another network's features; null = as they come"
    )
    equivariance: EquivarianceSpec | None = Field(
        None, description="latents that may be shrunk and shifted as windows may; null = as they come"
    )
    train: TrainSpec = Field(default_factory=TrainSpec, description="the training loop")


def window_shape(data: DataSpec, axes: str | None = None) -> tuple[int, ...]:
    """Spatial shape *s of the windows that a codec sees: (T,), (H, W) or (T, H, W).

    Args:
        data: the source.
        axes: the codec's, one of `data_axes(data)`; None = the first of them.
    """
    if isinstance(data, VideoSource) and axes == CLIP_AXES:
        return (data.window.frames, *data.window.size)
    if isinstance(data, ImageSource | VideoSource):
        return data.window.size
    if data.window.samples is not None:
        return (data.window.samples,)
    seconds, rate = data.window.seconds, data.sample_rate
    if seconds is None or rate is None:
        raise UserError("window.seconds needs sample_rate", where="data.window.seconds")
    return (round(seconds * rate),)


CLIP_AXES = "THW"
"""Axes of the windows of codecs that work on clips."""


def data_axes(data: DataSpec) -> tuple[str, ...]:
    """Spatial axes that windows of this source can have: frames of a video are folded, or stay clips."""
    if isinstance(data, VideoSource):
        return ("HW", CLIP_AXES)
    return ("HW",) if isinstance(data, ImageSource) else ("T",)


def _extent_key(data: DataSpec, axis: str) -> str:
    """The setting that says how long a window is along an axis."""
    if isinstance(data, VideoSource) and axis == "T":
        return "data.window.frames"
    return "data.window.size" if isinstance(data, ImageSource | VideoSource) else "data.window"


LONGEST_WINDOW = 2**31
"""Samples."""


def _seconds_mistake(data: DataSpec) -> tuple[str, str] | None:
    """What is wrong with a window given in seconds, and how to mend it."""
    if isinstance(data, ImageSource | VideoSource) or data.window.seconds is None:
        return None
    seconds, rate = data.window.seconds, data.sample_rate
    if rate is None:
        return (
            "window.seconds needs data.sample_rate",
            "set data.sample_rate (Hz) or give window.samples",
        )
    if not 1 <= seconds * rate <= LONGEST_WINDOW:
        return (
            f"{seconds:g} s at {rate:g} Hz are {seconds * rate:g} samples",
            f"choose both so that a window has 1 to {LONGEST_WINDOW} samples",
        )
    return None


TAKEN = frozenset(
    {"adaptive_weight", "alignment", "alignment_cosine", "alignment_distance", "alignment_weight",
     "codebook", "codes_dead", "codes_used", "commitment", "discriminator", "entropy", "equivariance",
     "feature_matching", "generator", "gradient_penalty", "gradient_ratio", "kl", "logits_fake",
     "logits_real", "loss", "orthogonality", "perplexity", "skipped_updates"}
)  # fmt: skip
"""Columns of metrics.csv that a quantizer, a discriminator or the sum has: no term can have their names."""


def _term_mistakes(losses: Mapping[str, LossSpec], window: LossWindow) -> Iterator[tuple[str, str, str]]:
    """The key that holds each mistake about a loss term, what is wrong, and how to mend it."""
    for name, term in losses.items():
        if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
            how = "begin with a letter; letters, digits and _ may follow"
            yield f"losses.{name}", f"{name!r} is no name for a loss term", how
        if name in TAKEN:
            what = f"{name!r} is the name of a figure that trainings have anyway"
            yield f"losses.{name}", what, "choose another name for the term"
        misfit = term.misfit(window)
        if misfit:
            yield f"losses.{name}.{misfit.setting}", misfit.what, misfit.how


def _fsdp_misfits(spec: RunSpec) -> Iterator[Misfit]:
    """What looks at single weights of the codec, which no process has whole under fsdp."""
    if spec.train.strategy != "fsdp":
        return
    sections = {name for name in ("adversarial", "alignment", "equivariance") if getattr(spec, name)}
    for section in sorted(sections):
        yield Misfit("strategy", f"fsdp divides the weights, and {section} looks at single ones", "use ddp")
    if spec.train.precision == "fp16":
        yield Misfit("strategy", "fsdp has no loss scale for fp16", "use bf16, or ddp")


def _section_misfits(spec: RunSpec) -> Iterator[tuple[str, Misfit]]:
    """Mistakes about what shapes latents and what divides weights, by section."""
    codec, normalizer = spec.codec.type, spec.data.normalizer.type
    for misfit in spec.alignment.misfits(codec, normalizer, spec.train.precision) if spec.alignment else ():
        yield "alignment", misfit
    for misfit in spec.equivariance.misfits(codec) if spec.equivariance else ():
        yield "equivariance", misfit
    for misfit in _fsdp_misfits(spec):
        yield "train", misfit


def cross_check(spec: RunSpec) -> list[tuple[str, UserError]]:
    """Mistakes that need several settings at once, each with the dotted key that holds it."""
    found: list[tuple[str, UserError]] = []

    def mistake(key: str, what: str, how: str) -> None:
        found.append((key, UserError(what, where=key, how=how)))

    data, codec = spec.data, spec.codec
    if codec.axes not in data_axes(data):
        mistake(
            "codec.type",
            f"codec {codec.type} works on axes {codec.axes}, data of type {data.type} has "
            f"{' or '.join(data_axes(data))}",
            "use simvqgan or totem for pod5, table and array data, vqgan, vqvae2 or dvae for image and video "
            "data, causal3d for video",
        )
        return found
    is_1d = isinstance(data, Pod5Source | TableSource | ArraySource)
    unusable = _seconds_mistake(data)
    if unusable:
        mistake("data.window.seconds", *unusable)
        return found
    shape = window_shape(data, codec.axes)
    if is_1d and data.window.overlap * 2 > shape[0]:
        mistake(
            "data.window.overlap",
            f"overlap {data.window.overlap} is more than half of the window of {shape[0]} samples",
            f"use at most {shape[0] // 2}",
        )
    for axis, size, stride in zip(codec.axes, shape, codec.stride, strict=True):
        if size % stride:
            lower, upper = size // stride * stride, (size // stride + 1) * stride
            near = f"{lower} or {upper}" if lower else f"{upper}"
            mistake(
                _extent_key(data, axis),
                f"the codec's strides multiply to {stride}, which does not divide the window's "
                f"{size} along {axis}",
                f"use a window of {near}, or other strides",
            )
    window = LossWindow(codec.axes, shape, data.normalizer.type)
    for key, what, how in _term_mistakes(spec.losses, window):
        mistake(key, what, how)
    for misfit in spec.train.misfits(window, len(codec.codebook_sizes)):
        mistake(f"train.{misfit.setting}", misfit.what, misfit.how)
    for misfit in engine_misfits(spec.engine, codec, spec.losses, spec.adversarial, spec.train):
        mistake(misfit.setting, misfit.what, misfit.how)
    for misfit in spec.adversarial.misfits(window, spec.train.steps) if spec.adversarial else ():
        mistake(f"adversarial.{misfit.setting}", misfit.what, misfit.how)
    for key, misfit in _section_misfits(spec):
        mistake(f"{key}.{misfit.setting}", misfit.what, misfit.how)
    if isinstance(data, ArraySource | TableSource) or not is_1d:
        return found
    if data.split.type == "ett":
        mistake("data.split.type", "the ett split is for tables and arrays", "use time, signal or file")
    return found
