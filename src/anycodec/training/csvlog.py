"""metrics.csv: one row a logged step, columns added as they appear."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from anycodec.atomic import atomic_path


class CsvLog:
    """Append rows of figures by step. A resumed run drops rows after the step it starts from."""

    def __init__(self, path: Path, start: int) -> None:
        self.path = path
        self.columns: list[str] = ["step"]
        if path.is_file():
            with path.open(newline="") as file:
                reader = csv.DictReader(file)
                rows = [row for row in reader if row.get("step", "").isdigit() and int(row["step"]) <= start]
                self.columns = list(reader.fieldnames or ["step"])
            self._rewrite(rows if start else [])
        else:
            self._rewrite([])

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Add a row; figures of one step may come in several rows."""
        new = [name for name in figures if name not in self.columns]
        if new:
            with self.path.open(newline="") as file:
                rows = list(csv.DictReader(file))
            self.columns += new
            self._rewrite(rows)
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, self.columns, restval="")
            writer.writerow({"step": step} | {name: f"{value:.6g}" for name, value in figures.items()})

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        with atomic_path(self.path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.columns, restval="")
            writer.writeheader()
            writer.writerows(rows)
