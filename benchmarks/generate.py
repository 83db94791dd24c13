"""A training step of `dit` and drawing samples with it, against the same network as published code has it.

Latents 32 x 8 x 8, batch 32, DiT of 192 x 6 with 3 heads (4.2 million parameters), one thread. A step =
rectified flow's loss (mean squared error and direction of the velocity), backward, AdamW. Processor time,
in turns in one process:

* ours as `anycodec train` does it, in fp32, under autocast to bf16, and compiled,
* the reference: LightningDiT's layers as plain eager PyTorch (a modulation a block, RMSNorm and rotary
  embeddings written out, torch's attention), with torch's AdamW, foreach. The weights go from it through our
  importer, so that the losses must agree: those of the first steps are compared,
* diffusers' UNet2DModel of 5.9 million parameters on the same latents and loss. It is the quicker one.

Sampling = Euler's method with guidance, two forward passes a step in one batch; the peers evaluate their
network as often. Ours differs by one matrix for all modulations, fused AdamW, and parts whose forward and
backward pass, measured alone with 64 tokens in fp32 and bf16, take less time: normalisation with its own
gradient (0.66, 0.61 of the written-out one), rotations as complex products (0.28, 0.36), and in bf16
plain products in place of torch's attention (0.26). What each adds to the whole step was not measured.

diffusers is left out, which is said, where it is not installed (pip install --group benchmarks).
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import common
from anycodec.config.generation import GeneratorTrainSpec
from anycodec.config.process import FlowSpec
from anycodec.config.sampler import EulerSpec
from anycodec.torch.generators import Generator, make_generator
from anycodec.torch.generators.guidance import guided
from anycodec.torch.importers import make_generator_importer
from anycodec.torch.layers.positions import rotations, sincos_positions
from anycodec.torch.processes.flow import Flow
from anycodec.torch.training.optimizer import CodecAdamW

FASTER_FP32 = 1.1
FASTER_BF16 = 1.5
BF16_GAIN = 1.3
SAME_LOSS = 1e-4
GUIDANCE = 4.0
CLASSES = 31


@dataclass(frozen=True, slots=True)
class Size:
    """Latents [batch channels side side], the transformer, the U-Net's widths, and samples drawn."""

    batch: int
    channels: int
    side: int
    width: int
    depth: int
    heads: int
    unet: tuple[int, ...]
    samples: int
    steps: int


FULL = Size(32, 32, 8, 192, 6, 3, unet=(64, 128, 160), samples=16, steps=10)
QUICK = Size(2, 4, 4, 32, 2, 2, unet=(32, 32), samples=2, steps=2)


# --- the reference layout -----------------------------------------------------------------------------


class ReferenceNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-6)
        return y.type_as(x) * self.weight


class ReferenceRotation(nn.Module):
    def __init__(self, side: int, width: int) -> None:
        super().__init__()
        cos, sin = rotations((side, side), width).unbind(-1)
        self.register_buffer("freqs_cos", cos.repeat_interleave(2, -1))
        self.register_buffer("freqs_sin", sin.repeat_interleave(2, -1))

    freqs_cos: Tensor
    freqs_sin: Tensor

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.unflatten(-1, (-1, 2)).unbind(-1)  # type: ignore[no-untyped-call]
        turned = torch.stack((-b, a), dim=-1).flatten(-2)
        return x * self.freqs_cos + turned * self.freqs_sin


class ReferenceAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, rotation: nn.Module) -> Tensor:
        b, n, d = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        attended = F.scaled_dot_product_attention(rotation(q).type_as(v), rotation(k).type_as(v), v)
        out: Tensor = self.proj(attended.transpose(1, 2).reshape(b, n, d))
        return out


class ReferenceMlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = math.floor(2 / 3 * 4 * width)
        self.w12 = nn.Linear(width, 2 * hidden)
        self.w3 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.w12(x).chunk(2, dim=-1)
        out: Tensor = self.w3(F.silu(a) * b)
        return out


class ReferenceBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = ReferenceNorm(width), ReferenceNorm(width)
        self.attn = ReferenceAttention(width, heads)
        self.mlp = ReferenceMlp(width)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, x: Tensor, c: Tensor, rotation: nn.Module) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(c)[:, None].chunk(6, dim=-1)
        x = x + gate1 * self.attn(self.norm1(x) * (1 + scale1) + shift1, rotation)
        out: Tensor = x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)
        return out


