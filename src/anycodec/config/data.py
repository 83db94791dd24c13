"""Specs of the data path. `type` of the source names the module in `anycodec/io/`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_serializer, field_validator, model_validator

from anycodec.config.base import Spec
from anycodec.urls import url_of

Ratio = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(ge=1)]


# --- normalizers: module names in anycodec/data/normalize.py, all affine -----------------------


class MedianMadSpec(Spec):
    """(x - median) / (1.4826 MAD), statistics of each signal segment (nanopore's custom)."""

    type: Literal["median_mad"] = "median_mad"


class StandardSpec(Spec):
    """z-score a channel with mean and deviation of the training split (stored in the run)."""

    type: Literal["standard"] = "standard"


class PrincipalSpec(Spec):
    """z-score, then the channels turned to the principal axes of their steps from sample to sample.

    Channels that move together are coded once. The turn keeps distances: errors stay what they are. Mean,
    deviation and axes are those of the training split (stored in the run).
    """

    type: Literal["principal"] = "principal"


class RevinSpec(Spec):
    """Mean and sqrt(biased variance + 1e-5) of each window and channel (RevIN, Kim 2022)."""

    type: Literal["revin"] = "revin"
    center: Literal["mean", "last"] = Field(
        "mean", description="what is subtracted from a window: its mean, or its last value"
    )


class FixedSpec(Spec):
    """A fixed range to [-1, 1]; the native type's range (0..255 for 8 bit) unless given."""

    type: Literal["fixed"] = "fixed"
    low: float | None = Field(None, description="value that becomes -1; null = the type's lowest")
    high: float | None = Field(None, description="value that becomes 1; null = the type's highest")

    @model_validator(mode="after")
    def _both(self) -> FixedSpec:
        if (self.low is None) != (self.high is None):
            raise ValueError("give both low and high, or neither")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low {self.low:g} must be below high {self.high:g}")
        return self


NormalizerSpec = Annotated[MedianMadSpec | StandardSpec | RevinSpec | FixedSpec, Field(discriminator="type")]
SeriesNormalizerSpec = Annotated[
    MedianMadSpec | StandardSpec | PrincipalSpec | RevinSpec | FixedSpec, Field(discriminator="type")
]
"""Of data whose channels are series beside each other."""


# --- splits -------------------------------------------------------------------------------------


class RatioSplit(Spec):
    """Settings that ratio splits share."""

    ratios: tuple[Ratio, Ratio, Ratio] = Field(
        (0.8, 0.1, 0.1), description="shares of training, validation and test"
    )

    @field_validator("ratios")
    @classmethod
    def _sum(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if abs(sum(value) - 1) > 1e-6 or value[0] <= 0:
            raise ValueError(f"ratios {value} must add up to 1, with a training share above 0")
        return value


class TimeSplit(RatioSplit):
    """Contiguous blocks in time with a guard between them.

    Long signals are cut within each signal; pictures are blocks of consecutive files of each class
    (random splits of overlapping windows leak: .947 against .76 accuracy on real gait data).
    """

    type: Literal["time"] = "time"
    guard: int = Field(0, ge=0, description="samples, frames or (pictures) files dropped at each border")


class FileSplit(RatioSplit):
    """Whole files."""

    type: Literal["file"] = "file"
    seed: int = Field(0, description="seed of the shuffle")


class SignalSplit(RatioSplit):
    """Whole signals (reads)."""

    type: Literal["signal"] = "signal"
    seed: int = Field(0, description="seed of the shuffle")


class ClassSplit(RatioSplit):
    """Whole classes: test classes are never seen in training."""

    type: Literal["class"] = "class"
    seed: int = Field(0, description="seed of the shuffle")


class EttSplit(Spec):
    """The ETT convention: 12/4/4 months of 30 days; validation and test start a window earlier."""

    type: Literal["ett"] = "ett"
    rows_per_hour: int = Field(1, ge=1, description="1 for ETTh, 4 for ETTm")


class ManifestSplit(Spec):
    """Lists written by `anycodec split`."""

    type: Literal["manifest"] = "manifest"
    path: Path = Field(description="the manifest (JSON)")


SplitSpec = Annotated[
    TimeSplit | FileSplit | SignalSplit | ClassSplit | EttSplit | ManifestSplit,
    Field(discriminator="type"),
]


# --- windows ------------------------------------------------------------------------------------


class Window1d(Spec):
    """Extent of a 1-D window, in samples or in seconds."""

    samples: int | None = Field(None, ge=1, description="samples a window")
    seconds: float | None = Field(None, gt=0, description="seconds a window (needs sample_rate)")
    overlap: int = Field(
        0, ge=0, description="samples that neighbouring windows share when compressing (cross-faded)"
    )

    @model_validator(mode="after")
    def _one(self) -> Window1d:
        if (self.samples is None) == (self.seconds is None):
            raise ValueError("give either samples or seconds, and null for the other")
        return self


class Window2d(Spec):
    """Extent of a picture tile or of the tiles of a video frame."""

    size: tuple[PositiveInt, PositiveInt] = Field((128, 128), description="height and width, pixels")
    overlap: int = Field(
        0, ge=0, description="pixels that neighbouring tiles share when compressing (cross-faded)"
    )

    @model_validator(mode="after")
    def _overlap_fits(self) -> Window2d:
        if self.overlap * 2 > min(self.size):
            raise ValueError(f"overlap {self.overlap} is more than half of size {list(self.size)}")
        return self


class WindowClip(Window2d):
    """A clip: consecutive frames of one tile."""

    frames: int = Field(
        8, ge=1, description="consecutive frames a clip, in training and in windows over time"
    )


# --- sources ------------------------------------------------------------------------------------


class SourceSpec(Spec):
    """Settings that every source has."""

    root: Path | None = Field(
        None, description="folder (searched recursively), file, glob pattern or URL of the training data"
    )
    exclude: tuple[str, ...] = Field((), description="glob patterns of files to leave out")
    on_error: Literal["skip", "refuse"] = Field(
        "skip", description="unreadable, empty or foreign files: leave out and report, or stop"
    )
    files_per_epoch: int | None = Field(
        None, ge=1, description="train each epoch on a fresh random subset of this many files; null = all"
    )
    stage_to: Path | None = Field(
        None, description="fast local folder that the files are copied to once and read from; null = off"
    )
    stage_limit_gb: float | None = Field(
        None, gt=0, description="more data than this (10^9 bytes) is not staged; null = what the disk holds"
    )
    cache_limit_gb: float | None = Field(
        None, gt=0, description="10^9 bytes of local copies of files behind URLs; null = what the disk holds"
    )
    workers: int = Field(1, ge=0, le=64, description="processes that prepare batches; 0 = in the trainer")
    prefetch: int = Field(4, ge=1, description="batches each worker prepares ahead")

    @field_serializer("root", when_used="json-unless-none")
    def _written(self, root: Path) -> str:
        """URLs as they are known, not as paths."""
        return url_of(root) or str(root)


class Pod5Source(SourceSpec):
    """Raw nanopore current: POD5 files, int16 ADC with calibration -> pA."""

    type: Literal["pod5"] = "pod5"
    sample_rate: float | None = Field(
        None, gt=0, description="Hz; needed for window.seconds; null = reads of any rate, as they are"
    )
    rates: Literal["refuse", "skip", "resample"] = Field(
        "refuse", description="training reads of another rate than sample_rate: stop, leave out, or convert"
    )
    molecule: Literal["dna", "rna", "both"] | None = Field(
        None, description="train on reads of DNA or RNA alone, or both; null = both, with a warning"
    )
    window: Window1d = Field(
        default_factory=lambda: Window1d(samples=24000), description="training and coding window"
    )
    normalizer: NormalizerSpec = Field(default_factory=MedianMadSpec, description="to network scale and back")
    split: SplitSpec = Field(default_factory=SignalSplit, description="training, validation, test")


class TableSource(SourceSpec):
    """Time series in CSV, TSV or Parquet: every numeric column is a channel."""

    type: Literal["table"] = "table"
    columns: tuple[str, ...] | None = Field(
        None, description="numeric columns to code; null = all. Others pass through untouched"
    )
    timestamp: str | None = Field(None, description="timestamp column; null = found by itself")
    series_id: str | None = Field(
        None, description="long layout: the column that tells the series apart; null = wide"
    )
    sample_rate: float | None = Field(None, gt=0, description="rows a second; needed for window.seconds")
    channels: Literal["independent", "joint"] = Field(
        "independent", description="one channel a window with a shared codec, or all channels together"
    )
    window: Window1d = Field(
        default_factory=lambda: Window1d(samples=512), description="training and coding window"
    )
    normalizer: SeriesNormalizerSpec = Field(
        default_factory=StandardSpec, description="to network scale and back"
    )
    split: SplitSpec = Field(default_factory=TimeSplit, description="training, validation, test")


class ArraySource(SourceSpec):
    """Time series in NumPy .npy/.npz files."""

    type: Literal["array"] = "array"
    layout: Literal["t", "tc", "nct"] = Field(
        "tc", description="axes of the array: samples; samples x channels; signals x channels x samples"
    )
    sample_rate: float | None = Field(None, gt=0, description="Hz; needed for window.seconds")
    channels: Literal["independent", "joint"] = Field(
        "independent", description="one channel a window with a shared codec, or all channels together"
    )
    window: Window1d = Field(
        default_factory=lambda: Window1d(samples=512), description="training and coding window"
    )
    normalizer: SeriesNormalizerSpec = Field(
        default_factory=StandardSpec, description="to network scale and back"
    )
    split: SplitSpec = Field(default_factory=TimeSplit, description="training, validation, test")


class ImageSource(SourceSpec):
    """Pictures: PNG, JPEG, TIFF, WebP; grey or RGB, 8 or 16 bit. Classes from folders ID_1.. or any name."""

    type: Literal["image"] = "image"
    mode: Literal["rgb", "grey"] = Field("rgb", description="channels the codec sees; grey files fit both")
    window: Window2d = Field(default_factory=Window2d, description="training crop and coding tile")
    normalizer: NormalizerSpec = Field(default_factory=FixedSpec, description="to network scale and back")
    split: SplitSpec = Field(default_factory=FileSplit, description="training, validation, test")


class VideoSource(SourceSpec):
    """Videos: MP4, MKV, AVI, MOV, WebM. Frames are streamed.

    A codec of pictures sees them one by one, a codec over time as clips of window.frames.
    """

    type: Literal["video"] = "video"
    window: WindowClip = Field(default_factory=WindowClip, description="training clip and coding tile")
    normalizer: NormalizerSpec = Field(default_factory=FixedSpec, description="to network scale and back")
    split: SplitSpec = Field(default_factory=TimeSplit, description="training, validation, test")
    writer: Literal["x264", "ffv1"] = Field(
        "x264", description="how decompressed video is stored: x264 near-lossless .mp4 or lossless ffv1 .mkv"
    )


DataSpec = Annotated[
    Pod5Source | TableSource | ArraySource | ImageSource | VideoSource, Field(discriminator="type")
]
