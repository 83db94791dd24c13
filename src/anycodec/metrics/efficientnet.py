"""EfficientNet-lite0 as a network of FID and KID."""

from __future__ import annotations

from anycodec.engine import PictureFeatures
from anycodec.metrics.features import Floats
from anycodec.metrics.onnx import BATCH, resized

SIDE = 224
CENTRE, SPAN = 127.0, 128.0
"""What 8-bit values were trained as: (value - 127) / 128."""


class EfficientNetLite0:
    """Mean over pixels of the last features, D 1280, of pictures resized to 224 x 224.

    Args:
        features: the network, as an engine computes it.
    """

    name = "EfficientNet-lite0"
    batch = BATCH

    def __init__(self, features: PictureFeatures) -> None:
        self._features = features

    def prepare(self, picture: Floats) -> Floats:
        small = resized(picture, (SIDE, SIDE)) * 255
        normal: Floats = ((small - CENTRE) / SPAN).transpose(2, 0, 1)
        return normal

    def __call__(self, prepared: Floats) -> Floats:
        return self._features(prepared)
