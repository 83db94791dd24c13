"""Run signals through a coder and add up what it costs and what it loses."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from anycodec.bitstream.container import AczReader, AczWriter, SegmentData
from anycodec.data.window import Windower
from anycodec.engine import Windows
from anycodec.metrics.baseline import PatchKMeans
from anycodec.metrics.codebook import Counts, TokenCounts
from anycodec.metrics.evaluation import Result, Throughput
from anycodec.metrics.image import ImageMetrics
from anycodec.metrics.rate import Rate, entropy_rate, nominal_rate
from anycodec.metrics.seams import SeamErrors
from anycodec.metrics.signal import PooledMetrics, SignalMetrics
from anycodec.types import FileInfo, Signal
from anycodec.workflows.compress import make_header
from anycodec.workflows.pipeline import Pipeline, Prepared, Streams

SAMPLE_VALUES = 2**21
"""Values of evaluated windows that are kept to match the baseline's rate."""


@dataclass(frozen=True, slots=True)
class Part:
    """A segment to evaluate on.

    Attributes:
        file: the file it is from.
        stretch: number of the contiguous stretch it belongs to: errors are summed a stretch.
        signal: its values.
    """

    file: FileInfo
    stretch: int
    signal: Signal


class PictureMetric(Protocol):
    """A measure of pictures and of the frames of videos that somebody asked for."""

    def beside(self) -> PictureMetric:
        """A fresh one for other restored pictures of the same originals in the same order."""

    def update(
        self, original: NDArray[Any], restored: NDArray[Any], value_range: tuple[float, float]
    ) -> None:
        """Add frames [N H W C]."""

    def scores(self) -> dict[str, float]:
        """Figures by name."""


class Errors:
    """Errors of restored segments in original and normalised units, and more figures of pictures.

    Args:
        windower: of the run; says where windows meet.
        more: figures of pictures that somebody asked for.
    """

    def __init__(self, windower: Windower, more: Sequence[PictureMetric] = ()) -> None:
        self._more = more
        self._seams = SeamErrors(windower.size, windower.overlaps)
        self._original, self._normalised = PooledMetrics(), PooledMetrics()
        self._current: tuple[SignalMetrics, SignalMetrics] | None = None
        self._stretch = -1
        self._image: ImageMetrics | None = None

    def add(self, part: Part, restored: Signal, prepared: Prepared, windows: Windows) -> None:
        """Count a segment: its values against `restored`, its windows against `windows`."""
        if part.stretch != self._stretch or self._current is None:
            self._finish()
            self._stretch = part.stretch
            self._current = SignalMetrics(), SignalMetrics(channel_axis=1)
        original, normalised = self._current
        signal = part.signal
        original.update(signal.values, restored.values, signal.mask)
        self._seams.update(signal.values, restored.values, signal.mask)
        normalised.update(prepared.windows, windows)
        if signal.info.axes != "TC" and signal.info.value_range is not None:
            low, high = signal.info.value_range
            self._image = self._image or ImageMetrics(high - low)
            self._image.update(_frames(signal), _frames(restored))
            for metric in self._more:
                metric.update(_frames(signal), _frames(restored), (low, high))

    def scores(self) -> tuple[dict[str, float], dict[str, float]]:
        """Figures in original and in normalised units."""
        self._finish()
        original = self._original.result().as_dict() | {"snr_median": self._original.median_snr}
        if self._image is not None:
            original |= self._image.result().as_dict()
        for metric in self._more:
            original |= metric.scores()
        original.pop("n")
        if self._seams.ratio is not None:
            original["seams"] = self._seams.ratio
        normalised = self._normalised.result().as_dict()
        normalised.pop("n")
        return original, normalised

    def _finish(self) -> None:
        if self._current is not None:
            self._original.add(self._current[0])
            self._normalised.add(self._current[1])
            self._current = None


