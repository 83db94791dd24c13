"""diffusers' VQModel (huggingface/diffusers, `models/autoencoders/vq_model.py`, Apache-2.0)."""

from __future__ import annotations

from typing import Any

from anycodec.config.codec import VqganSpec
from anycodec.engine import ImportedCodec
from anycodec.errors import WeightsError
from anycodec.torch.codecs.vqgan import Vqgan
from anycodec.torch.importers.autoencoder2d import (
    VQ_NAMES,
    Naming,
    Place,
    layer_names,
    pictures,
    shape,
    sizes,
    vq,
)
from anycodec.torch.importers.base import Config, Importer, Tensors, adopt, refuse_contradictions

_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Names of attention's parts before diffusers 0.15, which published files still have."""
_SUPPORTED: dict[str, tuple[Any, ...]] = {
    "act_fn": ("silu", "swish"),
    "norm_type": ("group",),
    "lookup_from_codebook": (False,),
}
"""Settings that no tensor tells, with the values that we compute."""


def _layer(place: Place) -> str:
    """`up_blocks.0` is the deepest level, and runs first."""
    half, kind = place.half, place.kind
    if kind.startswith("mid_"):
        part = "attentions" if kind == "mid_attention" else "resnets"
        return f"{half}.mid_block.{part}.{place.index}"
    if kind in ("conv_in", "conv_out"):
        return f"{half}.{kind}"
    if kind == "norm_out":
        return f"{half}.conv_norm_out"
    way = "down" if half == "encoder" else "up"
    parts = {"block": f"resnets.{place.index}", "attention": f"attentions.{place.index}"}
    return f"{half}.{way}_blocks.{place.step}.{parts.get(kind, f'{way}samplers.0')}"


NAMING = Naming(
    layer=_layer,
    block={"shortcut": "conv_shortcut"},
    attention={"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"},
)


class Diffusers(Importer):
    """`encoder`, `quant_conv`, `quantize`, `post_quant_conv`, `decoder`; `config.json` tells the groups."""

    def codec_tensors(self, tensors: Tensors, config: Config | None) -> ImportedCodec:
        config = config or {}
        tensors = {_renewed(name): tensor for name, tensor in tensors.items()}
        found = sizes(tensors, NAMING)
        found["norm_groups"] = config.get("norm_num_groups", found["norm_groups"])
        spec = VqganSpec(quantizer=vq(tensors), **found)
        in_channels = shape(tensors, "encoder.conv_in.weight")[1]
        _check(config, spec, in_channels)
        codec = Vqgan(spec, in_channels)
        state = adopt(codec, tensors, layer_names(codec, NAMING) | VQ_NAMES)
        data = pictures(spec, in_channels, config.get("sample_size"))
        return ImportedCodec(spec=spec, in_channels=in_channels, tensors=state, data=data)


def _renewed(name: str) -> str:
    parts = name.split(".")
    if "attentions" in parts:
        parts = [_OLD_ATTENTION.get(part, part) for part in parts]
    return ".".join(parts)


def _check(config: Config, spec: VqganSpec, in_channels: int) -> None:
    if any(width % spec.norm_groups for width in spec.widths):
        raise WeightsError(
            f"{spec.norm_groups} groups of GroupNorm don't divide the widths {spec.widths}",
            how="give the model's config.json with --config: it tells norm_num_groups",
        )
    for key, values in _SUPPORTED.items():
        if config.get(key, values[0]) not in values:
            raise WeightsError(f"{key} {config[key]!r} is not supported", where="config.json")
    refuse_contradictions(
        config,
        {
            "in_channels": in_channels,
            "out_channels": in_channels,
            "block_out_channels": spec.widths,
            "layers_per_block": spec.res_blocks,
            "latent_channels": spec.latent_channels,
            "num_vq_embeddings": spec.quantizer.codebook_sizes[0],
        },
    )
