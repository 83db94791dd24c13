"""diffusers' VQModel (`models/autoencoders/vq_model.py`): what `anycodec.torch.importers.diffusers` reads."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from anycodec.config.codec import CodecSpec, VqganSpec
from anycodec.config.run import RunSpec, window_shape
from anycodec.engine import ExportedCodec
from anycodec.errors import RunError
from anycodec.torch.codecs import Codec
from anycodec.torch.codecs.vqgan import Vqgan
from anycodec.torch.importers.autoencoder2d import VQ_NAMES, layer_names
from anycodec.torch.importers.base import translated
from anycodec.torch.importers.diffusers import NAMING
from anycodec.torch.quantizers.codebook import CodebookQuantizer

_CODEBOOK = VQ_NAMES["quantizer.codebook"]
_LINEAR = (".to_q.weight", ".to_k.weight", ".to_v.weight", ".to_out.0.weight")
"""Attention's 1x1 convolutions are linear layers there."""


def export(codec: Codec, spec: RunSpec) -> ExportedCodec:
    """Settings for `config.json` and the state of a VQModel that gives the same tokens and pictures.

    Raises:
        RunError: the codec has what a VQModel has not; says what.
    """
    found = list(_obstacles(spec.codec))
    if found:
        raise RunError(
            "diffusers' VQModel cannot be this codec: " + "; ".join(found),
            how="train a vqgan without these settings, or import a published one",
        )
    assert isinstance(codec, Vqgan)
    assert isinstance(spec.codec, VqganSpec)
    assert isinstance(codec.quantizer, CodebookQuantizer)
    names = layer_names(codec, NAMING) | VQ_NAMES
    tensors = {
        theirs: _theirs(theirs, tensor)
        for ours, tensor in codec.state_dict().items()
        if not ours.startswith("quantizer.") and (theirs := translated(ours, names)) is not None
    }
    tensors[_CODEBOOK] = codec.quantizer.codes().detach()
    in_channels = tensors["encoder.conv_in.weight"].shape[1]
    return ExportedCodec(
        settings=_settings(spec.codec, in_channels, window_shape(spec.data)[0]),
        tensors={name: tensor.numpy() for name, tensor in tensors.items()},
    )


def _obstacles(spec: CodecSpec) -> Iterator[str]:
    """What of a codec a VQModel cannot express."""
    if not isinstance(spec, VqganSpec):
        yield f"it is a {spec.type}"
        return
    quantizer = spec.quantizer
    if quantizer.type not in ("vq", "ema", "simvq"):
        yield f"its quantizer is {quantizer.type}, not vq, ema or simvq"
    elif quantizer.code_dim is not None or quantizer.distance != "euclidean":
        yield "its codes are narrower than latents, or compared by cosine"
    if spec.backbone != "taming":
        yield f"its backbone is {spec.backbone}"
    if spec.patch_skip:
        yield "it has patch_skip"
    if spec.patch_size != 1:
        yield f"patch_size is {spec.patch_size}, not 1"
    if spec.decoder_res_blocks not in (None, spec.res_blocks + 1):
        yield f"decoder_res_blocks is {spec.decoder_res_blocks}, not {spec.res_blocks + 1}"
    if spec.channel_multipliers[0] != 1:
        yield f"the first of channel_multipliers is {spec.channel_multipliers[0]}, not 1"
    if any(width % spec.norm_groups for width in spec.widths):
        yield f"norm_groups {spec.norm_groups} does not divide all of its widths {list(spec.widths)}"


def _theirs(name: str, tensor: Tensor) -> Tensor:
    return tensor[..., 0, 0] if name.endswith(_LINEAR) else tensor


def _settings(spec: VqganSpec, in_channels: int, sample_size: int) -> dict[str, object]:
    """`config.json`."""
    attends = [level in spec.attention_levels for level in range(len(spec.widths))]
    (codes,) = spec.quantizer.codebook_sizes
    return {
        "_class_name": "VQModel",
        "act_fn": "silu",
        "block_out_channels": list(spec.widths),
        "down_block_types": [f"{'Attn' if attention else ''}DownEncoderBlock2D" for attention in attends],
        "in_channels": in_channels,
        "latent_channels": spec.latent_channels,
        "layers_per_block": spec.res_blocks,
        "mid_block_add_attention": spec.mid_attention,
        "norm_num_groups": spec.norm_groups,
        "norm_type": "group",
        "num_vq_embeddings": codes,
        "out_channels": in_channels,
        "sample_size": sample_size,
        "up_block_types": [f"{'Attn' if a else ''}UpDecoderBlock2D" for a in reversed(attends)],
        "vq_embed_dim": spec.code_channels,
    }
