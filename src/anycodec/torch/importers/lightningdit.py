"""LightningDiT (hustvl/LightningDiT, `models/lightningdit.py`, MIT)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from anycodec.config.generator import DitSpec
from anycodec.config.process import FlowSpec
from anycodec.engine import ImportedGenerator
from anycodec.errors import WeightsError
from anycodec.torch.generators.dit import Dit, chunks
from anycodec.torch.importers.autoencoder2d import shape
from anycodec.torch.importers.base import (
    Config,
    GeneratorImporter,
    Tensors,
    adopt,
    refuse_contradictions,
    require,
    section,
)
from anycodec.torch.layers.positions import rotations, sincos_positions

_HEADS = {"S": 6, "B": 12, "L": 16, "XL": 16}
_POSITIONS = "pos_embed"
_ROTATIONS = "feat_rope.freqs_cos"
_FINAL = "final_layer.linear"
_MODULATION = "modulation"
"""Our name for all blocks' and the last layer's `adaLN_modulation.1`, one below the other."""
_NAMES = {
    "embed": "x_embedder.proj",
    "time.mlp": "t_embedder.mlp",
    "label": "y_embedder.embedding_table",
    "modulation": _MODULATION,
    "norm_out": "final_layer.norm_final",
    "out": _FINAL,
}
_BLOCK_NAMES = {"norm1": "norm1", "norm2": "norm2", "attention": "attn", "mlp": "mlp"}


class LightningDit(GeneratorImporter):
    """Square grids; a configuration is one of `configs/`, with the sections data, model and transport."""

    states = ("ema",)

    def generator_tensors(self, tensors: Tensors, config: Config | None) -> ImportedGenerator:
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
        model = section(config, "model")
        spec = _spec(tensors, model)
        channels, side = _latents(tensors, spec)
        n_classes = shape(tensors, "y_embedder.embedding_table.weight")[0] - 1
        _check(config, spec, channels, n_classes)
        generator = Dit(spec, (channels, side, side), n_classes)
        _check_positions(tensors, generator, spec)
        state = adopt(
            generator, _merged(tensors, spec, channels), _names(spec), unused=(_POSITIONS, "feat_rope")
        )
        return ImportedGenerator(
            spec=spec, process=FlowSpec(), shape=generator.shape, n_classes=n_classes, tensors=state
        )


def _spec(tensors: Tensors, model: Mapping[str, Any]) -> DitSpec:
    width, _, patch, _ = _patch_kernel(tensors)
    require(tensors, "blocks.0.attn.qkv.weight", "blocks.0.adaLN_modulation.1.weight")
    numbers = [int(found[1]) for name in tensors if (found := re.match(r"blocks\.(\d{1,4})\.", name))]
    swiglu = "blocks.0.mlp.w12.weight" in tensors
    hidden = shape(tensors, f"blocks.0.mlp.{'w12' if swiglu else 'fc1'}.weight")[0]
    return DitSpec(
        width=width,
        depth=max(numbers) + 1,
        heads=_heads(tensors, width, model),
        patch_size=patch,
        mlp_ratio=_mlp_ratio(width, hidden, swiglu),
        swiglu=swiglu,
        norm="rms" if "blocks.0.norm1.weight" in tensors else "layer",
        qk_norm="blocks.0.attn.q_norm.weight" in tensors,
        rope=_ROTATIONS in tensors,
        shift=shape(tensors, "blocks.0.adaLN_modulation.1.weight")[0] == 6 * width,
    )


def _patch_kernel(tensors: Tensors) -> tuple[int, int, int, int]:
    """Width, latent channels, and the patch's height and width."""
    found = shape(tensors, "x_embedder.proj.weight")
    if len(found) != 4 or found[2] != found[3]:
        raise WeightsError(f"x_embedder.proj.weight has the shape {list(found)}, not that of square patches")
    width, channels, height, _ = found
    return width, channels, height, height


