"""The folder of a sweep.

sweep.json       its runs and what became of each
configs/A.yaml   the resolved configuration of run A
runs/A/          its run directory
logs/A.log       what its training printed, all attempts
results.csv  results.md  results.png
search.yaml      what a search varies
search.journal   its trials (Optuna)
sweep.sbatch     with --slurm
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SweepFolder:
    """Paths of one sweep."""

    path: Path

    @property
    def state(self) -> Path:
        return self.path / "sweep.json"

    @property
    def base(self) -> Path:
        return self.path / "search.yaml"

    @property
    def journal(self) -> Path:
        return self.path / "search.journal"

    @property
    def script(self) -> Path:
        return self.path / "sweep.sbatch"

    def config(self, name: str) -> Path:
        """The configuration of a run."""
        return self.path / "configs" / f"{name}.yaml"

    def run(self, name: str) -> Path:
        """The run directory of a run."""
        return self.path / "runs" / name

    def log(self, name: str) -> Path:
        """The log of a run."""
        return self.path / "logs" / f"{name}.log"

    def results(self, suffix: str) -> Path:
        """The summary as .csv, .md or .png."""
        return self.path / f"results{suffix}"

    def create(self) -> None:
        """Make the folders."""
        for name in ("configs", "runs", "logs"):
            (self.path / name).mkdir(parents=True, exist_ok=True)
