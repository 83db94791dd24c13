"""A trained run at work: one segment of a signal to tokens and back.

Signal --cut--> windows --normalizer.apply--> codec.encode --> Coded
Coded --codec.decode--> windows --normalizer.invert--> stitch --> Signal
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream.coarse import coarse
from anycodec.bitstream.entropy import AdaptiveCoder
from anycodec.bitstream.prior import Prior
from anycodec.checkpoint import RunDirectory
from anycodec.config.data import DataSpec, ImageSource
from anycodec.config.run import RunSpec
from anycodec.data.channels import codec_values, native_values
from anycodec.data.normalize import Normalizer, Principal, Segment, make_normalizer
from anycodec.data.window import Windower
from anycodec.engine import ENGINES, CodecRuntime, WindowCoder, Windows, get_engine
from anycodec.errors import DataError, UserError
from anycodec.types import Affine, Signal, SignalInfo, Tokens
from anycodec.workflows.deferred import DeferredCodec
from anycodec.workflows.statistics import token_coder

Restore = Callable[[Windows], Windows]
"""Normalised windows -> normalised windows: a codec, or a baseline."""


@dataclass(frozen=True, slots=True)
class Coded:
    """A segment after the codec.

    Attributes:
        tokens: codes of its N windows.
        affine: statistics to undo the normalizer, None where the run or the type has them.
    """

    tokens: Tokens
    affine: Affine | None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A segment as the codec sees it.

    Attributes:
        shape: shape of the values that were cut, in their layout.
        windows: [N C *s], normalised.
        affine: the statistics used.
    """

    shape: tuple[int, ...]
    windows: Windows
    affine: Affine


ENGINE_VARIABLE = "ANYCODEC_ENGINE"
"""Environment variable that names the engine which loads runs, whichever trained them."""


def loading_engine(spec: RunSpec) -> str:
    """Name of the engine that loads a run: $ANYCODEC_ENGINE, else the one that trained it.

    Raises:
        UserError: there is no engine of that name.
    """
    name = os.environ.get(ENGINE_VARIABLE) or spec.engine
    if name not in ENGINES:
        raise UserError(
            f"there is no engine {name!r}", where=ENGINE_VARIABLE, how=f"use one of {', '.join(ENGINES)}"
        )
    return name


