"""anycodec from Python: trained runs on arrays and files, and a scikit-learn style codec for series."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from anycodec.checkpoint import RunDirectory
from anycodec.config.codec import CodecSpec, SimVqganSpec
from anycodec.config.data import ArraySource, RevinSpec, TimeSplit, Window1d
from anycodec.config.quantizer import EmaSpec
from anycodec.config.run import RunSpec
from anycodec.config.train import OptimizerSpec, TrainSpec
from anycodec.errors import DataError, UserError
from anycodec.types import Axes, Signal, SignalInfo, Tokens
from anycodec.workflows import compress as compression
from anycodec.workflows import decompress as decompression
from anycodec.workflows import train as training
from anycodec.workflows.pipeline import Coded, Pipeline

Values = NDArray[Any]
Frame = pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """An array after a codec.

    Attributes:
        tokens: codes of its windows, see `anycodec.types.Tokens`.
        coded: the tokens with the statistics that decoding needs.
        info: the signal it was.
        length: samples or frames.
        mask: True where a value was present, None = everywhere; missing values come back as NaN.
        frame: index and columns of a DataFrame, None for arrays.
    """

    coded: Coded
    info: SignalInfo
    length: int
    mask: NDArray[np.bool_] | None = None
    frame: tuple[pd.Index[Any], pd.Index[Any]] | None = None

    @property
    def tokens(self) -> Tokens:
        return self.coded.tokens


class Codec:
    """A trained run, ready to use. Get one with `anycodec.load`."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    @property
    def spec(self) -> RunSpec:
        """The resolved configuration of the run."""
        return self._pipeline.spec

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Codes a level."""
        return self._pipeline.codec.codebook_sizes

    def encode(self, values: ArrayLike | Frame, *, rate: float | None = None) -> Encoded:
        """An array to tokens.

        Args:
            values: 1-D codecs: [T], [T C] or a DataFrame of numeric columns, NaN allowed. Picture
                codecs: [H W], [H W C] or frames [T H W C], 8 or 16 bit integers.
            rate: samples or frames a second, where it matters to the caller.

        Raises:
            DataError: the array does not fit the codec.
        """
        frame = (values.index, values.columns) if isinstance(values, Frame) else None
        array, axes = _shaped(np.asarray(values), self.spec.codec.axes)
        filled, mask = _filled(array)
        info = SignalInfo(
            id="", axes=axes, shape=array.shape, dtype=str(array.dtype), rate=rate, value_range=_range(array)
        )
        coded = self._pipeline.encode(Signal(info=info, values=filled, mask=mask))
        length = 1 if axes == "HWC" else len(array)
        return Encoded(coded=coded, info=info, length=length, mask=mask, frame=frame)

    def decode(self, encoded: Encoded) -> Values:
        """What `encode` got, restored: [T C], [H W C] or [T H W C] in the original unit and type."""
        values = self._pipeline.decode(encoded.coded, encoded.info, 0, encoded.length).values
        if encoded.mask is not None:
            values = np.where(encoded.mask, values, np.nan)
        return values

    def compress(self, inputs: str | Path | Sequence[str | Path], out: str | Path | None = None) -> int:
        """Compress native files into `.acz`, as `anycodec compress` does; returns its exit code."""
        return compression.run_with(self._pipeline, _paths(inputs), None if out is None else Path(out))

    def decompress(self, files: str | Path | Sequence[str | Path], out: str | Path | None = None) -> int:
        """Restore native files from `.acz`, as `anycodec decompress` does; returns its exit code."""
        return decompression.run_with(
            _paths(files), None if out is None else Path(out), lambda _: self._pipeline
        )


def load(run: str | Path, device: str = "auto") -> Codec:
    """A trained run.

    Args:
        run: the run directory.
        device: auto, cpu or cuda.

    Raises:
        RunError: not a finished run.
    """
    return Codec(Pipeline.open(Path(run), device))


class SeriesCodec:
    """A codec for time series with `fit`, `transform` and `inverse_transform`.

    Args:
        window: samples a window.
        codec: the network; null = a small one with one token every 4 samples and 256 codes.
        steps: training steps.
        batch_size: windows a step.
        seed: of weights and sampling.
        out: run directory; null = a temporary one that lives as long as this object.
    """

    def __init__(
        self,
        *,
        window: int = 64,
        codec: CodecSpec | None = None,
        steps: int = 1000,
        batch_size: int = 64,
        seed: int = 0,
        out: str | Path | None = None,
    ) -> None:
        self.window = window
        self.codec = codec or _small_codec()
        self.steps = steps
        self.batch_size = batch_size
        self.seed = seed
        self._temporary = None if out else tempfile.TemporaryDirectory(prefix="anycodec-")
        self.out = Path(out or cast(Any, self._temporary).name) / "run"
        self._fitted: Codec | None = None

    def fit(self, x: ArrayLike | Frame) -> Self:
        """Train on a series [T], [T C], several [n C T], or a DataFrame (rows in time order).

        Raises:
            DataError: no numeric values, or too few for a split.
        """
        series = _series(x)
        data = self.out.parent / "data"
        data.mkdir(parents=True, exist_ok=True)
        for number, one in enumerate(series):
            np.save(data / f"{number}.npy", one.astype(np.float64), allow_pickle=False)
        spec = RunSpec(
            name="series",
            seed=self.seed,
            data=ArraySource(
                root=data, layout="tc", window=Window1d(samples=self.window), normalizer=RevinSpec(),
                split=TimeSplit(ratios=(0.8, 0.2, 0.0)), workers=0,
            ),
            codec=self.codec,
            train=TrainSpec(
                steps=self.steps, batch_size=self.batch_size, val_every=max(1, self.steps // 5),
                checkpoint_every=self.steps, optimizer=OptimizerSpec(lr=1e-3),
            ),
        )  # fmt: skip
        training.train(spec, RunDirectory(self.out), resume=False, quiet=True)
        self._fitted = load(self.out)
        return self

    def transform(self, x: ArrayLike | Frame) -> Encoded:
        """A series [T], [T C] or a DataFrame to tokens."""
        return self._codec.encode(x)

    def inverse_transform(self, encoded: Encoded) -> Values | Frame:
        """Back to [T C], or to a DataFrame with its index and columns; NaN where values were missing."""
        values = self._codec.decode(encoded)
        if encoded.frame is None:
            return values
        index, columns = encoded.frame
        return Frame(values, index=index, columns=columns)

    def fit_transform(self, x: ArrayLike | Frame) -> Encoded:
        """`fit` and `transform` of one series."""
        return self.fit(x).transform(x)

    @property
    def _codec(self) -> Codec:
        if self._fitted is None:
            raise UserError("the codec is not fitted yet", how="call fit first")
        return self._fitted


def _small_codec() -> SimVqganSpec:
    return SimVqganSpec(
        base_channels=64, stem_stride=2, channels=(64,), strides=(2,), latent_channels=32, norm_groups=8,
        quantizer=EmaSpec(codebook_size=256, restart_after=50),
    )  # fmt: skip


def _series(x: ArrayLike | Frame) -> list[Values]:
    """Series [T C] of an array [T], [T C], [n C T] or a DataFrame."""
    array = np.asarray(x)
    if array.dtype.kind not in "fiub":
        raise DataError("the series is not numeric", how="give numeric columns only")
    if array.ndim == 3:
        return [one.T for one in array]
    if array.ndim not in (1, 2):
        raise DataError(f"a series has 1 to 3 axes, not {array.ndim}", how="give [T], [T C] or [n C T]")
    return [array.reshape(len(array), -1)]


def _shaped(array: Values, axes: str) -> tuple[Values, Axes]:
    """The array in the layout of a signal for a codec with these axes."""
    if array.dtype.kind not in "fiub":
        raise DataError("the array is not numeric", how="give numbers")
    if axes == "T" and array.ndim in (1, 2):
        return array.reshape(len(array), -1), "TC"
    if axes == "HW" and array.ndim == 2:
        return array[..., None], "HWC"
    if axes == "HW" and array.ndim in (3, 4):
        return array, "HWC" if array.ndim == 3 else "THWC"
    wanted = "[T] or [T C]" if axes == "T" else "[H W], [H W C] or [T H W C]"
    raise DataError(f"an array of {array.ndim} axes does not fit the codec", how=f"give {wanted}")


def _filled(array: Values) -> tuple[Values, NDArray[np.bool_] | None]:
    """Missing values replaced by the last present one of their column."""
    if array.dtype.kind != "f" or not np.isnan(array).any():
        return array, None
    mask = ~np.isnan(array)
    filled = pd.DataFrame(array.reshape(len(array), -1)).ffill().fillna(0.0).to_numpy()
    return filled.reshape(array.shape), mask


def _range(array: Values) -> tuple[float, float] | None:
    if array.dtype.kind != "u":
        return None
    limits = np.iinfo(array.dtype)
    return float(limits.min), float(limits.max)


def _paths(given: str | Path | Sequence[str | Path]) -> list[Path]:
    return [Path(given)] if isinstance(given, str | Path) else [Path(one) for one in given]
