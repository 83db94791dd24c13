"""A training step of our VQGAN against diffusers' VQModel of the same sizes, with the same weights.

64 x 64 pictures, batch 8, f4, 20 million parameters, one thread. A step = forward, mean squared error
+ quantizer's loss, backward, AdamW. The weights go from diffusers through our importer, so that the
losses must agree: the first steps' are compared. In turns in one process, in fp32 and under autocast to
bf16:

* ours as `anycodec train` does it, with its AdamW (fused on CPU) and weights stored channels last,
* diffusers with torch's AdamW, foreach (the default on CPU is a loop),
* diffusers in bf16 with the fused AdamW too, which tells what of the ratio is the optimizer's.

Fused AdamW and weights stored channels last take 4 to 7 % off our bf16 step, the discriminators' and
other codecs' convolutions gain more (dvae 1.37x, PatchGAN 1.22x). Tried, and left out as no faster:

* torch.compile of encoder and decoder: 14 % slower (diffusers over ours 1.18), after 100 s to compile,
* nearest x2 and its convolution folded into one transposed convolution of 4/9 the products: 5 % slower,
* normalisation and swish as one function, sample by sample in the cache: within 2 % of what there is,
* residual sums in place, attention as plain products: within 2 %,
* an allocator that keeps its pages (mallopt, huge pages): as it was.

diffusers is left out, which is said, where it is not installed (pip install --group benchmarks).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import common
from anycodec.config.codec import VqganSpec
from anycodec.config.quantizer import VqSpec
from anycodec.config.train import OptimizerSpec
from anycodec.torch.codecs import make_codec
from anycodec.torch.importers import make_importer
from anycodec.torch.training.layout import lay_out
from anycodec.torch.training.module import adamw

FASTER_FP32 = 1.0
FASTER_BF16 = 1.3
LEARNING_RATE = 1e-4
SAME_LOSS = {"fp32": 1e-4, "bf16": 1e-2}
"""Largest relative difference of the losses of the first steps."""

FUSED = "bf16, fused AdamW"

Loss = Callable[[nn.Module, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Size:
    widths: tuple[int, ...]
    codes: int
    channels: int
    groups: int
    batch: int
    side: int


FULL = Size(widths=(64, 128, 256), codes=512, channels=64, groups=32, batch=8, side=64)
QUICK = Size(widths=(16, 32), codes=32, channels=8, groups=16, batch=2, side=16)


class Training:
    """A model in training; each call is a step and returns its loss."""

    def __init__(
        self, model: nn.Module, loss: Loss, x: Tensor, precision: str, optimizer: torch.optim.Optimizer
    ) -> None:
        self.model = model.train()
        self.loss = loss
        self.x = x
        self.precision = precision
        self.optimizer = optimizer

    def __call__(self) -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16"):
            loss = self.loss(self.model, self.x)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


def our_training(size: Size, published: nn.Module | None, x: Tensor, precision: str) -> Training:
    model = ours(size, published)
    lay_out(model)
    spec = OptimizerSpec(lr=LEARNING_RATE, betas=(0.9, 0.999), weight_decay=0.01)  # torch's defaults
    return Training(model, our_loss, x, precision, adamw([{"params": list(model.parameters())}], spec))


def peer_training(model: nn.Module, x: Tensor, precision: str, fused: bool) -> Training:
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, foreach=not fused, fused=fused)
    return Training(model, peer_loss, x, precision, optimizer)


def our_loss(model: nn.Module, x: Tensor) -> Tensor:
    out = model(x)
    total: Tensor = F.mse_loss(out.reconstruction.float(), x) + sum(out.losses.values())
    return total


def peer_loss(model: nn.Module, x: Tensor) -> Tensor:
    out = model(x)
    total: Tensor = F.mse_loss(out.sample.float(), x) + out.commit_loss
    return total


def peer_config(size: Size) -> dict[str, Any]:
    levels = len(size.widths)
    return {
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "block_out_channels": size.widths,
        "layers_per_block": 2,
        "latent_channels": size.channels,
        "num_vq_embeddings": size.codes,
        "norm_num_groups": size.groups,
    }


def peer(size: Size) -> nn.Module | None:
    """diffusers' model with its loss as published by van den Oord; None where it is not installed."""
    try:
        from diffusers import VQModel  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None
    torch.manual_seed(0)
    model: nn.Module = VQModel(**peer_config(size))
    model.quantize.legacy = False
    return model