class Reference(nn.Module):
    """LightningDiT with patches of 1, under its own names, so that our importer reads it."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        width = size.width
        self.x_embedder = nn.ModuleDict({"proj": nn.Conv2d(size.channels, width, 1)})
        self.register_buffer("pos_embed", sincos_positions((size.side, size.side), width)[None])
        self.t_embedder = nn.ModuleDict(
            {"mlp": nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))}
        )
        self.y_embedder = nn.ModuleDict({"embedding_table": nn.Embedding(CLASSES + 1, width)})
        self.feat_rope = ReferenceRotation(size.side, width // size.heads)
        self.blocks = nn.ModuleList(ReferenceBlock(width, size.heads) for _ in range(size.depth))
        self.final_layer = nn.ModuleDict(
            {
                "norm_final": ReferenceNorm(width),
                "linear": nn.Linear(width, size.channels),
                "adaLN_modulation": nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width)),
            }
        )

    pos_embed: Tensor

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        side = x.shape[-1]
        h = self.x_embedder["proj"](x).flatten(2).transpose(1, 2) + self.pos_embed
        angles = t[:, None] * torch.exp(-math.log(10000) * torch.arange(128) / 128)
        c = self.t_embedder["mlp"](torch.cat((angles.cos(), angles.sin()), dim=-1))
        c = c + self.y_embedder["embedding_table"](labels)
        for block in self.blocks:
            h = block(h, c, self.feat_rope)
        shift, scale = self.final_layer["adaLN_modulation"](c)[:, None].chunk(2, dim=-1)
        v = self.final_layer["linear"](self.final_layer["norm_final"](h) * (1 + scale) + shift)
        out: Tensor = v.transpose(1, 2).unflatten(2, (side, side))
        return out


# --- what is measured ---------------------------------------------------------------------------------


class Adapted(Generator):
    """A peer with the interface of a generator."""

    def __init__(
        self, network: nn.Module, call: Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]
    ) -> None:
        super().__init__()
        self.network, self.call, self.n_classes = network, call, CLASSES

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        return self.call(self.network, x, t, labels)


class Training:
    """A generator in training; each call is a step on the same latents, times and noise; gives its loss."""

    def __init__(
        self, generator: Generator, size: Size, precision: str, optimizer: torch.optim.Optimizer
    ) -> None:
        random = torch.Generator().manual_seed(1)
        self.x = torch.randn(size.batch, size.channels, size.side, size.side, generator=random)
        self.labels = torch.randint(0, CLASSES + 1, (size.batch,), generator=random)
        self.generator, self.size, self.precision, self.optimizer = generator, size, precision, optimizer
        self.flow = Flow(FlowSpec())

    def __call__(self) -> float:
        self.generator.train()
        with self.autocast():
            terms = self.flow.loss(self.generator, self.x, self.labels, torch.Generator().manual_seed(2))
        loss = torch.stack(list(terms.values())).sum()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def autocast(self) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16")

    @torch.inference_mode()
    def sample(self) -> Tensor:
        self.generator.eval()
        labels = torch.arange(self.size.samples) % CLASSES
        noise = self.x[:1].expand(self.size.samples, *self.x.shape[1:]).contiguous()
        predict = guided(self.generator, labels, GUIDANCE)
        with self.autocast():
            return self.flow.sample(predict, noise, EulerSpec(steps=self.size.steps))


def reference(size: Size) -> nn.Module:
    """The reference with layers at zero redrawn, so that its first losses tell something."""
    torch.manual_seed(0)
    network = Reference(size)
    for parameter in network.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.02)
    return network


def ours(size: Size) -> Generator:
    """Our generator with the reference's weights."""
    found = make_generator_importer("lightningdit").generator_tensors(reference(size).state_dict(), None)
    generator = make_generator(found.spec, found.shape, found.n_classes)
    generator.load_state_dict({name: torch.tensor(array) for name, array in found.tensors.items()})
    return generator


def our_training(size: Size, precision: str, *, compiled: bool = False) -> Training:
    generator = ours(size)
    if compiled:
        generator.compile()
    optimizer = CodecAdamW([{"params": list(generator.parameters())}], GeneratorTrainSpec().optimizer)
    return Training(generator, size, precision, optimizer)


def peer_training(generator: Generator, size: Size, precision: str) -> Training:
    spec = GeneratorTrainSpec().optimizer
    optimizer = torch.optim.AdamW(
        generator.parameters(),
        lr=spec.lr,
        betas=spec.betas,
        weight_decay=spec.weight_decay,
        foreach=True,
    )
    return Training(generator, size, precision, optimizer)


