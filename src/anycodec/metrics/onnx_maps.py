"""Features of pictures place by place, from networks that onnxruntime runs."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from anycodec.errors import WeightsError
from anycodec.metrics.features import Floats, rgb
from anycodec.metrics.onnx import DinoV2, OnnxNetwork

MOST_BYTES = 2**29
"""Of features that are remembered."""


class MapNetwork(Protocol):
    """A network whose output keeps places apart."""

    def prepare(self, picture: Floats) -> Floats:
        """A picture [H W 3] in [0, 1] in the layout and size that the network takes."""

    def maps(self, prepared: Floats) -> Floats:
        """Prepared pictures [N ...] -> features [N F h w]."""


class DinoMaps:
    """Patch tokens of DINOv2 ViT-S/14, [N 384 16 16].

    Raises:
        MissingExtra, WeightsError: as `anycodec.metrics.onnx.open_network`.
    """

    def __init__(self) -> None:
        self._network = DinoV2()

    def prepare(self, picture: Floats) -> Floats:
        return self._network.prepare(picture)

    def maps(self, prepared: Floats) -> Floats:
        return as_maps(self._network.tokens(prepared), "dinov2")


class FileMaps:
    """The first output of an ONNX file, maps [N F h w] or tokens [N T F].

    Raises:
        MissingExtra, WeightsError: as `anycodec.metrics.onnx.open_network`.
    """

    def __init__(self, path: Path) -> None:
        self._network, self._path = OnnxNetwork(path), path

    def prepare(self, picture: Floats) -> Floats:
        return self._network.prepare(picture)

    def maps(self, prepared: Floats) -> Floats:
        return as_maps(self._network.output(prepared), str(self._path))


class PictureMaps:
    """A network's features of windows, remembered: `anycodec.engine.FeatureMaps`.

    Windows are looked at one by one and features rounded to float16, so that what a window's features are
    depends on nothing else: a training that was killed goes on with the same.

    Args:
        network: the network.
        most_bytes: of features that are remembered; those of further windows are computed each time.
    """

    def __init__(self, network: MapNetwork, most_bytes: int = MOST_BYTES) -> None:
        self._network = network
        self._left = most_bytes
        self._known: dict[bytes, NDArray[Any]] = {}
        self.width = self._compute(np.zeros((1, 64, 64), np.float32)).shape[0]

    def __call__(self, windows: Floats) -> Floats:
        """[N C H W] in [-1, 1], C 1 or 3 -> [N F h w]."""
        return np.stack([self._features(window) for window in windows]).astype(np.float32)

    def _features(self, window: Floats) -> NDArray[Any]:
        key = hashlib.blake2b(window.tobytes(), digest_size=16).digest()
        found = self._known.get(key)
        if found is None:
            found = self._compute(window)
            if found.nbytes <= self._left:
                self._left -= found.nbytes
                self._known[key] = found
        return found

    def _compute(self, window: Floats) -> NDArray[Any]:
        picture = rgb(window.transpose(1, 2, 0), (-1.0, 1.0))
        maps = self._network.maps(self._network.prepare(picture)[None])
        rounded: NDArray[Any] = maps[0].astype(np.float16)
        return rounded


def as_maps(output: Floats, where: str) -> Floats:
    """Tokens [N T F] of a square of patches, other tokens first, or maps [N F h w] -> [N F h w].

    Raises:
        WeightsError: it is neither.
    """
    if output.ndim == 4:
        return output
    if output.ndim != 3:
        raise WeightsError(
            f"its first output is {list(output.shape)}, neither maps [N F h w] nor tokens [N T F]",
            where=where,
            how="give a network that keeps places apart, without the mean at its end",
        )
    side = math.isqrt(output.shape[1])
    patches = output[:, output.shape[1] - side**2 :]
    return patches.reshape(len(output), side, side, -1).transpose(0, 3, 1, 2)
