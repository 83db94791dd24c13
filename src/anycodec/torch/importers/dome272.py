"""dome272's VQGAN (dome272/VQGAN-pytorch, MIT): both halves are lists of layers in the order of use."""

from __future__ import annotations

import re
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from anycodec.config.codec import VqganSpec
from anycodec.engine import ImportedCodec
from anycodec.errors import WeightsError
from anycodec.torch.codecs.vqgan import Vqgan
from anycodec.torch.importers.autoencoder2d import (
    PUBLISHED_GROUPS,
    Naming,
    code_sizes,
    layer_names,
    multipliers,
    pictures,
    shape,
    vq,
)
from anycodec.torch.importers.base import Config, Importer, Tensors, adopt, require

_CODEBOOK = "codebook.embedding.weight"
_AROUND = {
    "encoder.quant_conv": "quant_conv",
    "decoder.post_quant_conv": "post_quant_conv",
    "quantizer.codebook": _CODEBOOK,
}
_FIRST_PARTS = {"block.2.weight": "block", "q.weight": "attention", "conv.weight": "sample"}
"""What tells a layer's kind: a tensor that no other kind has."""
_MID = ["block", "attention", "block"]

NAMING = Naming(
    layer=lambda place: f"{place.half}.model.{place.order}{'.gn' if place.kind == 'norm_out' else ''}",
    block={
        "norm1": "block.0.gn",
        "conv1": "block.2",
        "norm2": "block.3.gn",
        "conv2": "block.5",
        "shortcut": "channel_up",
    },
    attention={"norm": "gn.gn"},
)


class Dome272(Importer):
    """`encoder.model`, `decoder.model`, `codebook`, `quant_conv`, `post_quant_conv`, alone or in `vqgan`.

    Its attention has an output projection that is never applied: ours starts as the identity.
    """

    def codec_tensors(self, tensors: Tensors, config: Config | None) -> ImportedCodec:
        tensors = {name.removeprefix("vqgan."): tensor for name, tensor in tensors.items()}
        spec = VqganSpec(backbone="dome272", quantizer=vq(tensors, _CODEBOOK), **_sizes(tensors))
        in_channels = shape(tensors, "encoder.model.0.weight")[1]
        codec = Vqgan(spec, in_channels)
        applied = {name: _as_applied(name, tensor) for name, tensor in tensors.items()}
        state = adopt(codec, applied, layer_names(codec, NAMING) | _AROUND, unused=("discriminator",))
        data = pictures(spec, in_channels)
        return ImportedCodec(spec=spec, in_channels=in_channels, tensors=state, data=data)


def _sizes(tensors: Tensors) -> dict[str, Any]:
    """Settings of the spec from the order and the shapes of the layers.

    Raises:
        WeightsError: another order than dome272's.
    """
    require(tensors, "encoder.model.0.weight", "decoder.model.0.weight")
    encoder, decoder = _kinds(tensors, "encoder"), _kinds(tensors, "decoder")
    has_mid = [kind for kind, _ in encoder[-3:]] == _MID
    if not has_mid or [kind for kind, _ in decoder[:3]] != _MID:
        raise WeightsError("the layers do not follow each other as in dome272's VQGAN")
    levels = _split(encoder[:-3])
    base = shape(tensors, "encoder.model.0.weight")[0]
    widths = [shape(tensors, f"encoder.model.{level[0][1]}.block.2.weight")[0] for level in levels]
    blocks = sum(kind == "block" for kind, _ in decoder[3:])
    return {
        "base_channels": base,
        "channel_multipliers": multipliers(widths, base),
        "res_blocks": sum(kind == "block" for kind, _ in levels[0]),
        "decoder_res_blocks": max(1, blocks // len(levels)),
        "attention_levels": tuple(
            i for i, level in enumerate(levels) if any(kind == "attention" for kind, _ in level)
        ),
        "norm_groups": PUBLISHED_GROUPS,
        **code_sizes(tensors),
    }


def _kinds(tensors: Tensors, half: str) -> list[tuple[str, int]]:
    """Kind and position of the blocks, attentions and samplers of a half, in their order."""
    found = {}
    for name in tensors:
        match = re.fullmatch(rf"{half}\.model\.(\d{{1,4}})\.(.+)", name)
        if match and match[2] in _FIRST_PARTS:
            found[int(match[1])] = _FIRST_PARTS[match[2]]
    return [(found[position], position) for position in sorted(found)]


def _split(kinds: list[tuple[str, int]]) -> list[list[tuple[str, int]]]:
    """The layers of each level, between samplers.

    Raises:
        WeightsError: there is none, or one does not begin with a block.
    """
    runs = groupby(kinds, key=lambda item: item[0] == "sample")
    levels = [list(run) for sampler, run in runs if not sampler]
    if not levels or any(level[0][0] != "block" for level in levels):
        raise WeightsError("the layers do not follow each other as in dome272's VQGAN")
    return levels


def _as_applied(name: str, tensor: Tensor) -> Tensor:
    """The output projection of attention as the identity, which leaving it out amounts to."""
    if name.endswith(".proj_out.weight") and tensor.dim() > 1:
        return torch.eye(*tensor.shape[:2]).reshape(*tensor.shape[:2], 1, 1)
    return torch.zeros_like(tensor) if name.endswith(".proj_out.bias") else tensor
