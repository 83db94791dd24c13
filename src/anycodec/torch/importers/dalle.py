"""The video system's DALL-E-style VQ-VAE (zhangxuan1918/VqVaeVideo, `models/vq_vae`; no licence)."""

from __future__ import annotations

from collections.abc import Iterator

from anycodec.config.codec import DvaeSpec
from anycodec.config.quantizer import EmaSpec, VqSpec
from anycodec.engine import ImportedCodec
from anycodec.torch.codecs.dvae import DECODER_KERNELS, Dvae
from anycodec.torch.importers.autoencoder2d import pictures, shape, vq
from anycodec.torch.importers.base import Config, Importer, Tensors, adopt, refuse_contradictions, section

_CODEBOOK = "vq_vae.embedding.weight"
_SUMS, _COUNTS = "vq_vae.ema_w", "vq_vae.ema_cluster_size"
_MOST = 64
"""Groups, or blocks of a group, that are looked for."""


class Dalle(Importer):
    """`encoder.blocks`, `vq_vae`, `decoder.blocks`; a configuration may be the whole or its `model_args`."""

    def codec_tensors(self, tensors: Tensors, config: Config | None) -> ImportedCodec:
        width, in_channels = shape(tensors, "encoder.blocks.input.weight")[:2]
        spec = DvaeSpec(
            group_count=max(1, _count(tensors, _first_conv("encoder", "{}", 1))),
            base_channels=width,
            res_blocks=max(1, _count(tensors, _first_conv("encoder", 1, "{}"))),
            latent_channels=shape(tensors, _CODEBOOK)[1],
            quantizer=_quantizer(tensors),
        )
        refuse_contradictions(
            section(config, "model_args") or config or {},
            {
                "group_count": spec.group_count,
                "n_hid": spec.base_channels,
                "n_blk_per_group": spec.res_blocks,
                "n_init": spec.latent_channels,
                "vocab_size": spec.codebook_sizes[0],
                "input_channels": in_channels,
            },
        )
        codec = Dvae(spec, in_channels)
        return ImportedCodec(
            spec=spec,
            in_channels=in_channels,
            tensors=adopt(codec, tensors, dict(_names(spec))),
            data=pictures(spec, in_channels),
        )


def _quantizer(tensors: Tensors) -> EmaSpec | VqSpec:
    """A codebook of moving averages has their sums too; one that learns by gradient has not."""
    if _SUMS not in tensors:
        return vq(tensors, _CODEBOOK)
    size = shape(tensors, _CODEBOOK)[0]
    return EmaSpec(codebook_size=size, beta=0.25, kmeans_init=False, restart_after=0)


def _block(half: str, group: int | str, block: int | str) -> str:
    return f"{half}.blocks.group_{group}.block_{block}"


def _first_conv(half: str, group: int | str, block: int | str) -> str:
    return f"{_block(half, group, block)}.res_path.conv_1.weight"


def _count(tensors: Tensors, name: str) -> int:
    """How many of `name.format(1)`, `name.format(2)`, ... there are, one after the other."""
    n = 0
    while n < _MOST and name.format(n + 1) in tensors:
        n += 1
    return n


def _names(spec: DvaeSpec) -> Iterator[tuple[str, str]]:
    """Our modules and tensors -> theirs. Our groups have a resampling between them, which has no weights."""
    yield "encoder.conv_in", "encoder.blocks.input"
    yield "encoder.conv_out", "encoder.blocks.output.conv"
    yield "decoder.conv_out", "decoder.blocks.output.conv"
    yield "quantizer.codebook", _CODEBOOK
    if isinstance(spec.quantizer, EmaSpec):
        yield "quantizer.sums", _SUMS
        yield "quantizer.counts", _COUNTS
    for half in ("encoder", "decoder"):
        for group in range(spec.group_count):
            for block in range(spec.res_blocks):
                ours, theirs = f"{half}.groups.{2 * group}.{block}", _block(half, group + 1, block + 1)
                yield f"{ours}.shortcut", f"{theirs}.id_path"
                for i in range(len(DECODER_KERNELS)):
                    yield f"{ours}.residual.{2 * i + 1}", f"{theirs}.res_path.conv_{i + 1}"
