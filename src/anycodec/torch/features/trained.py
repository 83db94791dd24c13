"""A trained feature network on NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anycodec.config.features_run import FeaturesRunSpec
from anycodec.engine import Windows
from anycodec.torch.device import coding_memory
from anycodec.torch.features.objectives import Classification, FeatureModel
from anycodec.torch.weights import load_weights

_CHUNK = 64
"""Windows that are looked at at once."""


class TrainedFeatures:
    """See `anycodec.engine.FeaturesRuntime`."""

    def __init__(self, model: FeatureModel, device: torch.device) -> None:
        self._model, self._device = model.to(device).eval(), device
        self.width = model.network.width

    def __call__(self, windows: Windows) -> NDArray[np.float32]:
        return self._each(windows, self._model.network)

    def vectors(self, windows: Windows) -> NDArray[np.float32]:
        """[N C *s] -> means over time [N V]."""
        return self._each(windows, self._model.network.summarised)

    def probabilities(self, windows: Windows) -> NDArray[np.float32]:
        """[N C *s] -> of each class [N K].

        Raises:
            TypeError: the network knows no classes.
        """
        objective = self._model.objective
        if not isinstance(objective, Classification):
            raise TypeError("features that were trained without classes have no probabilities")
        network = self._model.network
        return self._each(windows, lambda x: objective.classes(network.summarised(x)).softmax(dim=1))

    @torch.inference_mode()
    def _each(self, windows: Windows, function: Callable[[Tensor], Tensor]) -> NDArray[np.float32]:
        parts = []
        with coding_memory(self._device):
            for start in range(0, len(windows), _CHUNK):
                x = torch.from_numpy(np.ascontiguousarray(windows[start : start + _CHUNK])).to(self._device)
                parts.append(function(x).float().cpu().numpy())
        return np.concatenate(parts)


def load_features(
    spec: FeaturesRunSpec, shape: tuple[int, ...], classes: int, weights: Path, device: torch.device
) -> TrainedFeatures:
    """A trained network; see `anycodec.engine.Engine.load_features`."""
    model = FeatureModel(spec.features, shape, classes)
    load_weights(model, weights)
    return TrainedFeatures(model, device)
