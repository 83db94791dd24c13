"""Published Bonito weights -> the state of our QuartzNet, BatchNorm folded into the convolutions.

ours                         published (module.encoder.encoder.B. ...)
blocks.B.convs.I.depthwise   conv.J.depthwise           J = 4 I: convolution, BatchNorm, ReLU, dropout
blocks.B.convs.I.pointwise   conv.J.pointwise           then the BatchNorm conv.(J + 1)
blocks.B.convs.I             conv.J.conv                where a block is not separable
blocks.B.residual            residual.0.conv            then the BatchNorm residual.1
head                         module.decoder.layers.0
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from anycodec.errors import WeightsError
from anycodec.torch.basecallers.quartznet import BONITO_R941, BlockSpec, QuartzNet
from anycodec.torch.importers.files import read_tensors

EPSILON = 1e-3
"""Of Bonito's BatchNorm."""
_PER_CONVOLUTION = 4
"""Modules that Bonito lists for each convolution of a block."""


def convert_bonito(
    files: Sequence[Path], blocks: Sequence[BlockSpec] = BONITO_R941
) -> dict[str, NDArray[Any]]:
    """The state of `QuartzNet(blocks)` from a published checkpoint.

    Raises:
        WeightsError: not one file, unreadable, unsafe, or not of that network; says what is missing.
    """
    if len(files) != 1:
        raise WeightsError("Bonito's weights are one file", where=", ".join(map(str, files)))
    state = fold(_Published(read_tensors(files[0]), files[0]), blocks)
    with torch.device("meta"):
        expected = {name: value.shape for name, value in QuartzNet(blocks).state_dict().items()}
    wrong = [
        f"{name} is {list(state[name].shape)}, expected {list(shape)}"
        for name, shape in expected.items()
        if state[name].shape != shape
    ]
    if wrong:
        raise WeightsError(
            f"these are not the weights of bonito-r941: {'; '.join(wrong[:4])}",
            where=str(files[0]),
            how="give bonito/models/dna_r9.4.1/weights_1.tar of ont-bonito 0.1.5",
        )
    return {name: tensor.numpy() for name, tensor in state.items()}


class _Published:
    """Tensors of a checkpoint, with or without the prefix of a data-parallel training."""

    def __init__(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        self._tensors = {name.removeprefix("module."): tensor.float() for name, tensor in tensors.items()}
        self._path = path

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._tensors:
            raise WeightsError(
                f"these are not the weights of bonito-r941: {name} is missing",
                where=str(self._path),
                how="give bonito/models/dna_r9.4.1/weights_1.tar of ont-bonito 0.1.5",
            )
        return self._tensors[name]


def fold(published: _Published, blocks: Sequence[BlockSpec]) -> dict[str, Tensor]:
    """The state by our names.

    Raises:
        WeightsError: a tensor is missing.
    """
    state: dict[str, Tensor] = {}

    def folded(ours: str, conv: str, norm: str) -> None:
        gain = published[f"{norm}.weight"] * (published[f"{norm}.running_var"] + EPSILON).rsqrt()
        state[f"{ours}.weight"] = (published[f"{conv}.weight"] * gain[:, None, None])[:, :, None]
        state[f"{ours}.bias"] = published[f"{norm}.bias"] - published[f"{norm}.running_mean"] * gain

    for b, spec in enumerate(blocks):
        theirs, ours = f"encoder.encoder.{b}", f"blocks.{b}"
        for i in range(spec.repeat):
            conv, norm = (f"{theirs}.conv.{_PER_CONVOLUTION * i + part}" for part in (0, 1))
            if spec.separable:
                state[f"{ours}.convs.{i}.depthwise.weight"] = published[f"{conv}.depthwise.weight"][
                    :, :, None
                ]
                folded(f"{ours}.convs.{i}.pointwise", f"{conv}.pointwise", norm)
            else:
                folded(f"{ours}.convs.{i}", f"{conv}.conv", norm)
        if spec.residual:
            folded(f"{ours}.residual", f"{theirs}.residual.0.conv", f"{theirs}.residual.1")
    state["head.weight"] = published["decoder.layers.0.weight"][:, :, None]
    state["head.bias"] = published["decoder.layers.0.bias"]
    return state
