"""The metric of all runs over training, as PNG."""

from __future__ import annotations

from collections.abc import Sequence

from anycodec.workflows.canvas import FAINT, GRID, canvas
from anycodec.workflows.sweeps.results import Result
from anycodec.workflows.sweeps.state import JobState

MOST_NAMED = 8
"""Runs that have a colour of their own: the best."""


def metric_plot(results: Sequence[Result], metric: str) -> bytes:
    """Curves over the step, the best coloured and named, a dot at the best value of each.

    Args:
        results: best first.
        metric: its name.
    """
    from matplotlib import colormaps

    measured = [result for result in results if result.best]
    colours = colormaps["tab10"]
    with canvas(4.2) as (figure, png):
        axes = figure.add_subplot()
        for rank, result in reversed(list(enumerate(measured))):
            assert result.best is not None
            named = rank < MOST_NAMED
            colour = colours(rank) if named else GRID
            label = f"{result.job.name}: {result.best[0]:.4g}" if named else None
            style = "-" if result.job.state is JobState.DONE else ":"
            axes.plot(
                result.curve.steps,
                result.curve.values,
                style,
                color=colour,
                label=label,
                zorder=3 - rank / 1e6,
            )
            axes.plot(result.best[1], result.best[0], "o", color=colour, markersize=4, zorder=3)
        axes.set(xlabel="step", ylabel=metric)
        if not measured:
            axes.text(
                0.5, 0.5, "no run has been validated yet", color=FAINT, ha="center", transform=axes.transAxes
            )
        else:
            handles, labels = axes.get_legend_handles_labels()
            figure.legend(handles[::-1], labels[::-1], loc="outside right upper", fontsize=8)
        return png()
