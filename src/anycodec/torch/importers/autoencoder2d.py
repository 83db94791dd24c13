"""What the published 2-D autoencoders share: the same parts in the same order under other names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from anycodec.errors import UserError
from anycodec.torch.codecs.base import Autoencoder
from anycodec.torch.layers.attention import Attention2d
from anycodec.torch.layers.autoencoder2d import Downsample2d, ResBlock2d, Upsample2d

PUBLISHED_GROUPS = 32
"""Groups of GroupNorm of every published model; shapes of tensors don't tell."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a layer stands.

    Attributes:
        half: encoder or decoder.
        kind: conv_in, block, attention, sample (down or up), mid_block, mid_attention, norm_out, conv_out.
        level: down- or upsamplings before it.
        index: layers of its kind before it in its level or the middle.
        order: layers before it in its half, an activation before conv_out included.
    """

    half: str
    kind: str
    level: int
    index: int
    order: int


@dataclass(frozen=True, slots=True)
class Naming:
    """How an implementation calls a layer, and the parts of its blocks and attentions."""

    layer: Callable[[Place], str]
    block: Mapping[str, str]
    attention: Mapping[str, str]


def layers(codec: Autoencoder) -> Iterator[tuple[str, Place]]:
    """Our name and the place of every layer between a codec's 1x1 convolutions, in the order of use."""
    for half in ("encoder", "decoder"):
        network = codec.get_submodule(half)
        order = level = 0
        counts: dict[tuple[str, int], int] = {}
        for name, kind in _in_order(half, network):
            index = counts.get((kind, level), 0)
            yield f"{half}.{name}", Place(half, kind, level, index, order + (kind == "conv_out"))
            counts[kind, level] = index + 1
            order += 1
            level += kind == "sample"


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


def names(codec: Autoencoder, naming: Naming, around: Mapping[str, str]) -> dict[str, str]:
    """Our name of every parameter -> theirs.

    Args:
        codec: ours.
        naming: theirs.
        around: our names of what is outside `layers`, or prefixes of them -> theirs.
    """
    prefixes = dict(around)
    for ours, place in layers(codec):
        theirs = naming.layer(place)
        prefixes[ours] = theirs
        parts = {"block": naming.block, "attention": naming.attention}.get(place.kind.removeprefix("mid_"), {})
        prefixes |= {f"{ours}.{part}": f"{theirs}.{name}" for part, name in parts.items()}
    found = {}
    for name, _ in codec.named_parameters():
        prefix = max((p for p in prefixes if name == p or name.startswith(p + ".")), key=len)
        found[name] = prefixes[prefix] + name.removeprefix(prefix)
    return found


def sizes(tensors: Mapping[str, Tensor], naming: Naming) -> dict[str, Any]:
    """Settings of `Autoencoder2dSpec` from the shapes of published tensors, and `in_channels`.

    Raises:
        UserError: a tensor that tells a size is missing.
    """

    def block(half: str, level: int, index: int) -> str:
        place = Place(half, "block", level, index, 0)
        return f"{naming.layer(place)}.{naming.block['conv1']}.weight"

    def attention(kind: str, level: int) -> str:
        return f"{naming.layer(Place('encoder', kind, level, 0, 0))}.{naming.attention['q']}.weight"

    stem = shape(tensors, f"{naming.layer(Place('encoder', 'conv_in', 0, 0, 0))}.weight")
    levels = _count(lambda level: block("encoder", level, 0) in tensors)
    widths = [shape(tensors, block("encoder", level, 0))[0] for level in range(max(levels, 1))]
    return {
        "in_channels": stem[1],
        "base_channels": stem[0],
        "channel_multipliers": multipliers(widths, stem[0]),
        "res_blocks": _count(lambda index: block("encoder", 0, index) in tensors),
        "decoder_res_blocks": max(1, _count(lambda index: block("decoder", 0, index) in tensors)),
        "attention_levels": tuple(i for i in range(levels) if attention("attention", i) in tensors),
        "mid_attention": attention("mid_attention", levels - 1) in tensors,
        "norm_groups": PUBLISHED_GROUPS,
        **code_sizes(tensors),
    }


def code_sizes(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Widths around the bottleneck, which every implementation calls the same."""
    z_channels, embed_channels = shape(tensors, "post_quant_conv.weight")[:2]
    return {"latent_channels": z_channels, "embed_channels": embed_channels}


def multipliers(widths: list[int], base: int) -> tuple[int, ...]:
    """Widths over that of the first layer.

    Raises:
        UserError: not whole numbers.
    """
    if any(width % base for width in widths):
        raise UserError(
            f"the levels' widths {widths} are no multiples of the first layer's {base}",
            where="weights",
            how="only such models can be imported",
        )
    return tuple(width // base for width in widths)


def shape(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    """The shape of a tensor with at least two axes.

    Raises:
        UserError: it is not there or has fewer.
    """
    found = tuple(tensors[name].shape) if name in tensors else ()
    if len(found) < 2:
        raise UserError(
            f"missing {name}, which tells the model's size" if not found else f"{name} is {list(found)}",
            where="weights",
            how="check that the weights are of the kind that was named, whole and not quantised",
        )
    return found


def _count(holds: Callable[[int], bool]) -> int:
    n = 0
    while holds(n):
        n += 1
    return n