class CodecMeasure:
    """A codec on real files: sizes from `.acz` files that are written for it, errors, speed.

    Without tokens there are errors only.
    """

    def __init__(self, pipeline: Pipeline, more: Sequence[PictureMetric] = ()) -> None:
        self.pipeline = pipeline
        self.errors = Errors(pipeline.windower, more)
        self.tokens = TokenCounts(pipeline.codec.codebook_sizes)
        self.sizes: Counter[str] = Counter()
        self.values = self.pixels = self.source_bytes = self.files = self.stretches = 0
        self.window_values = 0
        self.sample: list[Windows] = []
        self.encode_seconds = self.decode_seconds = 0.0
        self._streams = Streams(pipeline)

    def run(self, parts: Iterable[Part]) -> None:
        """Code every segment, or only restore it where there are no tokens to store."""
        if self.has_tokens:
            self._store(parts)
        else:
            self._reconstruct(parts)

    @property
    def has_tokens(self) -> bool:
        return bool(self.pipeline.codec.codebook_sizes)

    def _reconstruct(self, parts: Iterable[Part]) -> None:
        current = None
        for part in parts:
            self.files += part.file is not current
            current = part.file
            prepared = self.pipeline.prepare(part.signal)
            self._compare(part, prepared, self.pipeline.codec.reconstruct(prepared.windows))

    def _store(self, parts: Iterable[Part]) -> None:
        with tempfile.TemporaryDirectory(prefix="anycodec-") as folder, ExitStack() as open_file:
            target, current, writer = Path(folder) / "part.acz", None, None
            for part in parts:
                if part.file is not current:
                    self._close(open_file, target)
                    current = part.file
                    header = make_header(self.pipeline, part.file)
                    writer = open_file.enter_context(AczWriter(target, header, self.pipeline.coder))
                    self.files += 1
                assert writer is not None
                self._code(part, writer)
            self._close(open_file, target)

    def _close(self, open_file: ExitStack, target: Path) -> None:
        open_file.close()
        if target.is_file():
            with AczReader(target) as reader:
                self.sizes.update(reader.sizes())
            target.unlink()

    def _code(self, part: Part, writer: AczWriter) -> None:
        signal, pipeline = part.signal, self.pipeline
        prepared = pipeline.prepare(signal)
        coder = self._streams.of(signal.info, part.stretch)
        begin = time.perf_counter()
        tokens = coder.encode(prepared.windows)
        middle = time.perf_counter()
        windows = coder.decode(tokens)
        self.encode_seconds += middle - begin
        self.decode_seconds += time.perf_counter() - middle
        self.tokens.update(tokens)
        self.window_values += prepared.windows.size
        if sum(part.size for part in self.sample) < SAMPLE_VALUES:
            self.sample.append(prepared.windows)
        affine = prepared.affine if pipeline.stores_statistics else None
        segment = SegmentData(
            start=signal.start, length=signal.length, tokens=tokens, affine=affine,
            mask=signal.mask, attachments=signal.attachments,
        )  # fmt: skip
        writer.add(signal.info, segment)
        self._compare(part, prepared, windows)

    def _compare(self, part: Part, prepared: Prepared, windows: Windows) -> None:
        signal = part.signal
        restored = self.pipeline.restore(windows, prepared.shape, prepared.affine, signal.info, signal.start)
        self.errors.add(part, restored, prepared, windows)
        self._count(part)

    def _count(self, part: Part) -> None:
        signal = part.signal
        self.stretches = max(self.stretches, part.stretch + 1)
        self.values += signal.values.size
        self.source_bytes += signal.values.size * np.dtype(signal.info.dtype).itemsize
        if signal.info.axes != "TC":
            self.pixels += signal.values.size // signal.info.n_channels

    def rate(self) -> Rate | None:
        """Size of everything coded so far; None where there are no tokens."""
        if not self.has_tokens:
            return None
        spec, sizes = self.pipeline.spec, self.pipeline.codec.codebook_sizes
        covered = [float(np.prod(stride)) * self.pipeline.in_channels for stride in spec.codec.token_strides]
        return Rate(
            values=self.values,
            bytes=dict(self.sizes),
            nominal=nominal_rate(sizes, covered),
            entropy=entropy_rate(self.tokens.counts, self.values),
            pixels=self.pixels or None,
            source_bytes=self.source_bytes,
        )

    def token_rate(self) -> float:
        """Bits of tokens a value of the windows, the padding of the last ones counted."""
        return 8 * self.sizes["tokens"] / self.window_values

    def result(self) -> Result:
        spec = self.pipeline.spec
        original, normalised = self.errors.scores()
        strides = dict.fromkeys(spec.codec.token_strides)
        covered = " and ".join(" x ".join(map(str, stride)) for stride in strides)
        return Result(
            description=f"{spec.codec.type} + {spec.codec.bottleneck}, {self._codes()}, "
            f"{covered} values a {'token' if self.has_tokens else 'latent'}",
            rate=self.rate(),
            original=original,
            normalised=normalised,
        )

    def _codes(self) -> str:
        sizes = " x ".join(map(str, self.pipeline.codec.codebook_sizes))
        return f"{sizes} codes" if self.has_tokens else "continuous latents"

    def throughput(self, device: str) -> Throughput | None:
        """Speed of encoding and decoding; None where there are no tokens."""
        if not self.has_tokens:
            return None
        return Throughput(
            encode=self.values / max(self.encode_seconds, 1e-9),
            decode=self.values / max(self.decode_seconds, 1e-9),
            device=device,
        )


class BaselineMeasure:
    """k-means VQ of raw patches on the same segments, with the same normalizer and side information."""

    def __init__(self, pipeline: Pipeline, baseline: PatchKMeans, more: Sequence[PictureMetric] = ()) -> None:
        self.pipeline = pipeline
        self.baseline = baseline
        self.errors = Errors(pipeline.windower, more)
        self.counts: Counts = np.zeros(baseline.codebook_size, np.int64)

    def run(self, parts: Iterable[Part]) -> None:
        for part in parts:
            prepared = self.pipeline.prepare(part.signal)
            tokens = self.baseline.encode(prepared.windows)
            self.counts += np.bincount(tokens.ravel(), minlength=len(self.counts))
            windows = self.baseline.decode(tokens)
            restored = self.pipeline.restore(
                windows, prepared.shape, prepared.affine, part.signal.info, part.signal.start
            )
            self.errors.add(part, restored, prepared, windows)

    def result(self, codec_rate: Rate) -> Result:
        original, normalised = self.errors.scores()
        entropy = entropy_rate([self.counts], codec_rate.values)
        return Result(
            description=self.baseline.describe(),
            rate=codec_rate.with_tokens(entropy=entropy, nominal=self.baseline.nominal),
            original=original,
            normalised=normalised,
        )


def collect(windows: Iterator[Windows], most: int) -> Windows:
    """Windows [N C *s] up to about `most` values."""
    taken, values = [], 0
    for window in windows:
        taken.append(window)
        values += window.size
        if values >= most:
            break
    return np.concatenate(taken)


def _frames(signal: Signal) -> NDArray[Any]:
    return signal.values[None] if signal.info.axes == "HWC" else signal.values
