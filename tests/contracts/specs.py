"""Every registered quantizer and codec at a size that tests afford; new ones enrol by themselves."""

from typing import get_args

from anycodec.config.codec import CodecSpec
from anycodec.config.quantizer import (
    CodebookSpec,
    EmaSpec,
    FsqSpec,
    GroupedSpec,
    LfqSpec,
    OptVqSpec,
    QuantizerSpec,
    ResidualSpec,
    SingleSpec,
    VqSpec,
)

QUANTIZERS = get_args(get_args(QuantizerSpec)[0])
SINGLE_QUANTIZERS = get_args(get_args(SingleSpec)[0])
CODEBOOKS = [kind for kind in QUANTIZERS if issubclass(kind, CodebookSpec)]
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
    "dvae": {"group_count": 2, "base_channels": 32, "res_blocks": 1, "latent_channels": 6},
    "klvae": {
        "base_channels": 8,
        "channel_multipliers": (1, 2),
        "res_blocks": 1,
        "attention_levels": (1,),
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
    "totem": {"hidden_channels": 12, "res_channels": 8, "latent_channels": 6},
    "trellis": {"channels": 8, "blocks": 1, "kernel": 3},
    "vqgan": {
        "base_channels": 8,
        "channel_multipliers": (1, 2),
        "res_blocks": 1,
        "attention_levels": (1,),
        "latent_channels": 6,
        "norm_groups": 4,
    },
    "vqvae2": {"rates": (2, 2), "hidden_channels": 12, "res_channels": 6, "latent_channels": 6},
}


def type_of(spec_class):
    return spec_class.model_fields["type"].default


def quantizer_spec(spec_class, **settings):
    """A small quantizer without random starts; settings that this kind lacks are left out.

    Those of quantizers that are made of others go to the others too.
    """
    small = {
        "codebook_size": 16,
        "kmeans_init": False,
        "kmeans_after": 0,
        "restart_after": 0,
        "levels": (8, 8),
        "stages": 2,
    } | settings
    if "quantizer" in spec_class.model_fields:
        inner = settings.get("quantizer", EmaSpec)
        small["quantizer"] = quantizer_spec(inner, **{k: v for k, v in small.items() if k != "quantizer"})
    return spec_class(**{name: value for name, value in small.items() if name in spec_class.model_fields})


def quantizer_variants(**settings):
    """Small quantizers by name: every kind, every pair of kinds that nest, the options that matter."""

    def spec(kind, **own):
        return quantizer_spec(kind, **(settings | own))

    kinds = {type_of(kind): spec(kind) for kind in QUANTIZERS}
    nested = {
        f"{type_of(outer)} of {type_of(inner)}": spec(outer, quantizer=inner)
        for outer in (ResidualSpec, GroupedSpec)
        for inner in SINGLE_QUANTIZERS
    }
    options = {
        f"{option} {type_of(kind)}": spec(kind, **{setting: value})
        for option, setting, value in (("cosine", "distance", "cosine"), ("narrow", "code_dim", 2))
        for kind in CODEBOOKS
    }
    return (
        kinds
        | nested
        | options
        | {
            "grouped of residual": spec(GroupedSpec, quantizer=ResidualSpec),
            "residual, one codebook": spec(ResidualSpec, shared=True),
            "residual, narrow": spec(ResidualSpec, code_dim=2),
            "residual, beam": spec(ResidualSpec, beam=3),
            "residual, priced": spec(ResidualSpec, rate_weight=0.1, beam=3),
            "residual with dropout": spec(ResidualSpec, stages=3, dropout=0.5),
            "rotating vq": spec(VqSpec, gradient="rotation"),
            "vq with regularisers": spec(VqSpec, entropy_weight=0.1, orthogonal_weight=0.1),
            "optvq, two heads": spec(OptVqSpec, heads=2),
            "residual of optvq, two heads": spec(ResidualSpec, quantizer=OptVqSpec, heads=2),
            "symmetric fsq": spec(FsqSpec, symmetric=True),
            "fsq as wide as its latents": spec(FsqSpec, levels=(3, 2, 4, 5)),
            "spherical lfq": spec(LfqSpec, spherical=True),
            "lfq as wide as its latents": spec(LfqSpec, codebook_size=16),
            "narrow lfq": spec(LfqSpec, codebook_size=8),
        }
    )


def quantizers_of(codec_class):
    """The kinds of quantizers that a codec takes: some of those for all, or one that is its own."""
    annotation = codec_class.model_fields["quantizer"].annotation
    allowed = get_args(annotation) or (annotation,)
    return [kind for kind in QUANTIZERS if kind in allowed] or list(allowed)


def codec_spec(spec_class, quantizer_class=None, **settings):
    quantizer = quantizer_spec(quantizer_class or quantizers_of(spec_class)[0])
    return spec_class(**(SMALL_CODECS[type_of(spec_class)] | {"quantizer": quantizer} | settings))
