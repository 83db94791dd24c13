"""anycodec from Python: trained runs on arrays and files, and a scikit-learn style codec for series."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from pandas.api.types import is_numeric_dtype

from anycodec.bitstream.header import Unit
from anycodec.checkpoint import RunDirectory
from anycodec.config.codec import CodecSpec, SimVqganSpec
from anycodec.config.data import ArraySource, RevinSpec, TimeSplit, Window1d
from anycodec.config.quantizer import EmaSpec
from anycodec.config.run import RunSpec
from anycodec.config.train import OptimizerSpec, TrainSpec
from anycodec.errors import DataError, RunError, UserError
from anycodec.io.values import cast, fill_gaps, restore_gaps
from anycodec.types import Axes, Signal, SignalInfo, Tokens
from anycodec.workflows import compress as compression
from anycodec.workflows import decompress as decompression
from anycodec.workflows import train as training
from anycodec.workflows.pipeline import Coded, Pipeline
from anycodec.workflows.priors import attach, use_prior
from anycodec.workflows.rate import make_target
from anycodec.workflows.within_bound import make_bound

Values = NDArray[Any]
Frame = pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """An array after a codec.

    Attributes:
        tokens: codes of its windows, see `anycodec.types.Tokens`.
        coded: the tokens with the statistics that decoding needs.
        info: the signal it was.
        shape: shape of the array as given.
        mask: True where a value was present, None = everywhere; missing values come back as NaN.
        infinite: positions and signs of infinities, see `anycodec.io.values`.
        frame: index and columns of a DataFrame, None for arrays.
    """

    coded: Coded
    info: SignalInfo
    shape: tuple[int, ...]
    mask: NDArray[np.bool_] | None = None
    infinite: Mapping[str, bytes] = field(default_factory=dict)
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
                codecs: [H W], [H W C] or frames [T H W C], 8 or 16 bit integers. Codecs of clips: [T H W C].
            rate: samples or frames a second, where it matters to the caller.

        Raises:
            DataError: the array does not fit the codec.
        """
        frame = (values.index, values.columns) if isinstance(values, Frame) else None
        given = _numeric(values)
        array, axes = _laid_out(given, self.spec.codec.axes)
        flat, mask, infinite = fill_gaps(array.reshape(len(array), -1))
        mask = None if mask is None else mask.reshape(array.shape)
        info = SignalInfo(
            id="", axes=axes, shape=array.shape, dtype=str(array.dtype), rate=rate, value_range=_range(array)
        )
        coded = self._pipeline.encode(Signal(info=info, values=flat.reshape(array.shape), mask=mask))
        return Encoded(coded=coded, info=info, shape=given.shape, mask=mask, infinite=infinite, frame=frame)

    def decode(self, encoded: Encoded) -> Values:
        """What `encode` got, restored: of its shape and, rounded where that is an integer, its type."""
        info = encoded.info
        values = cast(self._pipeline.decode(encoded.coded, info, 0, info.length).values, np.dtype(info.dtype))
        if encoded.mask is not None:
            flat = values.reshape(len(values), -1), encoded.mask.reshape(len(values), -1)
            values = restore_gaps(*flat, encoded.infinite)
        return values.reshape(encoded.shape)

    def compress(
        self,
        inputs: str | Path | Sequence[str | Path],
        out: str | Path | None = None,
        *,
        max_error: float | None = None,
        unit: Unit = "native",
        lossless: bool = False,
        rate: float | str | None = None,
        ratio: float | None = None,
        quality: float | None = None,
        statistics: Literal["exact", "coarse"] = "coarse",
    ) -> int:
        """Compress native files into `.acz`, as `anycodec compress` does; returns its exit code.

        Args:
            inputs: files or folders.
            out: folder to write into, or a name in .acz for one file of all; None = beside each file.
            max_error: no value restored is off by more than this.
            unit: of `max_error`: the signal's own, or the range of its values in a segment.
            lossless: restore all values bit for bit.
            rate: at most so many bits a sample or pixel, or "1.5bpv" a value; such goals exclude each other.
            ratio: at least so many times smaller.
            quality: at least this PSNR in dB, of series SNR, measured on a sample of each file.
            statistics: means and scales of windows rounded to take fewer bytes, or as they are.

        Raises:
            UserError: goals that exclude each other, or no such numbers.
        """
        bound = make_bound(max_error, unit, lossless=lossless)
        target = make_target(None if rate is None else str(rate), ratio, quality, bound)
        pipeline = self._pipeline.with_coarse_statistics() if statistics == "coarse" else self._pipeline
        folder = None if out is None else Path(out)
        return compression.run_with(pipeline, _paths(inputs), folder, bound, target)

    def decompress(self, files: str | Path | Sequence[str | Path], out: str | Path | None = None) -> int:
        """Restore native files from `.acz`, as `anycodec decompress` does; returns its exit code."""

        def pipeline_of(path: Path) -> Pipeline:
            attach(self._pipeline, path, None)
            return self._pipeline

        return decompression.run_with(_paths(files), None if out is None else Path(out), pipeline_of)


