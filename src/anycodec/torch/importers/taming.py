"""taming-transformers' VQModel (CompVis/taming-transformers, `taming/models/vqgan.py`, MIT)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from anycodec.config.codec import VqganSpec
from anycodec.config.data import FixedSpec, ImageSource, Window2d
from anycodec.config.quantizer import VqSpec
from anycodec.engine import ImportedCodec
from anycodec.torch.codecs import make_codec
from anycodec.torch.importers.base import (
    Config,
    Importer,
    Tensors,
    adopt,
    refuse_contradictions,
    require,
    section,
)

RESOLUTION = 256
"""Pixels a side of the published models' pictures."""


class Taming(Importer):
    """`encoder`, `decoder`, `quant_conv`, `quantize`, `post_quant_conv`; `loss` belongs to training."""

    def codec_tensors(self, tensors: Tensors, config: Config | None) -> ImportedCodec:
        require(
            tensors,
            "encoder.conv_in.weight",
            "encoder.conv_out.weight",
            "quant_conv.weight",
            "quantize.embedding.weight",
        )
        spec = vqgan_spec(tensors)
        in_channels = tensors["encoder.conv_in.weight"].shape[1]
        parameters = section(config, "model", "params")
        ddconfig = section(parameters, "ddconfig")
        _check(spec, in_channels, parameters, ddconfig)
        state = adopt(make_codec(spec, in_channels), tensors, taming_names(spec), unused=("loss",))
        resolution = int(ddconfig.get("resolution", max(RESOLUTION, *spec.stride)))
        return ImportedCodec(
            spec=spec,
            in_channels=in_channels,
            tensors=state,
            data=ImageSource(
                mode="grey" if in_channels == 1 else "rgb",
                window=Window2d(size=(resolution, resolution)),
                normalizer=FixedSpec(),
            ),
            note="without the discriminator and the perceptual loss (`loss.*`)" if _has_loss(tensors) else "",
        )


def vqgan_spec(tensors: Tensors) -> VqganSpec:
    """The architecture that the tensors' names and shapes imply."""
    base = tensors["encoder.conv_in.weight"].shape[0]
    levels = 1 + max(_numbers(tensors, r"encoder\.down\.(\d+)\."), default=0)
    widths = [tensors[f"encoder.down.{i}.block.0.conv1.weight"].shape[0] for i in range(levels)]
    codes, dim = tensors["quantize.embedding.weight"].shape
    return VqganSpec(
        base_channels=base,
        channel_multipliers=tuple(width // base for width in widths),
        res_blocks=1 + max(_numbers(tensors, r"encoder\.down\.0\.block\.(\d+)\."), default=0),
        attention_levels=tuple(sorted(set(_numbers(tensors, r"encoder\.down\.(\d+)\.attn\.")))),
        latent_channels=tensors["encoder.conv_out.weight"].shape[0],
        embed_channels=dim,
        quantizer=VqSpec(codebook_size=codes, beta=0.25, kmeans_init=False, restart_after=0),
    )


def taming_names(spec: VqganSpec) -> dict[str, str]:
    """Our modules -> taming's."""
    levels = len(spec.channel_multipliers)
    return {
        **_half("encoder", levels, spec.res_blocks, spec.attention_levels),
        **_half("decoder", levels, spec.res_blocks + 1, spec.attention_levels),
        "encoder.quant_conv": "quant_conv",
        "decoder.post_quant_conv": "post_quant_conv",
        "quantizer.codebook": "quantize.embedding.weight",
    }


def _half(half: str, levels: int, blocks: int, attention_levels: tuple[int, ...]) -> dict[str, str]:
    """Modules of the encoder or the decoder. taming's `up.0` is the finest level, and runs last."""
    down = half == "encoder"
    names = {f"{half}.{part}": f"{half}.{part}" for part in ("conv_in", "norm_out", "conv_out")}
    names |= {
        f"{half}.mid.{i}": f"{half}.mid.{part}" for i, part in enumerate(("block_1", "attn_1", "block_2"))
    }
    position = 0
    for level in range(levels) if down else reversed(range(levels)):
        theirs = f"{half}.{'down' if down else 'up'}.{level}"
        layer = 0
        for block in range(blocks):
            names[f"{half}.levels.{position}.{layer}"] = f"{theirs}.block.{block}"
            layer += 1
            if level in attention_levels:
                names[f"{half}.levels.{position}.{layer}"] = f"{theirs}.attn.{block}"
                layer += 1
        position += 1
        if level != (levels - 1 if down else 0):
            names[f"{half}.levels.{position}"] = f"{theirs}.{'downsample' if down else 'upsample'}"
            position += 1
    return names | {f"{ours}.shortcut": f"{theirs}.nin_shortcut" for ours, theirs in names.items()}


def _check(
    spec: VqganSpec, in_channels: int, parameters: Mapping[str, Any], ddconfig: Mapping[str, Any]
) -> None:
    refuse_contradictions(
        parameters, {"n_embed": spec.quantizer.codebook_size, "embed_dim": spec.code_channels}
    )
    refuse_contradictions(
        ddconfig,
        {
            "ch": spec.base_channels,
            "ch_mult": spec.channel_multipliers,
            "num_res_blocks": spec.res_blocks,
            "z_channels": spec.latent_channels,
            "in_channels": in_channels,
            "double_z": False,
        },
    )


def _has_loss(tensors: Tensors) -> bool:
    return any(name.startswith("loss.") for name in tensors)


def _numbers(tensors: Tensors, pattern: str) -> list[int]:
    """What the group of `pattern` matches in the tensors' names."""
    return [int(found[1]) for name in tensors if (found := re.match(pattern, name))]
