"""Where figures go beside metrics.csv: TensorBoard, Weights & Biases."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from anycodec.config.run import RunSpec
from anycodec.config.train import WandbSpec
from anycodec.errors import MissingExtra, UserError


class Tracker(Protocol):
    """Takes the figures of a step."""

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Record figures by name."""

    def close(self) -> None:
        """Write what is still pending."""


class TensorBoard:
    """Events in a folder.

    Raises:
        MissingExtra: tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboard.summary import Writer
        except ModuleNotFoundError as error:
            raise MissingExtra("TensorBoard", "track") from error
        self._writer = Writer(str(folder))

    def log(self, figures: Mapping[str, float], step: int) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class Wandb:
    """A run of Weights & Biases.

    Raises:
        MissingExtra: wandb is not installed.
        UserError: there is no key.
    """

    def __init__(self, spec: WandbSpec, name: str, folder: Path) -> None:
        require_wandb_key(spec)
        try:
            import wandb
        except ModuleNotFoundError as error:
            raise MissingExtra("Weights & Biases", "track") from error
        self._run: Any = wandb.init(project=spec.project, name=name, dir=str(folder), mode=spec.mode)

    def log(self, figures: Mapping[str, float], step: int) -> None:
        self._run.log(dict(figures), step=step)

    def close(self) -> None:
        self._run.finish()


def require_wandb_key(spec: WandbSpec) -> None:
    """Refuse to go online without a key.

    Raises:
        UserError: WANDB_API_KEY is not set.
    """
    if spec.mode == "online" and not os.environ.get("WANDB_API_KEY"):
        raise UserError(
            "Weights & Biases has no key",
            where="train.wandb",
            how="export WANDB_API_KEY=..., or set train.wandb.mode=offline",
        )


def make_trackers(spec: RunSpec, folder: Path) -> list[Tracker]:
    """The trackers that a configuration asks for, writing below `folder`.

    Raises:
        MissingExtra: their library is not installed.
        UserError: Weights & Biases has no key.
    """
    trackers: list[Tracker] = []
    if spec.train.tensorboard:
        trackers.append(TensorBoard(folder / "tensorboard"))
    if spec.train.wandb is not None:
        trackers.append(Wandb(spec.train.wandb, spec.name, folder))
    return trackers
