"""What a feature network learns from."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anycodec.config.features_run import ClassifierSpec, FeaturesSpec, VicregSpec
from anycodec.torch.classifier import augmented
from anycodec.torch.features.network import FeatureNetwork
from anycodec.torch.parallel.sums import join_rows

_DELTA = 1e-4
"""Added to variances before their root (Bardes et al. 2022)."""


class Objective(nn.Module, ABC):
    """A loss of summaries [B V], with the layers that only it needs."""

    metric: str
    """The figure of a validation that decides which weights are kept."""
    more_is_better: bool

    @abstractmethod
    def views(self) -> int:
        """How many augmented copies of a window it compares."""

    @abstractmethod
    def forward(self, views: list[Tensor], labels: Tensor) -> dict[str, Tensor]:
        """Weighted terms and, among others, what `metric` says.

        Args:
            views: summaries [B V] of each copy.
            labels: int64 [B], -1 = no class.
        """


class Classification(Objective):
    """Cross-entropy of a linear classifier; windows without a class don't count."""

    metric, more_is_better = "accuracy", True

    def __init__(self, spec: ClassifierSpec, width: int, classes: int) -> None:
        super().__init__()
        self.smoothing = spec.label_smoothing
        self.classes = nn.Linear(width, classes)

    def views(self) -> int:
        return 1

    def forward(self, views: list[Tensor], labels: Tensor) -> dict[str, Tensor]:
        logits = self.classes(views[0])
        loss = F.cross_entropy(logits, labels, ignore_index=-1, label_smoothing=self.smoothing)
        known = labels >= 0
        right = (logits.argmax(dim=1) == labels)[known]
        return {"loss": loss, "accuracy": right.float().mean()}


class Vicreg(Objective):
    """Variance-invariance-covariance regularisation (Bardes et al. 2022, arXiv 2105.04906, eq. 1 to 6)."""

    metric, more_is_better = "loss", False

    def __init__(self, spec: VicregSpec, width: int) -> None:
        super().__init__()
        self.spec = spec
        self.expander = nn.Sequential(
            nn.Linear(width, spec.width),
            nn.BatchNorm1d(spec.width),
            nn.ReLU(),
            nn.Linear(spec.width, spec.width),
        )

    def views(self) -> int:
        return 2

    def forward(self, views: list[Tensor], labels: Tensor) -> dict[str, Tensor]:
        a, b = (join_rows(self.expander(view)) for view in views)
        invariance = F.mse_loss(a, b)
        variance = (lacking_deviation(a) + lacking_deviation(b)) / 2
        covariance = squared_covariances(a) + squared_covariances(b)
        spec = self.spec
        loss = spec.invariance * invariance + spec.variance * variance + spec.covariance * covariance
        return {"loss": loss, "invariance": invariance, "variance": variance, "covariance": covariance}


def lacking_deviation(z: Tensor) -> Tensor:
    """Mean over channels of what the deviation of z [B D] lacks to 1 (eq. 1)."""
    return F.relu(1 - torch.sqrt(z.var(dim=0) + _DELTA)).mean()


def squared_covariances(z: Tensor) -> Tensor:
    """Sum over pairs of channels of z [B D] of their squared covariance, over D (eq. 4)."""
    centred = z - z.mean(dim=0)
    covariance = centred.mT @ centred / (len(z) - 1)
    off_diagonal = covariance - torch.diag(torch.diag(covariance))
    return off_diagonal.square().sum() / z.shape[1]


class FeatureModel(nn.Module):
    """A network with its objective: what a run of features stores.

    Args:
        spec: both.
        shape: (C, *s) of the windows.
        classes: number of classes K.
    """

    def __init__(self, spec: FeaturesSpec, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.augmentation = spec.augmentation
        self.network = FeatureNetwork(spec.network, shape)
        width = self.network.summary
        self.objective: Objective
        if isinstance(spec.objective, ClassifierSpec):
            self.objective = Classification(spec.objective, width, classes)
        else:
            self.objective = Vicreg(spec.objective, width)

    def terms(self, x: Tensor, labels: Tensor, random: torch.Generator) -> dict[str, Tensor]:
        """The loss of windows [B C *s] and its parts.

        Args:
            x: the windows.
            labels: int64 [B], -1 = no class.
            random: of the augmentation; a classifier is judged without.
        """
        copies = [x] * self.objective.views()
        if self.augmentation is not None and (self.training or len(copies) > 1):
            copies = [augmented(copy, self.augmentation, random) for copy in copies]
        found: dict[str, Tensor] = self.objective([self.network.summarised(copy) for copy in copies], labels)
        return found