def load(run: str | Path, device: str = "auto", prior: str | Path | None = None) -> Codec:
    """A trained run.

    Args:
        run: the run directory.
        device: auto, cpu or cuda.
        prior: run of a learned prior that `compress` codes the tokens with.

    Raises:
        RunError: not a finished run, or a prior of another codec.
    """
    pipeline = Pipeline.open(Path(run), device)
    if prior is not None:
        use_prior(pipeline, Path(prior))
    return Codec(pipeline)


class SeriesCodec:
    """A codec for time series with `fit`, `transform` and `inverse_transform`.

    Args:
        window: samples a window.
        codec: the network; null = a small one with one token every 4 samples and 256 codes.
        steps: training steps.
        batch_size: windows a step.
        seed: of weights and sampling.
        out: run directory; null = a temporary one, new at each `fit`, that lives as long as this object.
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
        self.out = None if out is None else Path(out)
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._fitted: Codec | None = None

    def fit(self, x: ArrayLike | Frame) -> Self:
        """Train on a series [T], [T C], several [n C T], or a DataFrame (rows in time order).

        The series are kept in the run, in the folder `data`, so that it can be evaluated.

        Raises:
            DataError: no numeric values, or too few for a split.
            RunError: `out` holds a run already.
        """
        series = _series(x)
        run = RunDirectory(self._folder())
        if run.config.is_file():
            raise RunError("the folder already holds a run", where=str(run.path), how="give another out=")
        data = run.path / "data"
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
        training.train(spec, run, resume=False, quiet=True)
        self._fitted = load(run.path)
        return self

    def transform(self, x: ArrayLike | Frame) -> Encoded:
        """Series [T], [T C], [n C T] or a DataFrame to tokens."""
        if isinstance(x, Frame):
            return self._codec.encode(x)
        array = _numeric(x)
        if array.ndim != 3:
            return self._codec.encode(array)
        # channels are coded independently: several series are one with all their channels
        encoded = self._codec.encode(np.moveaxis(array, -1, 0).reshape(array.shape[-1], -1))
        return replace(encoded, shape=array.shape)

    def inverse_transform(self, encoded: Encoded) -> Values | Frame:
        """What `transform` got, restored, with index and columns; NaN where values were missing."""
        if len(encoded.shape) == 3:
            n, channels, length = encoded.shape
            flat = self._codec.decode(replace(encoded, shape=(length, n * channels)))
            return np.moveaxis(flat.reshape(length, n, channels), 0, -1)
        values = self._codec.decode(encoded)
        if encoded.frame is None:
            return values
        index, columns = encoded.frame
        return Frame(values, index=index, columns=columns)

    def fit_transform(self, x: ArrayLike | Frame) -> Encoded:
        """`fit` and `transform` of one series."""
        return self.fit(x).transform(x)

    def _folder(self) -> Path:
        """Where the next run goes."""
        if self.out is not None:
            return self.out
        if self._temporary is not None:
            self._temporary.cleanup()
        self._temporary = tempfile.TemporaryDirectory(prefix="anycodec-")
        return Path(self._temporary.name) / "run"

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
    array = _numeric(x)
    if array.ndim == 3:
        return [one.T for one in array]
    if array.ndim not in (1, 2):
        raise DataError(f"a series has 1 to 3 axes, not {array.ndim}", how="give [T], [T C] or [n C T]")
    return [array.reshape(len(array), -1)]


def _numeric(x: ArrayLike | Frame) -> Values:
    """An array of numbers with at least one value.

    Raises:
        DataError: names the columns that are not numeric.
    """
    if isinstance(x, Frame):
        unfit = [str(name) for name, dtype in x.dtypes.items() if not is_numeric_dtype(dtype)]
        if unfit:
            raise DataError(
                f"columns that are not numeric: {', '.join(unfit[:5])}", how="give numeric columns only"
            )
        nullable = any(isinstance(dtype, pd.api.extensions.ExtensionDtype) for dtype in x.dtypes)
        x = x.to_numpy(np.float64, na_value=np.nan) if nullable else x
    array = np.asarray(x)
    if array.dtype.kind not in "fiub":
        raise DataError(f"the array is not numeric but {array.dtype}", how="give numbers")
    if not array.size:
        raise DataError(f"the array is empty, its shape is {list(array.shape)}", how="give some values")
    return array


def _laid_out(array: Values, axes: str) -> tuple[Values, Axes]:
    """The array in the layout of a signal for a codec with these axes."""
    if axes == "T" and array.ndim in (1, 2):
        return array.reshape(len(array), -1), "TC"
    if axes == "HW" and array.ndim == 2:
        return array[..., None], "HWC"
    if axes == "HW" and array.ndim in (3, 4):
        return array, "HWC" if array.ndim == 3 else "THWC"
    if axes == "THW" and array.ndim == 4:
        return array, "THWC"
    wanted = {"T": "[T] or [T C]", "HW": "[H W], [H W C] or [T H W C]", "THW": "[T H W C]"}[axes]
    raise DataError(f"an array of {array.ndim} axes does not fit the codec", how=f"give {wanted}")


def _range(array: Values) -> tuple[float, float] | None:
    if array.dtype.kind != "u":
        return None
    limits = np.iinfo(array.dtype)
    return float(limits.min), float(limits.max)


def _paths(given: str | Path | Sequence[str | Path]) -> list[Path]:
    return [Path(given)] if isinstance(given, str | Path) else [Path(one) for one in given]
