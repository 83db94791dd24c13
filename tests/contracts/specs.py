"""Every registered quantizer and codec at a size that tests afford; new ones enrol by themselves."""

from typing import get_args

from anycodec.config.codec import CodecSpec
from anycodec.config.quantizer import QuantizerSpec

QUANTIZERS = get_args(get_args(QuantizerSpec)[0])
CODECS = get_args(get_args(CodecSpec)[0])

SMALL_CODECS = {
    "causal3d": {
        "base_channels": 8,
        "channels": (8, 8),
        "time_strides": (1, 2),
        "space_strides": (1, 2),
        "res_blocks": 1,
        "mid_blocks": 1,
        "latent_channels": 6,
        "norm_groups": 4,
    },
    "simvqgan": {
        "base_channels": 8,
        "channels": (8, 12),
        "strides": (2, 3),
        "res_blocks": 1,
        "mid_blocks": 1,
        "latent_channels": 6,
        "norm_groups": 4,
    },
    "vqgan": {
        "base_channels": 8,
        "channel_multipliers": (1, 2),
        "res_blocks": 1,
        "attention_levels": (1,),
        "latent_channels": 6,
        "norm_groups": 4,
    },
}


def type_of(spec_class):
    return spec_class.model_fields["type"].default


def quantizer_spec(spec_class, **settings):
    """A small quantizer without random starts; settings that this kind lacks are left out."""
    small = {"codebook_size": 16, "kmeans_init": False, "restart_after": 0} | settings
    return spec_class(**{name: value for name, value in small.items() if name in spec_class.model_fields})


def codec_spec(spec_class, quantizer_class=QUANTIZERS[0], **settings):
    small = SMALL_CODECS[type_of(spec_class)] | {"quantizer": quantizer_spec(quantizer_class)}
    return spec_class(**(small | settings))
