"""How far restored pictures are from the originals as a set, in the features of a network.

The network is named wherever the figures are shown: a distance in one network's features says
nothing beside a distance in another's.
"""

from __future__ import annotations

import warnings
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from anycodec.errors import DataError, Notice
from anycodec.metrics.frechet import frechet_distance
from anycodec.metrics.kernel import kernel_distance

MOST_PICTURES = 10_000
"""Pictures of a set that are looked at; of more, every second, fourth, ..."""

Floats = NDArray[np.float32]


class FeatureNetwork(Protocol):
    """A network that turns pictures into vectors.

    Attributes:
        name: what a report calls it.
        batch: pictures that it takes at once.
    """

    name: str
    batch: int

    def prepare(self, picture: Floats) -> Floats:
        """A picture [H W 3] in [0, 1] in the layout and size that the network takes."""

    def __call__(self, prepared: Floats) -> Floats:
        """Features [N D] of N prepared pictures, N at most `batch`."""


class FeatureSet:
    """Features of pictures that arrive one by one, in bounded memory."""

    def __init__(self, network: FeatureNetwork, most: int = MOST_PICTURES) -> None:
        self._network = network
        self._most = most
        self._waiting: list[Floats] = []
        self._vectors: list[Floats] = []
        self._seen = 0
        self._step = 1

    def add(self, picture: NDArray[Any], value_range: tuple[float, float]) -> None:
        """Look at a picture [H W C], C 1 or 3, whose values can go from the first to the second bound."""
        if self._seen % self._step == 0:
            self._waiting.append(self._network.prepare(rgb(picture, value_range)))
            if len(self._waiting) == self._network.batch:
                self._look()
        self._seen += 1

    def vectors(self) -> Floats:
        """[N D]."""
        self._look()
        return np.stack(self._vectors) if self._vectors else np.zeros((0, 0), np.float32)

    def _look(self) -> None:
        if self._waiting:
            self._vectors += list(self._network(np.stack(self._waiting)))
            self._waiting.clear()
        while len(self._vectors) > self._most:
            self._vectors = self._vectors[::2]
            self._step *= 2


class FeatureDistances:
    """FID and KID of pictures that arrive one by one or in blocks.

    Args:
        network: whose features.
        originals: features of the same originals from an earlier pass; None = look at them too.
    """

    def __init__(self, network: FeatureNetwork, originals: FeatureSet | None = None) -> None:
        self.network = network
        self.originals = originals or FeatureSet(network)
        self._restored = FeatureSet(network)
        self._looks = originals is None

    def beside(self) -> FeatureDistances:
        return FeatureDistances(self.network, self.originals)

    def update(
        self, original: NDArray[Any], restored: NDArray[Any], value_range: tuple[float, float]
    ) -> None:
        """Add frames [N H W C]."""
        for x, y in zip(original, restored, strict=True):
            if self._looks:
                self.originals.add(x, value_range)
            self._restored.add(y, value_range)

    def scores(self) -> dict[str, float]:
        """`fid`, `kid`, `kid_deviation` over subsets, and `feature_pictures`, how many were compared.

        Raises:
            DataError: a single picture is no set.
        """
        originals, restored = self.originals.vectors(), self._restored.vectors()
        if len(restored) < 2:
            raise DataError("FID and KID compare sets of pictures, and there is only one", how="give more")
        if len(restored) <= originals.shape[1]:
            warnings.warn(
                f"FID of {len(restored)} pictures in {originals.shape[1]} features is far too high: "
                "go by KID, which has no bias, or give more pictures",
                Notice,
                stacklevel=2,
            )
        kernel = kernel_distance(originals, restored)
        return {
            "fid": frechet_distance(originals, restored),
            "kid": kernel.mean,
            "kid_deviation": kernel.deviation,
            "feature_pictures": len(restored),
        }


def rgb(picture: NDArray[Any], value_range: tuple[float, float]) -> Floats:
    """[H W C] -> [H W 3] in [0, 1]."""
    low, high = value_range
    scaled = ((picture.astype(np.float32) - low) / (high - low)).clip(0, 1)
    rgb: Floats = np.broadcast_to(scaled, (*picture.shape[:2], 3)).astype(np.float32)
    return rgb
