"""VA-VAE's and latent diffusion's AutoencoderKL (hustvl/LightningDiT, `vavae/ldm`, MIT)."""

from __future__ import annotations

from anycodec.config.codec import KlVaeSpec
from anycodec.engine import ImportedCodec
from anycodec.torch.codecs.klvae import KlVae
from anycodec.torch.importers.autoencoder2d import layer_names, pictures, shape, sizes
from anycodec.torch.importers.base import Config, Importer, Tensors, adopt, section
from anycodec.torch.importers.taming import NAMING, check_ldm_config

_AROUND = {"quantizer.moments": "quant_conv", "decoder.post_quant_conv": "post_quant_conv"}
_TRAINING = ("loss", "foundation_model", "linear_proj")
"""Parts that only training uses: discriminator and perceptual loss, the model aligned to, the map to it."""


class Vavae(Importer):
    """`encoder`, `quant_conv`, `post_quant_conv`, `decoder`, called as in taming."""

    def codec_tensors(self, tensors: Tensors, config: Config | None) -> ImportedCodec:
        spec = KlVaeSpec(**sizes(tensors, NAMING))
        in_channels = shape(tensors, "encoder.conv_in.weight")[1]
        parameters = section(config, "model", "params")
        check_ldm_config(parameters, spec, in_channels, double_z=True)
        codec = KlVae(spec, in_channels)
        state = adopt(codec, tensors, layer_names(codec, NAMING) | _AROUND, unused=_TRAINING)
        has_training = any(name.startswith(tuple(f"{part}." for part in _TRAINING)) for name in tensors)
        return ImportedCodec(
            spec=spec,
            in_channels=in_channels,
            tensors=state,
            data=pictures(spec, in_channels, section(parameters, "ddconfig").get("resolution")),
            note=f"without what only training uses ({', '.join(_TRAINING)})" if has_training else "",
        )
