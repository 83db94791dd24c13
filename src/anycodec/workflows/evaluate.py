"""`anycodec evaluate`: what a codec costs and what it loses, beside a baseline at the same rate."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from importlib import metadata
from itertools import count, groupby
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from anycodec import __version__
from anycodec.atomic import atomic_write
from anycodec.data.dataset import WindowDataset
from anycodec.data.resample import open_at_rate
from anycodec.data.split import Piece
from anycodec.engine import LpipsNet, Windows
from anycodec.errors import DataError
from anycodec.io.base import Reader
from anycodec.io.discover import discover
from anycodec.io.formats import open_file
from anycodec.metrics.baseline import PatchKMeans, fit_at_rate
from anycodec.metrics.evaluation import Evaluation, Example, Kind, Result, save_examples
from anycodec.types import Signal, Skipped
from anycodec.workflows.console import out as console
from anycodec.workflows.measure import BaselineMeasure, CodecMeasure, Part, collect
from anycodec.workflows.picture_metrics import PictureMetrics, picture_metrics
from anycodec.workflows.pipeline import Pipeline
from anycodec.workflows.progress import track
from anycodec.workflows.report import evaluation_path, examples_path, write_report
from anycodec.workflows.staging import open_staged

BASELINE_VALUES = 2**24
"""Training values that the baseline is fitted on at most."""
EXAMPLES = 3
EXAMPLE_SAMPLES = 4096
_KINDS: dict[str, Kind] = {"TC": "1d", "HWC": "image", "THWC": "video"}

Values = NDArray[Any]

Stretches = list[tuple[Path, list[Piece] | None]]
"""Files with the pieces of each to evaluate on; None = all of it."""


def run(
    run: Path,
    inputs: list[Path],
    device: str,
    features: str | None = None,
    lpips: LpipsNet | None = None,
) -> int:
    """Evaluate on the run's test split, or on the given files, and write the report.

    Args:
        run: folder of the run.
        inputs: files and folders; none = the test split.
        device: where to compute.
        features: the network for FID and KID, as `anycodec.metrics.onnx.open_network` knows it.
        lpips: the network for LPIPS.

    Raises:
        RunError: not a finished run, or figures of pictures for one that codes none.
        DataError: nothing to evaluate on.
        WeightsError, MissingExtra: a network that looks at pictures can't be used.
    """
    pipeline = Pipeline.open(run, device).with_coarse_statistics()
    evaluation, examples = evaluate(
        pipeline, inputs, device, picture_metrics(pipeline, features, lpips, device)
    )
    atomic_write(evaluation_path(pipeline.run), evaluation.to_json())
    save_examples(examples_path(pipeline.run), examples)
    pipeline.run.update_manifest(metrics=figures(evaluation))
    write_report(pipeline.run, evaluation)
    _print(evaluation)
    console.print(f"report: {pipeline.run.report}")
    return 0


def evaluate(
    pipeline: Pipeline, inputs: list[Path], device: str, more: PictureMetrics | None = None
) -> tuple[Evaluation, list[Example]]:
    """Measure rate, errors and speed of a codec, and the baseline at its rate.

    Raises:
        DataError: nothing to evaluate on.
    """
    skipped: list[Skipped] = []
    stretches, train = _plan(pipeline, inputs, skipped)
    total = sum(len(pieces) if pieces else 1 for _, pieces in stretches)
    more = more or PictureMetrics()
    codec = CodecMeasure(pipeline, more.metrics)
    codec.run(track(parts(pipeline, stretches, skipped), total, "evaluating"))
    if not codec.values:
        raise DataError(
            "nothing to evaluate on" + (f"; {skipped[0].path}: {skipped[0].reason}" if skipped else ""),
            how="give readable files, or train with a test share",
        )
    result = codec.result()
    baseline = _fit_baseline(pipeline, train, codec)
    yardstick: Result | None = None
    if baseline is not None and result.rate is not None:
        measure = BaselineMeasure(pipeline, baseline, [metric.beside() for metric in more.metrics])
        measure.run(track(parts(pipeline, stretches, []), total, "baseline"))
        yardstick = measure.result(result.rate)
    examples = [example(pipeline, baseline, part) for part in _spread(pipeline, stretches)]
    first = _first(pipeline, stretches)
    assert first is not None
    evaluation = Evaluation(
        title=pipeline.spec.name,
        kind=_KINDS[first.signal.info.axes],
        unit=first.signal.info.unit,
        sample_rate=first.signal.info.rate,
        n_files=codec.files,
        n_signals=codec.stretches,
        codec=result,
        baseline=yardstick,
        token_counts=[level.tolist() for level in codec.tokens.counts],
        throughput=codec.throughput(device),
        skipped=skipped,
        versions={"anycodec": __version__} | {name: metadata.version(name) for name in ("torch", "numpy")},
        value_range=first.signal.info.value_range,
        features=more.features,
    )
    return evaluation, examples


def figures(evaluation: Evaluation) -> dict[str, float]:
    """The headline numbers, for the manifest and the terminal."""
    codec = evaluation.codec
    found = {**_rates(codec), **codec.original}
    if evaluation.baseline is not None:
        found["baseline_snr"] = evaluation.baseline.original["snr"]
        found |= {f"baseline_{name}": rate for name, rate in _rates(evaluation.baseline).items()}
    return {name: round(float(value), 6) for name, value in found.items()}


def _rates(result: Result) -> dict[str, float]:
    rate = result.rate
    if rate is None:
        return {}
    per_pixel = {} if rate.bits_per_pixel is None else {"bits_per_pixel": rate.bits_per_pixel}
    return {"bits_per_value": rate.bits_per_value, **per_pixel}


def parts(pipeline: Pipeline, stretches: Stretches, skipped: list[Skipped]) -> Generator[Part, None, None]:
    """Segments of all stretches in order; unreadable files are noted in `skipped`."""
    number = count()
    for path, pieces in stretches:
        try:
            opened = open_file if pieces is None else open_at_rate  # the split's files come as trained on
            with opened(path, pipeline.source) as reader:
                for group in _groups(pipeline, reader, pieces):
                    stretch = next(number)
                    for signal in group:
                        yield Part(reader.info, stretch, signal)
        except DataError as error:
            skipped.append(Skipped(str(path), error.what))


def example(pipeline: Pipeline, baseline: PatchKMeans | None, part: Part) -> Example:
    """A short piece of a segment, restored by codec and baseline."""
    signal = part.signal
    prepared = pipeline.prepare(signal)

    def show(windows: Windows) -> Values:
        back = pipeline.restore(windows, prepared.shape, prepared.affine, signal.info, signal.start)
        return _excerpt(back)

    restored = show(pipeline.reconstruct(prepared.windows, signal.info))
    simple = None if baseline is None else show(baseline.decode(baseline.encode(prepared.windows)))
    name = f"{Path(part.file.path).name} {signal.info.id}".strip()
    return Example(
        title=name,
        original=_excerpt(signal),
        restored=restored,
        baseline=simple,
        start=signal.start,
        channels=signal.info.channels,
    )


def _plan(
    pipeline: Pipeline, inputs: list[Path], skipped: list[Skipped]
) -> tuple[Stretches, WindowDataset | None]:
    """What to evaluate on, and the training windows for the baseline where they are at hand."""
    if not inputs:
        data = open_staged(pipeline.spec)
        if data.test is None:
            raise DataError(
                "the split has no test share", where="data.split.ratios", how="give files to evaluate on"
            )
        skipped += data.skipped
        grouped = groupby(data.test.pieces, key=lambda piece: piece.path)
        return [(Path(path), list(pieces)) for path, pieces in grouped], data.train
    stretches: Stretches = []
    for path in inputs:
        found = discover(path, pipeline.given_files)
        skipped += found.skipped
        stretches += [(file, None) for file in found.files]
    try:
        return stretches, open_staged(pipeline.spec).train
    except DataError as error:
        skipped.append(
            Skipped(str(pipeline.source.root), f"no baseline, training data not at hand: {error.what}")
        )
        return stretches, None


def _groups(pipeline: Pipeline, reader: Reader, pieces: list[Piece] | None) -> Iterator[Iterator[Signal]]:
    """Contiguous runs of segments: each signal of a file, or each piece."""
    if pieces is not None:
        yield from (_piece(pipeline, reader, piece) for piece in pieces)
        return
    first = next(iter(reader.signals()), None)
    if first is not None:
        segments = reader.segments(pipeline.windower.block(first))
        yield from (group for _, group in groupby(segments, key=lambda signal: signal.info.id))


def _piece(pipeline: Pipeline, reader: Reader, piece: Piece) -> Iterator[Signal]:
    block = pipeline.windower.block(piece.entry)
    for start in range(piece.start, piece.stop, block):
        yield reader.fetch(piece.signal, start, min(start + block, piece.stop))


def _fit_baseline(pipeline: Pipeline, train: WindowDataset | None, codec: CodecMeasure) -> PatchKMeans | None:
    if train is None or not codec.has_tokens:
        return None
    order = train.epoch_order(0)
    with closing(train):
        windows = collect((train.item(0, int(index)) for index in order), BASELINE_VALUES)
    evaluated = np.concatenate(codec.sample)
    return fit_at_rate(windows, codec.token_rate(), pipeline.spec.seed, evaluated=evaluated)


def _spread(pipeline: Pipeline, stretches: Stretches) -> Iterator[Part]:
    """A segment from the beginning, the middle and the end of the files."""
    chosen = sorted({0, len(stretches) // 2, len(stretches) - 1})[:EXAMPLES]
    for index in chosen:
        found = _first(pipeline, [stretches[index]])
        if found is not None:
            yield found


def _first(pipeline: Pipeline, stretches: Stretches) -> Part | None:
    with closing(parts(pipeline, stretches, [])) as found:
        return next(found, None)


def _excerpt(signal: Signal) -> Values:
    """A few thousand samples from the middle of a 1-D segment, the picture, the first frame."""
    if signal.info.axes == "HWC":
        return signal.values
    if signal.info.axes == "THWC":
        first: Values = signal.values[0]
        return first
    middle = max(0, (signal.length - EXAMPLE_SAMPLES) // 2)
    return signal.values[middle : middle + EXAMPLE_SAMPLES]


def _print(evaluation: Evaluation) -> None:
    for name, result in (("codec", evaluation.codec), ("baseline", evaluation.baseline)):
        if result is None:
            continue
        rates = _rates(result)
        size = f"{rates['bits_per_value']:.4f} bits/value" if rates else "nothing to store"
        if "bits_per_pixel" in rates:
            size += f" ({rates['bits_per_pixel']:.4f} bits/pixel)"
        quality = f"SNR {result.original['snr']:.2f} dB, RMSE {result.original['rmse']:.4g} {evaluation.unit}"
        if "psnr" in result.original:
            quality += f", PSNR {result.original['psnr']:.2f} dB, SSIM {result.original['ssim']:.3f}"
        quality += "".join(
            f", LPIPS ({net}) {value:.4f}"
            for net in get_args(LpipsNet)
            if (value := result.original.get(f"lpips_{net}")) is not None
        )
        if "fid" in result.original:
            quality += f", FID {result.original['fid']:.4g} ({evaluation.features})"
        console.print(f"{name + ':':10}{size}, {quality}  [{result.description}]", markup=False)
