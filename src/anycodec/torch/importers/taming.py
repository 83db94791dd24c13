"""taming-transformers' VQModel (CompVis/taming-transformers, `taming/models/vqgan.py`, MIT)."""

from __future__ import annotations

from typing import Any

from anycodec.config.codec import VqganSpec
from anycodec.config.codecs.autoencoder2d import Autoencoder2dSpec
from anycodec.engine import ImportedCodec, ImportedDiscriminator
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
from anycodec.torch.importers.base import (
    Config,
    Importer,
    Tensors,
    adopt,
    refuse_contradictions,
    section,
)
from anycodec.torch.importers.patchgan import patchgan


def _layer(place: Place) -> str:
    """`up.0` is the finest level, and runs last."""
    half, kind = place.half, place.kind
    if kind.startswith("mid_"):
        return f"{half}.mid.{'attn_1' if kind == 'mid_attention' else f'block_{place.index + 1}'}"
    if kind in ("conv_in", "norm_out", "conv_out"):
        return f"{half}.{kind}"
    way = "down" if half == "encoder" else "up"
    part = {"block": f"block.{place.index}", "attention": f"attn.{place.index}", "sample": f"{way}sample"}[
        kind
    ]
    return f"{half}.{way}.{place.level}.{part}"


NAMING = Naming(
    layer=_layer,
    block={"shortcut": "nin_shortcut"},
    attention={},
)
"""The names of taming, and of latent diffusion after it."""


class Taming(Importer):
    """`encoder`, `decoder`, `quant_conv`, `quantize`, `post_quant_conv`; of `loss` the discriminator."""

    def codec_tensors(self, tensors: Tensors, config: Config | None) -> ImportedCodec:
        spec = VqganSpec(quantizer=vq(tensors), **sizes(tensors, NAMING))
        in_channels = shape(tensors, "encoder.conv_in.weight")[1]
        parameters = section(config, "model", "params")
        refuse_contradictions(parameters, {"n_embed": spec.quantizer.codebook_sizes[0]})
        check_ldm_config(parameters, spec, in_channels, double_z=False)
        codec = Vqgan(spec, in_channels)
        state = adopt(codec, tensors, layer_names(codec, NAMING) | VQ_NAMES, unused=("loss",))
        discriminator, note = _of_training(tensors, in_channels, config)
        return ImportedCodec(
            spec=spec,
            in_channels=in_channels,
            tensors=state,
            data=pictures(spec, in_channels, section(parameters, "ddconfig").get("resolution")),
            note=note,
            discriminator=discriminator,
        )


def _of_training(
    tensors: Tensors, in_channels: int, config: Config | None
) -> tuple[ImportedDiscriminator | None, str]:
    """The discriminator, and what a user should know of the rest of `loss`."""
    if not any(name.startswith("loss.") for name in tensors):
        return None, ""
    try:
        discriminator = patchgan(tensors, in_channels, config)
    except WeightsError as error:
        return None, f"without `loss.*`, whose discriminator is not taming's: {error.what}"
    if discriminator is None:
        return None, "without the perceptual loss (`loss.*`)"
    return discriminator, "with its discriminator, without the perceptual loss (`loss.*`)"


def check_ldm_config(
    parameters: Config, spec: Autoencoder2dSpec, in_channels: int, *, double_z: bool
) -> None:
    """Compare the `model.params` of a taming or latent-diffusion YAML with what the tensors say.

    Raises:
        WeightsError: lists every setting that differs.
    """
    derived: dict[str, Any] = {
        "ch": spec.base_channels,
        "ch_mult": spec.channel_multipliers,
        "num_res_blocks": spec.res_blocks,
        "z_channels": spec.latent_channels,
        "in_channels": in_channels,
        "double_z": double_z,
    }
    refuse_contradictions(parameters, {"embed_dim": spec.code_channels})
    refuse_contradictions(section(parameters, "ddconfig"), derived)
