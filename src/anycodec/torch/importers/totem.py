"""TOTEM's VQ-VAE (SaberaTalukder/TOTEM, `lib/models/vqvae.py`; no licence)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from anycodec.config.codec import TotemSpec
from anycodec.config.data import RevinSpec, TableSource, Window1d
from anycodec.engine import ImportedCodec
from anycodec.torch.codecs.totem import Totem
from anycodec.torch.importers.autoencoder2d import shape, vq
from anycodec.torch.importers.base import Config, Importer, Tensors, adopt, refuse_contradictions, section

CompressionFactor = Literal[4, 8, 12, 16]

_CODEBOOK = "vq._embedding.weight"
_WINDOW = 96
"""Samples of TOTEM's windows, a multiple of every compression factor."""
_STRIDED: Mapping[CompressionFactor, str] = {4: "12", 8: "12A", 12: "123", 16: "12AB"}
"""The encoder's strided convolutions `_conv_*` in the order of use."""
_TRANSPOSED: Mapping[CompressionFactor, str] = {4: "12", 8: "A12", 12: "234", 16: "AB12"}
"""The decoder's transposed convolutions `_conv_trans_*` in the order of use."""


class TotemImporter(Importer):
    """`encoder`, `vq`, `decoder`; a configuration may be the whole or its `vqvae_config`."""

    def codec_tensors(self, tensors: Tensors, config: Config | None) -> ImportedCodec:
        factor = _compression_factor(tensors)
        hidden = shape(tensors, "encoder._conv_2.weight")[0]
        in_channels = shape(tensors, "encoder._conv_1.weight")[1]
        layers = _residual_layers(tensors)
        res = shape(tensors, f"{_residual('encoder', 0)}.1.weight")[0] if layers else 1
        spec = TotemSpec(
            compression_factor=factor,
            hidden_channels=hidden,
            res_channels=res,
            res_layers=layers,
            latent_channels=shape(tensors, _CODEBOOK)[1],
            quantizer=vq(tensors, _CODEBOOK),
        )
        _check(section(config, "vqvae_config") or config or {}, spec)
        codec = Totem(spec, in_channels)
        return ImportedCodec(
            spec=spec,
            in_channels=in_channels,
            tensors=adopt(codec, tensors, _names(spec)),
            data=TableSource(
                channels="independent" if in_channels == 1 else "joint",
                window=Window1d(samples=_WINDOW),
                normalizer=RevinSpec(),
            ),
        )


def _compression_factor(tensors: Tensors) -> CompressionFactor:
    """Each factor but 4 has a layer that the smaller ones lack."""
    if "encoder._conv_B.weight" in tensors:
        return 16
    if "encoder._conv_4.weight" in tensors:
        return 12
    return 8 if "encoder._conv_A.weight" in tensors else 4


def _residual(half: str, layer: int) -> str:
    return f"{half}._residual_stack._layers.{layer}._block"


def _residual_layers(tensors: Tensors) -> int:
    count = 0
    while f"{_residual('encoder', count)}.1.weight" in tensors:
        count += 1
    return count


def _names(spec: TotemSpec) -> dict[str, str]:
    """Our modules -> theirs."""
    factor = spec.compression_factor
    names = {
        "encoder.conv_mid": f"encoder._conv_{4 if factor == 12 else 3}",
        "encoder.conv_out": "encoder._pre_vq_conv",
        "decoder.conv_in": "decoder._conv_1",
        "quantizer.codebook": _CODEBOOK,
    }
    names |= {f"encoder.down.{i}": f"encoder._conv_{name}" for i, name in enumerate(_STRIDED[factor])}
    names |= {f"decoder.up.{i}": f"decoder._conv_trans_{name}" for i, name in enumerate(_TRANSPOSED[factor])}
    for half in ("encoder", "decoder"):
        for layer in range(spec.res_layers):
            ours, theirs = f"{half}.residual.{layer}", _residual(half, layer)
            names |= {f"{ours}.conv1": f"{theirs}.1", f"{ours}.conv2": f"{theirs}.3"}
    return names


def _check(config: Config, spec: TotemSpec) -> None:
    refuse_contradictions(
        config,
        {
            "block_hidden_size": spec.hidden_channels,
            "num_residual_layers": spec.res_layers,
            "res_hidden_size": spec.res_channels,
            "embedding_dim": spec.latent_channels,
            "num_embeddings": spec.codebook_sizes[0],
            "compression_factor": spec.compression_factor,
        },
    )
