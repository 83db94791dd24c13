"""The progress bar of a training: loss, codes in use, samples a second."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class ProgressBar:
    """A rich bar on a terminal, a plain line at each validation elsewhere."""

    def __init__(self, total: int, start: int, quiet: bool) -> None:
        self.console = Console(stderr=True, quiet=quiet)
        self.bar = Progress(
            TextColumn("training"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=self.console,
            disable=quiet or not self.console.is_terminal,
        )
        self.task = self.bar.add_task("training", total=total, completed=start, figures="")

    def start(self) -> None:
        self.bar.start()

    def stop(self) -> None:
        self.bar.stop()

    def advance(self, step: int) -> None:
        self.bar.update(self.task, completed=step)

    def figures(self, loss: float, codes_used: float | None, rate: float, more: str) -> None:
        """Refresh the numbers at the right of the bar; `codes_used` None where there are no tokens."""
        codes = "" if codes_used is None else f"  codes {codes_used:.0%}"
        self.bar.update(self.task, figures=f"loss {loss:.4g}{codes}{more}  {rate / 1e6:.2f} M samples/s")

    def line(self, text: str) -> None:
        """Print above the bar."""
        self.console.print(text, highlight=False, soft_wrap=True)
