"""The picture of called bases: each read before and after, and identity against the rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from anycodec.workflows.basecall_results import BasecallEvaluation, Summary
from anycodec.workflows.canvas import BASELINE, CODEC, FAINT, INK, ORIGINAL, canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def basecall_figure(evaluation: BasecallEvaluation) -> bytes:
    """PNG of both panels; without a reference, identity is that to the lossless call."""
    with canvas(4.2) as (figure, png):
        left, right = figure.subplots(1, 2)
        _reads(left, evaluation)
        _rates(right, evaluation)
        return png()


def _reads(ax: Axes, evaluation: BasecallEvaluation) -> None:
    """Each read of the first codec: before along, after up; without a reference, its length along."""
    codec = next(item for item in evaluation.summaries() if item.kind == "codec")
    after = [read for read in evaluation.reads if read.variant == codec.variant]
    before = {(read.file, read.read): read for read in evaluation.reads if read.variant == "lossless"}
    if evaluation.reference is None:
        shown = [(read.samples, 100 * read.agreement) for read in after if read.agreement is not None]
        ax.plot(*_columns(shown), "o", color=CODEC, markersize=4)
        ax.set(title=codec.variant, xlabel="samples of the read", ylabel="identity to the lossless call, %")
        return
    pairs = [
        (100 * old, 100 * read.identity)
        for read in after
        if read.identity is not None and (old := before[read.file, read.read].identity) is not None
    ]
    ax.plot(*_columns(pairs), "o", color=CODEC, markersize=4, label="a read")
    if pairs:
        ends = [min(map(min, pairs)), max(map(max, pairs))]
        ax.plot(ends, ends, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), label="no loss")
        ax.legend(loc="upper left")
    ax.set(title=codec.variant, xlabel="identity before, %", ylabel="identity after, %")


def _rates(ax: Axes, evaluation: BasecallEvaluation) -> None:
    """Median identity over bits a sample: codecs, truncation, lossless."""
    summaries = evaluation.summaries()
    aligned = evaluation.reference is not None
    lossless = _identity(summaries[0], aligned)
    if lossless is not None:
        ax.axhline(lossless, color=ORIGINAL, linewidth=1, linestyle=(0, (4, 3)), label="lossless")
    curves = (
        ("truncated", BASELINE, "bits dropped + VBZ"),
        ("codec", CODEC, "codec"),
        ("bound", FAINT, "largest error bounded"),
    )
    for kind, colour, label in curves:
        points = sorted(
            (item.bits_per_sample, identity, item.variant)
            for item in summaries
            if item.kind == kind and (identity := _identity(item, aligned)) is not None
        )
        if not points:
            continue
        ax.plot(*_columns([point[:2] for point in points]), "o-", color=colour, markersize=5, label=label)
        for rate, identity, name in points:
            ax.annotate(name, (rate, identity), (5, -10), textcoords="offset points", fontsize=8, color=INK)
    ax.margins(x=0.15, y=0.12)
    ax.legend(loc="lower right")
    measure = "the reference" if aligned else "the lossless call"
    ax.set(xlabel="bits/sample, everything counted", ylabel=f"median identity to {measure}, %")


def _identity(item: Summary, aligned: bool) -> float | None:
    value = item.identity_median if aligned else item.agreement_median
    return None if value is None else 100 * value


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