def unet(size: Size) -> Generator | None:
    """diffusers' U-Net, None where it is not installed."""
    try:
        from diffusers import UNet2DModel  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None
    torch.manual_seed(0)
    levels = len(size.unet)
    network = UNet2DModel(
        in_channels=size.channels,
        out_channels=size.channels,
        block_out_channels=size.unet,
        layers_per_block=1,
        down_block_types=("DownBlock2D", *("AttnDownBlock2D",) * (levels - 1)),
        up_block_types=(*("AttnUpBlock2D",) * (levels - 1), "UpBlock2D"),
        num_class_embeds=CLASSES + 1,
    )
    return Adapted(network, lambda net, x, t, labels: net(x, 1000 * t, labels, return_dict=False)[0])


def cpu_seconds(work: Callable[[], object]) -> float:
    """Processor time of a call."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def trainings(size: Size, compiled: bool) -> dict[str, Training]:
    found: dict[str, Training] = {}
    for precision in ("fp32", "bf16"):
        found[f"anycodec {precision}"] = our_training(size, precision)
        peer = Adapted(reference(size), lambda net, x, t, labels: net(x, t, labels))
        found[f"reference {precision}"] = peer_training(peer, size, precision)
        network = unet(size)
        if network is not None:
            found[f"unet {precision}"] = peer_training(network, size, precision)
    if compiled:
        found["compiled bf16"] = our_training(size, "bf16", compiled=True)
    return found


def measure(size: Size, repeats: int, compiled: bool) -> dict[str, Any]:
    """Losses of the first two steps; times of the others and of sampling."""
    found = trainings(size, compiled)
    losses = {name: [training(), training()] for name, training in found.items()}
    steps = common.in_turns({n: lambda t=t: cpu_seconds(t) for n, t in found.items()}, repeats)
    for training in found.values():
        training.sample()
    samples = common.in_turns(
        {n: lambda t=t: cpu_seconds(t.sample) for n, t in found.items()}, max(1, repeats // 3)
    )
    rows = {
        name: {
            "parameters": sum(p.numel() for p in training.generator.parameters()),
            "losses": losses[name],
            "seconds_a_step": statistics.median(steps[name]),
            "seconds_a_sample": statistics.median(samples[name]) / size.samples,
        }
        for name, training in found.items()
    }
    for name, row in rows.items():
        print(
            f"{name:15} {row['parameters'] / 1e6:.2f}M  {row['seconds_a_step']:.4f} s a step, "
            f"{row['seconds_a_sample']:.4f} s a sample of {size.steps} guided steps, losses {row['losses']}"
        )
    pairs = [(f"{peer} {p}", f"anycodec {p}") for peer in ("reference", "unet") for p in ("fp32", "bf16")]
    pairs += [("anycodec fp32", "anycodec bf16"), ("anycodec bf16", "compiled bf16")]
    pairs = [(a, b) for a, b in pairs if a in found and b in found]
    return {
        "networks": rows,
        "time_ratio_of_steps": {f"{a} / {b}": common.ratio(steps, a, b) for a, b in pairs},
        "time_ratio_of_samples": {f"{a} / {b}": common.ratio(samples, a, b) for a, b in pairs},
    }


def claims(found: dict[str, Any]) -> list[dict[str, Any]]:
    steps, networks = found["time_ratio_of_steps"], found["networks"]
    for kind in ("steps", "samples"):
        for pair, value in found[f"time_ratio_of_{kind}"].items():
            print(f"{kind:8} {pair}: {value:.3g}")
    if "unet fp32" not in networks:
        print("diffusers is not installed: no U-Net to compare with (pip install --group benchmarks)")
    pairs = zip(networks["anycodec fp32"]["losses"], networks["reference fp32"]["losses"], strict=True)
    return [
        common.verdict(
            "fp32: step time of the reference over ours",
            steps["reference fp32 / anycodec fp32"],
            FASTER_FP32,
            below=False,
        ),
        common.verdict(
            "bf16: step time of the reference over ours",
            steps["reference bf16 / anycodec bf16"],
            FASTER_BF16,
            below=False,
        ),
        common.verdict(
            "our step time, fp32 over bf16", steps["anycodec fp32 / anycodec bf16"], BF16_GAIN, below=False
        ),
        common.verdict(
            "fp32: relative difference of the losses",
            max(abs(a / b - 1) for a, b in pairs),
            SAME_LOSS,
            below=True,
        ),
    ]


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--repeats", type=int, help="steps of each (default: 9)")
    parser.add_argument("--compile", action="store_true", help="measure our compiled step too (minutes)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    size = QUICK if options.quick else FULL
    found = measure(size, options.repeats or (1 if options.quick else 9), options.compile)
    common.save("generate", options, {"claims": claims(found), **found})


if __name__ == "__main__":
    main()
