"""The pictures of an augmentation report, as PNG in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from anycodec.metrics.augmentation import CLASSICAL, REAL, TRTR, GenerationResult
from anycodec.workflows.canvas import BASELINE, CODEC, INK, ORIGINAL, WIDTH, canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float32]

_SHADES = ("#8fb4f2", "#5b8de6", CODEC, "#123f8f")
"""More generated samples are darker."""


@dataclass(frozen=True, slots=True)
class Gallery:
    """Samples to look at, [C H W] in [0, 1] or [C T].

    Attributes:
        rows: (class, real test samples, generated samples).
        closest: (generated, training) of the generated samples nearest to a training sample.
        pictures: else series.
        jet: levels are shown in jet colours.
    """

    rows: tuple[tuple[str, Sequence[Floats], Sequence[Floats]], ...]
    closest: tuple[tuple[Floats, Floats], ...]
    pictures: bool
    jet: bool


def accuracy_figure(result: GenerationResult) -> bytes | None:
    """Accuracy over the budget, a panel a classifier, a line an arm with its interval; None without arms."""
    classifiers = list(dict.fromkeys(arm.classifier for arm in result.arms))
    if not classifiers:
        return None
    with canvas(4.0) as (figure, png):
        for ax, classifier in zip(
            figure.subplots(1, len(classifiers), squeeze=False)[0], classifiers, strict=True
        ):
            _accuracies(ax, result, classifier)
        figure.axes[0].set_ylabel("accuracy on real test samples")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        return png()


def recall_figure(result: GenerationResult) -> bytes | None:
    """Recall of each class at the smallest budget, real + classical and the last arm; None without arms."""
    budgets = [arm.budget for arm in result.arms if arm.budget is not None]
    arms = [arm for arm in result.arms if arm.classifier == "cnn" and budgets and arm.budget == min(budgets)]
    if not arms:
        return None
    shown = [arm for arm in arms if arm.name == CLASSICAL] + arms[-1:]
    places = np.arange(len(result.classes))
    with canvas(2.9) as (figure, png):
        ax = figure.subplots()
        for offset, arm, colour in zip((-0.2, 0.2), shown, (BASELINE, CODEC), strict=True):
            heights = [np.nan if share is None else share for share in arm.recalls]
            ax.bar(places + offset, heights, 0.4, color=colour, label=arm.name)
        ax.set_xticks(places, result.classes, rotation=90 if len(places) > 12 else 0)
        ax.set(ylabel="recall", ylim=(0, 1.02), title=f"{min(budgets)} real samples a class")
        ax.legend(loc="lower right")
        return png()


def gallery_figure(gallery: Gallery) -> bytes | None:
    """Real test samples on the left, generated ones on the right, a row a class."""
    if not gallery.rows:
        return None
    count = max(len(part) for _, *parts in gallery.rows for part in parts)
    with canvas(WIDTH / (2 * count) * len(gallery.rows) + 0.4) as (figure, png):
        axes = figure.subplots(len(gallery.rows), 2 * count, squeeze=False)
        for row, (name, real, fake) in zip(axes, gallery.rows, strict=True):
            for place, sample in [*enumerate(real), *enumerate(fake, start=count)]:
                _sample(row[place], sample, gallery)
            row[0].set_ylabel(name, fontsize=8.5)
        axes[0, 0].set_title("real")
        axes[0, count].set_title("generated")
        _bare(figure.axes)
        return png()


def closest_figure(gallery: Gallery) -> bytes | None:
    """Generated samples above the training samples that they are nearest to."""
    if not gallery.closest:
        return None
    with canvas(2 * WIDTH / len(gallery.closest) + 0.4) as (figure, png):
        axes = figure.subplots(2, len(gallery.closest), squeeze=False)
        for column, pair in zip(axes.T, gallery.closest, strict=True):
            for ax, sample in zip(column, pair, strict=True):
                _sample(ax, sample, gallery)
        axes[0, 0].set_title("generated")
        axes[1, 0].set_title("nearest training sample")
        _bare(figure.axes)
        return png()


def _accuracies(ax: Axes, result: GenerationResult, classifier: str) -> None:
    arms = [arm for arm in result.arms if arm.classifier == classifier and arm.budget is not None]
    names = list(dict.fromkeys(arm.name for arm in arms))
    colours = {REAL: ORIGINAL, CLASSICAL: BASELINE}
    shades = iter(_SHADES)
    for place, name in enumerate(names):
        line = [arm for arm in arms if arm.name == name]
        intervals = [arm.interval for arm in line]
        budgets = [float(arm.budget or 0) * (1 + 0.012 * (place - len(names) / 2)) for arm in line]
        errors = [0.0 if np.isnan(interval.half) else interval.half for interval in intervals]
        means = [interval.mean for interval in intervals]
        colour = colours.get(name) or next(shades, INK)
        ax.errorbar(budgets, means, errors, color=colour, marker="o", markersize=4, capsize=3, label=name)
    ceiling = result.arm(TRTR, None, classifier)
    if ceiling is not None:
        ax.axhline(
            ceiling.interval.mean, color=INK, linewidth=1, linestyle=(0, (4, 3)), label="all real samples"
        )
    ticks = sorted({arm.budget for arm in arms if arm.budget is not None})
    ax.set(xscale="log", xlabel="real samples a class", title=classifier.upper())
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()


def _sample(ax: Axes, sample: Floats, gallery: Gallery) -> None:
    if not gallery.pictures:
        ax.plot(sample.T, linewidth=0.8)
    elif len(sample) == 1:
        ax.imshow(sample[0], cmap="jet" if gallery.jet else "gray", vmin=0, vmax=1)
    else:
        ax.imshow(np.clip(sample.transpose(1, 2, 0), 0, 1))


def _bare(axes: Sequence[Axes]) -> None:
    for ax in axes:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        ax.grid(visible=False)
