"""The pictures of a report, as PNG in memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anycodec.metrics.codebook import CodebookUse
from anycodec.metrics.evaluation import Evaluation, Example
from anycodec.metrics.rate import TOKENS
from anycodec.workflows.canvas import BASELINE, CODEC, INK, ORIGINAL, WIDTH, canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]
"""Training figures by column of metrics.csv: (steps, values)."""

MAX_CHANNELS = 3
MAX_PICTURES = 3
MAX_HEIGHT = 7.5
MAX_SAMPLES = 4000
ZOOM = 8
"""The detail shows an eighth of a 1-D example."""


def signal_figure(example: Example, evaluation: Evaluation) -> bytes:
    """A 1-D example: overlay and detail of each channel, the errors below."""
    channels = min(example.original.shape[1], MAX_CHANNELS)
    time, label = _time_axis(example, evaluation.sample_rate)
    zoom = _zoom(len(time))
    with canvas(2.1 * channels + 1.5) as (figure, png):
        ratios = [2.0] * channels + [1.1]
        grid = figure.add_gridspec(channels + 1, 2, height_ratios=ratios)
        for c in range(channels):
            overlay, detail = figure.add_subplot(grid[c, 0]), figure.add_subplot(grid[c, 1])
            _overlay(overlay, time, example, c, slice(None))
            _overlay(detail, time, example, c, zoom)
            overlay.axvspan(time[zoom][0], time[zoom][-1], color=CODEC, alpha=0.08, linewidth=0)
            overlay.set_ylabel(_channel_label(example, c, evaluation.unit))
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        figure.axes[0].set_title(_shorten(example.title))
        figure.axes[1].set_title("detail")
        for column, part in enumerate((slice(None), zoom)):
            errors = figure.add_subplot(grid[channels, column])
            _errors(errors, time[part], example, part)
            errors.set_xlabel(label)
        figure.axes[-2].set_ylabel("error")
        return png()


def picture_figure(examples: Sequence[Example], evaluation: Evaluation) -> bytes:
    """Pictures or frames: original, restored, baseline, error of the codec."""
    shown = examples[:MAX_PICTURES]
    low, high = evaluation.value_range or (0.0, 255.0)
    with_baseline = all(example.baseline is not None for example in shown)
    names = ["original", "restored", *(["k-means baseline"] if with_baseline else []), "error of the codec"]
    height = min(WIDTH / len(names) * sum(_aspect(example) for example in shown) + 0.45, MAX_HEIGHT)
    with canvas(height) as (figure, png):
        rows = figure.subplots(len(shown), len(names), squeeze=False)
        for axes, example in zip(rows, shown, strict=True):
            planes = (example.original, example.restored, example.baseline)
            for ax, plane in zip(axes[:-1], planes, strict=False):
                _picture(ax, (np.asarray(plane) - low) / (high - low))
            error = np.abs(example.restored.astype(float) - example.original).mean(axis=2) / (high - low)
            axes[-1].imshow(error, cmap="magma", vmin=0, vmax=max(float(np.quantile(error, 0.995)), 1e-6))
            axes[0].set_ylabel(_shorten(example.title, 28), fontsize=8.5)
        for ax in rows.ravel():
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        for ax, name in zip(rows[0], names, strict=True):
            ax.set_title(name)
        return png()


def error_figure(examples: Sequence[Example], unit: str) -> bytes | None:
    """Distribution of the errors over the examples, codec against baseline; None without errors."""
    codec = _errors_of((e.original, e.restored) for e in examples)
    rival = _errors_of((e.original, e.baseline) for e in examples if e.baseline is not None)
    if not codec.size:
        return None
    limit = float(np.quantile(np.abs(np.concatenate([codec, rival])), 0.999)) or 1.0
    bins = np.linspace(-limit, limit, 121).tolist()
    with canvas(2.7) as (figure, png):
        ax = figure.subplots()
        if rival.size:
            ax.hist(rival, bins, density=True, color=BASELINE, alpha=0.45, label="k-means baseline")
        ax.hist(codec, bins, density=True, color=CODEC, alpha=0.6, label="codec")
        ax.set(xlabel=f"restored - original{_in(unit)}", ylabel="density", xlim=(-limit, limit))
        ax.legend(loc="upper right")
        return png()


def codebook_figure(token_counts: Sequence[Sequence[int]]) -> bytes | None:
    """Codes sorted by use, a panel a level; the line is even use of all codes. None without tokens."""
    token_counts = [counts for counts in token_counts if any(counts)]
    if not token_counts:
        return None
    with canvas(2.8) as (figure, png):
        for ax, counts in zip(
            figure.subplots(1, len(token_counts), squeeze=False)[0], token_counts, strict=True
        ):
            histogram = np.sort(np.asarray(counts, dtype=np.int64))[::-1]
            use = CodebookUse.of(histogram)
            present = histogram[: use.used]
            ax.fill_between(
                np.arange(1, use.used + 1), present, 0.5, step="mid", color=CODEC, alpha=0.75, linewidth=0
            )
            ax.axhline(histogram.mean(), color=INK, linewidth=1, linestyle=(0, (4, 3)))
            ax.annotate(
                "even use",
                (1, histogram.mean()),
                (-4, 3),
                textcoords="offset points",
                ha="right",
                xycoords=("axes fraction", "data"),
                color=INK,
                fontsize=8.5,
            )
            ax.set_title(f"{use.used} of {use.size} codes ({use.share:.1%}), perplexity {use.perplexity:.0f}")
            ax.set(yscale="log", xlim=(0.5, use.size + 0.5), ylim=(0.5, None), xlabel="code, most used first")
        figure.axes[0].set_ylabel("tokens")
        return png()


def training_figure(curves: Curves) -> bytes | None:
    """Loss, signal-to-noise ratio and codes used over the steps; None where nothing was logged."""
    panels = [
        ("loss", ("train/loss", "val/loss"), "log"),
        ("SNR of validation, dB", ("val/snr",), "linear"),
        ("codes used", ("train/codes_used", "val/codes_used"), "linear"),
    ]
    shown = [panel for panel in panels if any(name in curves for name in panel[1])]
    if not shown:
        return None
    with canvas(2.7) as (figure, png):
        for ax, (title, names, scale) in zip(
            figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True
        ):
            for name in (name for name in names if name in curves):
                validation = name.startswith("val/")
                look = {"color": BASELINE, "marker": "o", "markersize": 3} if validation else {"color": CODEC}
                ax.plot(*curves[name], **look, label="validation" if validation else "training")
            positive = all(v > 0 for name in names if name in curves for v in curves[name][1])
            ax.set(title=title, xlabel="step")
            if scale == "log" and positive:
                _log_axis(ax)
            if title == "codes used":
                ax.set_ylim(0, 1.04)
                ax.yaxis.set_major_formatter("{x:.0%}")
            if len(names) > 1:
                ax.legend(loc="best")
        return png()


def rate_figure(evaluation: Evaluation) -> bytes | None:
    """SNR of the restored values over the rate of the tokens as stored; None without a baseline."""
    codec, baseline = evaluation.codec, evaluation.baseline
    if baseline is None or baseline.rate is None or codec.rate is None:
        return None
    here, there = (
        (rate.split()[TOKENS], result.original.get("snr", math.nan))
        for result, rate in ((codec, codec.rate), (baseline, baseline.rate))
    )
    if not all(map(math.isfinite, (*here, *there))):
        return None
    with canvas(3.4) as (figure, png):
        ax = figure.subplots()
        ax.plot(*there, "o", color=BASELINE, markersize=8, label="k-means baseline")
        ax.plot(*here, "o", color=CODEC, markersize=11, label="codec")
        ax.annotate(
            "", here, there, arrowprops={"arrowstyle": "-|>", "color": INK, "shrinkA": 6, "shrinkB": 8}
        )
        middle = (here[0] + there[0]) / 2, (here[1] + there[1]) / 2
        ax.annotate(
            f"{here[1] - there[1]:+.2f} dB",
            middle,
            (9, -3),
            textcoords="offset points",
            fontweight="bold",
            color=INK,
        )
        ax.set(xlabel="tokens as stored, bits/value", ylabel="SNR, dB")
        ax.margins(x=0.12, y=0.15)
        ax.legend(loc="lower right")
        return png()


def _overlay(ax: Axes, time: Floats, example: Example, channel: int, part: slice) -> None:
    lines = [("original", example.original, ORIGINAL, 2.4), ("restored", example.restored, CODEC, 1.2)]
    if example.baseline is not None:
        lines.insert(1, ("k-means baseline", example.baseline, BASELINE, 0.9))
    for name, values, colour, width in lines:
        ax.plot(time[part], values[: len(time), channel][part], color=colour, linewidth=width, label=name)
    ax.margins(x=0)


def _errors(ax: Axes, time: Floats, example: Example, part: slice) -> None:
    rivals = [(example.baseline, BASELINE, 0.7), (example.restored, CODEC, 0.9)]
    for values, colour, width in rivals:
        if values is not None:
            error = _error(example.original, values)[:MAX_SAMPLES, 0][part]
            ax.plot(time, error, color=colour, linewidth=width)
    ax.axhline(0, color=INK, linewidth=0.6)
    ax.margins(x=0)


def _time_axis(example: Example, rate: float | None) -> tuple[Floats, str]:
    samples = example.start + np.arange(min(len(example.original), MAX_SAMPLES), dtype=np.float64)
    return (samples, "sample") if rate is None else (samples / rate, "s")


def _zoom(length: int) -> slice:
    width = max(min(length, 16), length // ZOOM)
    start = (length - width) // 2
    return slice(start, start + width)


def _channel_label(example: Example, channel: int, unit: str) -> str:
    named = example.channels[channel] if channel < len(example.channels) else ""
    return " ".join(filter(None, (named, f"[{unit}]" if unit and named else unit)))


def _log_axis(ax: Axes) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())


def _picture(ax: Axes, values: Floats) -> None:
    clipped = np.clip(values, 0, 1)
    grey = clipped.shape[2] == 1
    ax.imshow(clipped[..., 0] if grey else clipped[..., :3], cmap="gray" if grey else None, vmin=0, vmax=1)


def _aspect(example: Example) -> float:
    height, width = example.original.shape[:2]
    return float(height / width)


def _error(original: NDArray[Any], restored: NDArray[Any]) -> Floats:
    error: Floats = restored.astype(np.float64) - original
    return error


def _errors_of(pairs: Iterable[tuple[NDArray[Any], NDArray[Any]]]) -> Floats:
    errors: Floats = np.concatenate([np.empty(0), *(_error(*pair).ravel() for pair in pairs)])
    finite: Floats = errors[np.isfinite(errors)]
    return finite


def _in(unit: str) -> str:
    return f", {unit}" if unit else ""


def _shorten(text: str, length: int = 60) -> str:
    plain = text.replace("$", r"\$")  # matplotlib reads $...$ as mathematics
    return plain if len(plain) <= length else plain[: length - 1] + "…"
