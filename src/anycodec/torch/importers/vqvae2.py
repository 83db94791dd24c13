"""VQ-VAE-2 of vvvm23 (vvvm23/vqvae-2, `vqvae.py`, MIT)."""

from __future__ import annotations

from collections.abc import Iterator

from anycodec.config.codec import Vqvae2Spec
from anycodec.config.quantizer import EmaSpec
from anycodec.engine import ImportedCodec
from anycodec.torch.codecs.vqvae2 import Vqvae2
from anycodec.torch.importers.autoencoder2d import pictures, shape
from anycodec.torch.importers.base import Config, Importer, Tensors, adopt, refuse_contradictions, require

_MOST = 64
"""Levels, steps or blocks that are looked for."""


class Vqvae2Importer(Importer):
    """`encoders`, `codebooks`, `decoders`, `upscalers`; codebooks are stored [D K]."""

    def codec_tensors(self, tensors: Tensors, config: Config | None) -> ImportedCodec:
        require(tensors, "encoders.0.layers.0.0.weight", "codebooks.0.embed", "decoders.0.layers.0.weight")
        spec = _spec(tensors)
        in_channels = shape(tensors, "encoders.0.layers.0.0.weight")[1]
        refuse_contradictions(
            config or {},
            {
                "in_channels": in_channels,
                "hidden_channels": spec.hidden_channels,
                "nb_levels": len(spec.rates),
                "scaling_rates": spec.rates,
                "embed_dim": spec.latent_channels,
                "nb_entries": spec.quantizer.codebook_sizes[0],
            },
        )
        codec = Vqvae2(spec, in_channels)
        turned = {name: t.T if _is_codebook(name) and t.dim() == 2 else t for name, t in tensors.items()}
        return ImportedCodec(
            spec=spec,
            in_channels=in_channels,
            tensors=adopt(codec, turned, dict(_names(spec))),
            data=pictures(spec, in_channels),
        )


def _spec(tensors: Tensors) -> Vqvae2Spec:
    levels = _count(tensors, "encoders.{}.layers.0.0.weight")
    steps = [_count(tensors, f"encoders.{level}.layers.{{}}.0.weight") for level in range(levels)]
    residual = f"encoders.0.layers.{steps[0] + 2}.stack.{{}}"
    blocks = _count(tensors, f"{residual}.alpha")
    first = f"{residual.format(0)}.layers.0.weight"
    dim, size = shape(tensors, "codebooks.0.embed")
    return Vqvae2Spec.model_validate(
        {
            "rates": [2**count for count in steps],
            "hidden_channels": shape(tensors, f"encoders.0.layers.{steps[0]}.weight")[0],
            "res_channels": shape(tensors, first)[0] if blocks else 1,
            "res_blocks": blocks,
            "latent_channels": dim,
            "quantizer": EmaSpec(codebook_size=size, beta=0.25, kmeans_init=False, restart_after=0),
        }
    )


def _names(spec: Vqvae2Spec) -> Iterator[tuple[str, str]]:
    """Our modules and tensors -> theirs."""
    for level, rate in enumerate(spec.rates):
        steps = rate.bit_length() - 1
        ours, theirs = f"encoders.{level}", f"encoders.{level}.layers"
        yield from ((f"{ours}.down.{i}", f"{theirs}.{i}") for i in range(steps))
        yield f"{ours}.conv_out", f"{theirs}.{steps}"
        yield f"{ours}.norm_out", f"{theirs}.{steps + 1}"
        yield from _block_names(f"{ours}.residual", f"{theirs}.{steps + 2}.stack", spec.res_blocks)
        ours, theirs = f"decoders.{level}", f"decoders.{level}.layers"
        yield f"{ours}.conv_in", f"{theirs}.0"
        yield from _block_names(f"{ours}.residual", f"{theirs}.1.stack", spec.res_blocks)
        yield from ((f"{ours}.up.{i}", f"{theirs}.{i + 2}") for i in range(steps))
        yield f"{ours}.conv_out", f"{theirs}.{steps + 2}"
        yield f"{ours}.norm_out", f"{theirs}.{steps + 3}"
        yield f"quant_convs.{level}", f"codebooks.{level}.conv_in"
        for mine, name in {"codebook": "embed", "counts": "cluster_size", "sums": "embed_avg"}.items():
            yield f"quantizers.{level}.{mine}", f"codebooks.{level}.{name}"
        yield from _upscaler_names(spec, level)


def _upscaler_names(spec: Vqvae2Spec, level: int) -> Iterator[tuple[str, str]]:
    """Theirs are numbered from the coarsest level on; a stage is one list of conv, norm, ReLU, conv, ..."""
    number = len(spec.rates) - 1 - level
    for stage, rate in enumerate(spec.rates[level:0:-1]):
        for i in range(rate.bit_length() - 1):
            for part in range(2):
                ours = f"upscalers.{level}.stages.{stage}.{i}.{part}"
                yield ours, f"upscalers.{number}.stages.{stage}.{3 * i + part}"


def _block_names(ours: str, theirs: str, blocks: int) -> Iterator[tuple[str, str]]:
    for i in range(blocks):
        yield f"{ours}.{i}.gate", f"{theirs}.{i}.alpha"
        for part, index in {"conv1": 0, "norm1": 1, "conv2": 3, "norm2": 4}.items():
            yield f"{ours}.{i}.{part}", f"{theirs}.{i}.layers.{index}"


def _is_codebook(name: str) -> bool:
    return name.startswith("codebooks.") and name.endswith((".embed", ".embed_avg"))


def _count(tensors: Tensors, name: str) -> int:
    """How many of `name.format(0)`, `name.format(1)`, ... there are, one after the other."""
    n = 0
    while n < _MOST and name.format(n) in tensors:
        n += 1
    return n