class Pipeline:
    """A run, ready to code signals. Its weights are loaded when the codec is first used.

    Args:
        run: the run directory.
        device: auto, cpu or cuda.
    """

    def __init__(self, run: RunDirectory, device: str = "auto") -> None:
        self.run = run
        self.spec: RunSpec = run.spec()
        self.fingerprint = run.fingerprint()
        self.manifest = run.read_manifest()
        self.in_channels = int(self.manifest["in_channels"])
        statistics = run.read_statistics()
        self.normalizer: Normalizer = make_normalizer(self.spec.data.normalizer, statistics)
        self.windower = Windower(self.spec.data, self.spec.codec.axes)
        engine, sizes = loading_engine(self.spec), self.spec.codec.codebook_sizes
        self.codec: CodecRuntime = DeferredCodec(
            sizes, lambda: get_engine(engine).load(self.spec, self.in_channels, run.weights, device)
        )
        levels = len(sizes)
        self._coder = token_coder(statistics, levels) if levels else None
        self.coarse = False
        """Whether statistics are put on a coarse grid before they are used, which takes fewer bytes."""
        self.rate: Mapping[str, Any] | None = None
        """What files say of the rate that was asked for."""
        self.prior_run: Path | None = None
        """The run of `prior`."""

    def noting_rate(self, rate: Mapping[str, Any]) -> Pipeline:
        """The same run, whose files say what they were asked to come to."""
        other = copy.copy(self)
        other.rate = rate
        return other

    def with_coarse_statistics(self) -> Pipeline:
        """The same run, which puts statistics on a coarse grid before it uses them."""
        other = copy.copy(self)
        other.coarse = True
        return other

    def replace_coder(self, coder: AdaptiveCoder) -> None:
        """Code tokens with another coder from now on."""
        self._coder = coder

    @property
    def coder(self) -> AdaptiveCoder:
        """The entropy coder of the tokens; see `require_tokens`."""
        self.require_tokens()
        assert self._coder is not None
        return self._coder

    @property
    def prior(self) -> Prior | None:
        """The learned prior that tokens are coded with."""
        return None if self._coder is None else self._coder.prior

    def use_prior(self, prior: Prior | None) -> None:
        """Code tokens with this prior of the codec from now on, or with none."""
        self._coder = self.coder.with_prior(prior)

    def require_tokens(self) -> None:
        """Refuse what needs tokens where there are none.

        Raises:
            UserError: the codec has continuous latents.
        """
        if self._coder is None:
            raise no_tokens(self.spec, self.run.path)

    def require_own_channels(self) -> None:
        """Refuse what draws the windows of channels one by one where each is a mixture of all.

        Raises:
            UserError: the normalizer mixes channels.
        """
        if isinstance(self.normalizer, Principal):
            raise UserError(
                "no samples can be drawn with this codec: its windows are mixtures of all channels",
                where=str(self.run.path),
                how="train a codec with data.normalizer.type=standard or revin",
            )

    @classmethod
    def open(cls, path: Path, device: str = "auto") -> Pipeline:
        """Load a run directory.

        Raises:
            RunError: not a finished run.
        """
        return cls(RunDirectory(path), device)

    @property
    def source(self) -> DataSpec:
        return self.spec.data

    @property
    def given_files(self) -> DataSpec:
        """The source for files that a user names: what training left out does not matter then."""
        return self.source.model_copy(update={"exclude": ()})

    def prepare(self, signal: Signal) -> Prepared:
        """Cut and normalise a segment.

        Raises:
            DataError: its channels do not fit the codec.
        """
        values = self._values(signal)
        self._check_channels(signal.info, values.shape[-1])
        values = self.normalizer.mix(values)
        windows = self.windower.cut(values)
        affine = self.normalizer.statistics(Segment(signal.info, values, windows, signal.mask))
        if self.coarse and self.stores_statistics:
            affine = coarse(affine)
        return Prepared(values.shape, self.normalizer.apply(windows, affine), affine)

    def stream(self, info: SignalInfo) -> WindowCoder:
        """A coder for the segments of this signal, or of a stretch of it, in order."""
        return self.codec.stream(self.windower.side_by_side(self.shape(info, info.length)))

    def reconstruct(self, windows: Windows, info: SignalInfo) -> Windows:
        """Windows of the first segment of a signal through the codec, by way of tokens where it has some."""
        if self._coder is None:
            return self.codec.reconstruct(windows)
        coder = self.stream(info)
        return coder.decode(coder.encode(windows))

    def encode(self, signal: Signal, coder: WindowCoder | None = None) -> Coded:
        """A segment to tokens and the statistics that must travel with them.

        Args:
            signal: the segment.
            coder: the stream that coded the segments before; None = this one is the first.

        Raises:
            DataError: its channels do not fit the codec.
            UserError: the codec has no tokens.
        """
        self.require_tokens()
        prepared = self.prepare(signal)
        tokens = (coder or self.stream(signal.info)).encode(prepared.windows)
        return Coded(tokens, prepared.affine if self.stores_statistics else None)

    @property
    def stores_statistics(self) -> bool:
        """Whether each segment carries its own normalizer statistics."""
        return self.normalizer.scope in ("signal", "window")

    def decode(
        self, coded: Coded, info: SignalInfo, start: int, length: int, coder: WindowCoder | None = None
    ) -> Signal:
        """Tokens to a segment of the signal `info`, in its unit and native type; `coder` as in `encode`."""
        return Signal(info=info, values=_native(self.floats(coded, info, length, coder), info), start=start)

    def floats(
        self, coded: Coded, info: SignalInfo, length: int, coder: WindowCoder | None = None
    ) -> NDArray[np.float32]:
        """Tokens to values of a segment of the signal `info`, in its unit, not rounded to its type."""
        shape = self.shape(info, length)
        affine = coded.affine or self._shared_statistics(info, shape)
        windows = (coder or self.stream(info)).decode(coded.tokens)
        return self._to_file(self._stitched(windows, shape, affine), info)

    def shape(self, info: SignalInfo, length: int) -> tuple[int, ...]:
        """Shape of the values that the codec sees for a segment of `length`."""
        channels = self.in_channels if isinstance(self.source, ImageSource) else info.n_channels
        return (*info.shape[:-1], channels) if info.axes == "HWC" else (length, *info.shape[1:])

    def restore(
        self, windows: Windows, shape: tuple[int, ...], affine: Affine, info: SignalInfo, start: int
    ) -> Signal:
        """Normalised windows to a segment of the signal `info`."""
        values = self._to_file(self._stitched(windows, shape, affine), info)
        return Signal(info=info, values=_native(values, info), start=start)

    def _stitched(self, windows: Windows, shape: tuple[int, ...], affine: Affine) -> NDArray[np.float32]:
        """Normalised windows to values of this shape in the signal's unit."""
        return self.normalizer.unmix(self.windower.stitch(self.normalizer.invert(windows, affine), shape))

    def _values(self, signal: Signal) -> NDArray[np.float32]:
        if isinstance(self.source, ImageSource):
            return codec_values(signal.values, self.in_channels, signal.info.id)
        with np.errstate(over="ignore"):
            values = np.asarray(signal.values, dtype=np.float32)
        if not np.isfinite(values).all():
            raise DataError(
                f"the value {signal.values[~np.isfinite(values)][0]:g} is beyond single precision",
                where=signal.info.id or None,
                how="choose a smaller unit, or mark the value as missing",
            )
        return values

    def _to_file(self, values: NDArray[np.float32], info: SignalInfo) -> NDArray[np.float32]:
        return native_values(values, info.n_channels) if isinstance(self.source, ImageSource) else values

    def _shared_statistics(self, info: SignalInfo, shape: tuple[int, ...]) -> Affine:
        empty: Any = np.zeros((0, *shape[1:]), np.float32)
        return self.normalizer.statistics(Segment(info, empty, empty))

    def _check_channels(self, info: SignalInfo, channels: int) -> None:
        if self.windower.independent or channels == self.in_channels:
            return
        raise DataError(
            f"the signal has {channels} channels, the codec was trained on {self.in_channels}",
            where=info.id or None,
            how="use files like the training data, or train with data.channels=independent",
        )


def no_tokens(spec: RunSpec, run: Path) -> UserError:
    """The error where a run has continuous latents and tokens are needed."""
    return UserError(
        f"this codec has continuous latents and no tokens (its quantizer is {spec.codec.bottleneck})",
        where=str(run),
        how="evaluate it, or train one with a quantizer that has codes",
    )


class Streams:
    """The stream of the signal at hand: a new one for each signal."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._current: tuple[Hashable, WindowCoder] | None = None

    def of(self, info: SignalInfo, stretch: int = 0) -> WindowCoder:
        """The stream of the signal `info`, or of the stretch of it with this number."""
        key = stretch, info.id, info.shape
        if self._current is None or self._current[0] != key:
            self._current = key, self._pipeline.stream(info)
        return self._current[1]


def _native(values: NDArray[np.float32], info: SignalInfo) -> NDArray[Any]:
    """Round and clip to the stored integer type where the values are stored as such."""
    if info.value_range is None:
        return values
    low, high = info.value_range
    clipped = np.clip(np.rint(values), low, high)
    return clipped.astype(np.dtype(info.dtype))