def _heads(tensors: Tensors, width: int, model: Mapping[str, Any]) -> int:
    """Heads by the width of what works on one, or by the published name of the size."""
    for name in (_ROTATIONS, "blocks.0.attn.q_norm.weight"):
        if name in tensors and tensors[name].dim() and tensors[name].shape[-1]:
            return max(1, width // tensors[name].shape[-1])
    size = re.match(r"LightningDiT-(S|B|L|XL)/", str(model.get("model_type", "")))
    if size is None:
        raise WeightsError(
            "these weights do not tell the number of attention heads",
            how="give the published configuration, whose model.model_type does, with --config",
        )
    return _HEADS[size[1]]


def _mlp_ratio(width: int, hidden: int, swiglu: bool) -> float:
    """The ratio that gives as many hidden units; 4, which is rounded down, where that does."""
    if not swiglu:
        return hidden / width
    units = hidden // 2
    return 4.0 if math.floor(2 / 3 * 4 * width) == units else math.ceil(1.5 * units) / width


def _latents(tensors: Tensors, spec: DitSpec) -> tuple[int, int]:
    """Channels and side of the latents."""
    tokens = shape(tensors, _POSITIONS)[-2]
    side = math.isqrt(tokens)
    if side * side != tokens:
        raise WeightsError(f"{_POSITIONS} is for {tokens} positions, which are no square")
    return _patch_kernel(tensors)[1], side * spec.patch_size


def _check(config: Config | None, spec: DitSpec, channels: int, n_classes: int) -> None:
    refuse_contradictions(
        section(config, "model"),
        {
            "use_qknorm": spec.qk_norm,
            "use_swiglu": spec.swiglu,
            "use_rope": spec.rope,
            "use_rmsnorm": spec.norm == "rms",
            "wo_shift": not spec.shift,
            "in_chans": channels,
        },
    )
    refuse_contradictions(section(config, "data"), {"num_classes": n_classes})
    refuse_contradictions(
        section(config, "transport"), {"path_type": "Linear", "prediction": "velocity", "loss_weight": None}
    )


def _check_positions(tensors: Tensors, generator: Dit, spec: DitSpec) -> None:
    """Refuse tables of positions that are not those of the published formulas."""
    width, _, heads = spec.dimensions
    expected = {_POSITIONS: sincos_positions(generator.grid, width)[None]}
    if spec.rope:
        cos = rotations(generator.grid, width // heads)[..., 0]
        expected[_ROTATIONS] = cos.repeat_interleave(2, dim=-1)
    for name, table in expected.items():
        if tensors[name].shape != table.shape or not torch.allclose(tensors[name].float(), table, atol=1e-3):
            raise WeightsError(f"{name} holds other positions than those of a grid of {generator.grid}")


def _merged(tensors: Tensors, spec: DitSpec, channels: int) -> dict[str, Tensor]:
    """Their state with one matrix for all modulations, kernels as matrices, and velocities alone.

    A model that also predicts variances (learn_sigma) has twice the channels; sampling drops the others.
    """
    found = dict(tensors)
    width, depth, _ = spec.dimensions
    for kind in ("weight", "bias"):
        parts = [
            found.pop(f"{place}.adaLN_modulation.1.{kind}", None)
            for place in (*(f"blocks.{i}" for i in range(depth)), "final_layer")
        ]
        rows = [chunks(spec) * width] * depth + [2 * width]
        if any(part is None or len(part) != n for part, n in zip(parts, rows, strict=True)):
            raise WeightsError("adaLN_modulation.1 is missing, or of another shape, in some of the blocks")
        found[f"{_MODULATION}.{kind}"] = torch.cat([part for part in parts if part is not None])
        found[f"{_FINAL}.{kind}"] = _velocities(tensors, f"{_FINAL}.{kind}", spec.patch_size**2, channels)
    found["x_embedder.proj.weight"] = found["x_embedder.proj.weight"].flatten(1)
    return found


def _velocities(tensors: Tensors, name: str, positions: int, channels: int) -> Tensor:
    require(tensors, name)
    tensor = tensors[name]
    if len(tensor) != 2 * positions * channels:
        return tensor
    return tensor.view(positions, 2, channels, *tensor.shape[1:])[:, 0].flatten(0, 1)


def _names(spec: DitSpec) -> dict[str, str]:
    """Our modules -> theirs."""
    _, depth, _ = spec.dimensions
    return _NAMES | {
        f"blocks.{i}.{ours}": f"blocks.{i}.{theirs}"
        for i in range(depth)
        for ours, theirs in _BLOCK_NAMES.items()
    }