def ours(size: Size, published: nn.Module | None) -> nn.Module:
    """Our model with the peer's weights, or its own where there is no peer."""
    if published is None:
        multipliers = tuple(width // size.widths[0] for width in size.widths)
        vq = VqSpec(codebook_size=size.codes, kmeans_init=False, restart_after=0)
        spec = VqganSpec(
            base_channels=size.widths[0],
            channel_multipliers=multipliers,
            attention_levels=(),
            latent_channels=size.channels,
            norm_groups=size.groups,
            quantizer=vq,
        )
        return make_codec(spec, 3)
    found = make_importer("diffusers").codec_tensors(published.state_dict(), peer_config(size))
    codec = make_codec(found.spec, found.in_channels)
    codec.load_state_dict({name: torch.tensor(array) for name, array in found.tensors.items()})
    return codec


def measure(size: Size, repeats: int) -> dict[str, Any]:
    """Losses of the first two steps and times of the others."""
    x = torch.randn(size.batch, 3, size.side, size.side, generator=torch.Generator().manual_seed(1))
    trainings: dict[str, Training] = {}
    for precision in ("fp32", "bf16"):
        model = peer(size)
        trainings[f"anycodec {precision}"] = our_training(size, model, x, precision)
        if model is not None:
            trainings[f"diffusers {precision}"] = peer_training(model, x, precision, fused=False)
    fused = peer(size)
    if fused is not None:
        trainings[f"diffusers {FUSED}"] = peer_training(fused, x, "bf16", fused=True)
    losses = {name: [training(), training()] for name, training in trainings.items()}
    steps = {name: lambda step=step: common.seconds(step) for name, step in trainings.items()}
    times = common.in_turns(steps, repeats)
    found = {
        name: {"losses": losses[name], "median_seconds": statistics.median(spent), "best_seconds": min(spent)}
        for name, spent in times.items()
    }
    for name, row in found.items():
        print(
            f"{name:27} {row['median_seconds']:.3f} s a step, best {row['best_seconds']:.3f}, {row['losses']}"
        )
    ratios = {
        f"{theirs} / {mine}": common.ratio(times, f"diffusers {theirs}", f"anycodec {mine}")
        for theirs, mine in (("fp32", "fp32"), ("bf16", "bf16"), (FUSED, "bf16"), ("fp32", "bf16"))
        if f"diffusers {theirs}" in times
    }
    return {
        "diffusers": metadata.version("diffusers") if ratios else None,
        "steps": found,
        "time_of_diffusers_over_ours": ratios,
    }


def claims(found: dict[str, Any]) -> list[dict[str, Any]]:
    ratios = found["time_of_diffusers_over_ours"]
    if not ratios:
        print("diffusers is not installed: nothing to compare with (pip install --group benchmarks)")
        return []
    verdicts = []
    for precision, target in (("fp32", FASTER_FP32), ("bf16", FASTER_BF16)):
        ratio = ratios[f"{precision} / {precision}"]
        verdicts.append(
            common.verdict(f"{precision}: step time of diffusers over ours", ratio, target, below=False)
        )
        pairs = zip(
            *(found["steps"][f"{who} {precision}"]["losses"] for who in ("anycodec", "diffusers")),
            strict=True,
        )
        difference = max(abs(a / b - 1) for a, b in pairs)
        verdicts.append(
            common.verdict(
                f"{precision}: relative difference of the losses",
                difference,
                SAME_LOSS[precision],
                below=True,
            )
        )
    return verdicts


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--repeats", type=int, help="steps of each (default: 7)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = measure(QUICK if options.quick else FULL, options.repeats or (1 if options.quick else 7))
    common.save("train_step", options, {"claims": claims(found), **found})


if __name__ == "__main__":
    main()
