"""What the published 2-D autoencoders share: the same layers in the same order under other names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from anycodec.config.codecs.base import AnyCodecSpec
from anycodec.config.data import FixedSpec, ImageSource, Window2d
from anycodec.config.quantizer import VqSpec
from anycodec.errors import WeightsError
from anycodec.torch.codecs.base import Autoencoder
from anycodec.torch.importers.base import Tensors, require
from anycodec.torch.layers.attention import Attention2d
from anycodec.torch.layers.autoencoder2d import Downsample2d, ResBlock2d, Upsample2d

PUBLISHED_GROUPS = 32
"""Groups of GroupNorm where no configuration tells: those of every published model."""
_MOST = 64
"""Levels, or blocks of a level, that are looked for."""
RESOLUTION = 256
"""Pixels a side where no configuration tells."""

CODEBOOK = "quantize.embedding.weight"
VQ_NAMES = {
    "encoder.quant_conv": "quant_conv",
    "decoder.post_quant_conv": "post_quant_conv",
    "quantizer.codebook": CODEBOOK,
}
"""Our names around the bottleneck -> those of taming and diffusers."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a layer stands.

    Attributes:
        half: encoder or decoder.
        kind: conv_in, block, attention, sample (down or up), mid_block, mid_attention, norm_out, conv_out.
        level: its resolution, 0 = the full one.
        step: down- or upsamplings before it.
        index: layers of its kind before it in its level, or in the middle.
        order: layers before it in its half, an activation before conv_out included.
    """

    half: str
    kind: str
    level: int = 0
    step: int = 0
    index: int = 0
    order: int = 0


@dataclass(frozen=True, slots=True)
class Naming:
    """How an implementation calls a layer, and the parts of blocks and attentions that it calls otherwise."""

    layer: Callable[[Place], str]
    block: Mapping[str, str]
    attention: Mapping[str, str]


def layer_names(codec: Autoencoder, naming: Naming) -> dict[str, str]:
    """Our name of every layer between a codec's 1x1 convolutions, and of its parts -> theirs."""
    parts = {"block": naming.block, "attention": naming.attention}
    names = {}
    for ours, place in layers(codec):
        theirs = names[ours] = naming.layer(place)
        inside = parts.get(place.kind.removeprefix("mid_"), {})
        names |= {f"{ours}.{part}": f"{theirs}.{name}" for part, name in inside.items()}
    return names


def layers(codec: Autoencoder) -> Iterator[tuple[str, Place]]:
    """Our name and the place of every layer between a codec's 1x1 convolutions, in the order of use."""
    for half in ("encoder", "decoder"):
        found = list(_in_order(half, codec.get_submodule(half)))
        last = sum(kind == "sample" for _, kind in found)
        step = 0
        seen: dict[tuple[str, int], int] = {}
        for order, (name, kind) in enumerate(found):
            index = seen.get((kind, step), 0)
            seen[kind, step] = index + 1
            level = step if half == "encoder" else last - step
            yield f"{half}.{name}", Place(half, kind, level, step, index, order + (kind == "conv_out"))
            step += kind == "sample"


def _in_order(half: str, network: nn.Module) -> Iterator[tuple[str, str]]:
    kinds = {ResBlock2d: "block", Attention2d: "attention", Downsample2d: "sample", Upsample2d: "sample"}
    yield "conv_in", "conv_in"
    for part in ("levels", "mid") if half == "encoder" else ("mid", "levels"):
        prefix = "mid_" if part == "mid" else ""
        for name, module in network.get_submodule(part).named_modules():
            if type(module) in kinds:
                yield f"{part}.{name}", prefix + kinds[type(module)]
    yield "norm_out", "norm_out"
    yield "conv_out", "conv_out"


def sizes(tensors: Tensors, naming: Naming) -> dict[str, Any]:
    """Settings of `Autoencoder2dSpec` from the names and shapes of published tensors.

    Raises:
        WeightsError: a tensor that tells a size is missing, or sizes that we cannot have.
    """

    def block(place: Place) -> str:
        return f"{naming.layer(place)}.{naming.block.get('conv1', 'conv1')}.weight"

    def attention(kind: str, level: int) -> bool:
        place = Place("encoder", kind, level, step=level)
        return f"{naming.layer(place)}.{naming.attention.get('q', 'q')}.weight" in tensors

    first_blocks = [block(Place("encoder", "block", level, step=level)) for level in range(_MOST)]
    levels = _count(lambda level: first_blocks[level] in tensors)
    finest = Place("decoder", "block", level=0, step=max(0, levels - 1))
    stem = shape(tensors, f"{naming.layer(Place('encoder', 'conv_in'))}.weight")
    widths = [shape(tensors, name)[0] for name in first_blocks[: max(1, levels)]]
    return {
        "base_channels": stem[0],
        "channel_multipliers": multipliers(widths, stem[0]),
        "res_blocks": _count(lambda i: block(Place("encoder", "block", index=i)) in tensors),
        "decoder_res_blocks": max(1, _count(lambda i: block(replace(finest, index=i)) in tensors)),
        "attention_levels": tuple(level for level in range(levels) if attention("attention", level)),
        "mid_attention": attention("mid_attention", 0),
        "norm_groups": PUBLISHED_GROUPS,
        **code_sizes(tensors),
    }


def code_sizes(tensors: Tensors) -> dict[str, int]:
    """Widths around the bottleneck, where all implementations use the same names."""
    latent_channels, embed_channels = shape(tensors, "post_quant_conv.weight")[:2]
    return {"latent_channels": latent_channels, "embed_channels": embed_channels}


def vq(tensors: Tensors, codebook: str = CODEBOOK) -> VqSpec:
    """The quantizer of a published codebook, which training goes on with as it is."""
    return VqSpec(codebook_size=shape(tensors, codebook)[0], beta=0.25, kmeans_init=False, restart_after=0)


def multipliers(widths: list[int], base: int) -> tuple[int | float, ...]:
    """The levels' widths over that of the first layer."""
    return tuple(width / base if width % base else width // base for width in widths)


def shape(tensors: Tensors, name: str) -> tuple[int, ...]:
    """The shape of a matrix or a convolution's kernel.

    Raises:
        WeightsError: it is missing, or something else.
    """
    require(tensors, name)
    found = tuple(tensors[name].shape)
    if len(found) < 2 or 0 in found:
        raise WeightsError(
            f"{name} has the shape {list(found)}, not that of a layer",
            how="check the source's name: anycodec import --help",
        )
    return found


def pictures(spec: AnyCodecSpec, in_channels: int, resolution: object = None) -> ImageSource:
    """What such a model was trained on: pictures in [-1, 1].

    Raises:
        WeightsError: neither one channel nor three.
    """
    if in_channels not in (1, 3):
        raise WeightsError(f"the model wants pictures of {in_channels} channels; images have 1 or 3")
    size = resolution if isinstance(resolution, int) and resolution > 0 else RESOLUTION
    step = spec.stride[0]
    side = max(step, size // step * step)
    return ImageSource(
        mode="grey" if in_channels == 1 else "rgb",
        window=Window2d(size=(side, side)),
        normalizer=FixedSpec(),
    )


def _count(holds: Callable[[int], bool]) -> int:
    n = 0
    while n < _MOST and holds(n):
        n += 1
    return n
