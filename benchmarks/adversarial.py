"""What a discriminator adds to a training step, as a ratio to the plain step of the same codec.

VQGAN of train_step.py (64 x 64 pictures, batch 8, f4, 20 million parameters) with a PatchGAN of 64
channels and 3 layers (2.8 million), hinge and the adaptive weight, one thread. In turns in one process,
in seconds of the processor, so that other work on the machine does not count:

* plain: the codec alone, as before `lead`,
* discriminator: the discriminator learns too, the codec does not hear it,
* codec: the codec hears a discriminator that is not updated,
* both: the codec hears it, and it is updated,
* published: the same step as "both", as taming-transformers writes it: the reconstruction is judged once for
  each network, and every term is walked back to the last layer once more for the adaptive weight.
  Its terms and ours must agree.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import common
from anycodec.config.adversarial import AdversarialSpec
from anycodec.config.codec import VqganSpec
from anycodec.config.discriminator import PatchGanSpec
from anycodec.config.loss import L1Spec
from anycodec.config.quantizer import VqSpec
from anycodec.config.train import TrainSpec
from anycodec.torch.adversarial.weight import adaptive_weight
from anycodec.torch.codecs import make_codec
from anycodec.torch.losses import make_losses
from anycodec.torch.training.adversarial import AdversarialTraining
from anycodec.torch.training.adversary import Adversary

LARGEST = {"discriminator": 1.25, "codec": 1.25, "both": 1.4}
"""Most that each may take, in plain steps."""
SAME_TERMS = 1e-3
"""Largest relative difference of the first step's adversarial terms from the published step's."""
NEVER = 10**9


@dataclass(frozen=True, slots=True)
class Size:
    widths: tuple[int, ...]
    discriminator: int
    layers: int
    groups: int
    batch: int
    side: int


FULL = Size(widths=(64, 128, 256), discriminator=64, layers=3, groups=32, batch=8, side=64)
QUICK = Size(widths=(16, 32), discriminator=8, layers=2, groups=16, batch=2, side=16)

START_AND_LEAD = {"plain": (NEVER, 0), "discriminator": (NEVER, NEVER), "codec": (0, 0), "both": (0, 0)}


class Training(AdversarialTraining):
    """Steps without Lightning's trainer; each call is one and returns its seconds of the processor."""

    def __init__(self, size: Size, kind: str, x: Tensor) -> None:
        torch.manual_seed(0)
        start, lead = START_AND_LEAD[kind]
        spec = AdversarialSpec(
            discriminator=PatchGanSpec(base_channels=size.discriminator, layers=size.layers),
            start=start,
            lead=lead,
            ramp=0,
            every=NEVER if kind == "codec" else 1,
        )
        codec = make_codec(codec_spec(size), x.shape[1])
        adversary = Adversary(spec, x.shape[1], 2, seed=0)
        super().__init__(codec, make_losses({"l1": L1Spec()}), {"l1": 1.0}, TrainSpec(steps=NEVER), adversary)
        self.x = x
        self.configure_optimizers()
        self.train()

    def manual_backward(self, loss: Tensor, *_: Any, **__: Any) -> None:
        loss.backward()

    def __call__(self) -> float:
        begin = time.process_time()
        self.training_step(self.x, 0)
        return time.process_time() - begin


class Published(Training):
    """The step of taming-transformers (MIT), of the same networks, terms and optimizers."""

    def training_step(self, batch: Tensor, _: int) -> None:
        codec, discriminator = self.codec, self.adversary.discriminator
        objective, weight = self.adversary.objective, self.adversary.spec.weight
        output = codec(batch)
        reconstruction = self.terms(output.reconstruction, batch)["l1"]
        discriminator.requires_grad_(False)
        generator = objective.generator(discriminator(output.reconstruction).logits)
        last = codec.last_layer()
        gradients = [
            torch.autograd.grad(term, last, retain_graph=True)[0] for term in (reconstruction, generator)
        ]
        adaptive = adaptive_weight(*gradients)
        loss = reconstruction + weight * adaptive * generator + sum(output.losses.values())
        self._update("codec", loss)
        discriminator.requires_grad_(True)
        real, fake = discriminator(batch), discriminator(output.reconstruction.detach())
        judged = objective.discriminator(real.logits, fake.logits)
        self._update("discriminator", judged)
        self.last = {
            "generator": weight * adaptive * generator.detach(),
            "discriminator": judged.detach(),
        }

    def _update(self, name: str, loss: Tensor) -> None:
        update = self.updates[name]
        loss.backward()
        nn.utils.clip_grad_norm_([p for group in update.optimizer.param_groups for p in group["params"]], 1.0)
        update.optimizer.step()
        update.optimizer.zero_grad()


def codec_spec(size: Size) -> VqganSpec:
    return VqganSpec(
        base_channels=size.widths[0],
        channel_multipliers=tuple(width // size.widths[0] for width in size.widths),
        attention_levels=(),
        latent_channels=64,
        norm_groups=size.groups,
        quantizer=VqSpec(codebook_size=512, kmeans_init=False, restart_after=0),
    )


def measure(size: Size, repeats: int) -> dict[str, Any]:
    """The terms of the first step, and the seconds of each kind after it."""
    x = torch.randn(size.batch, 3, size.side, size.side, generator=torch.Generator().manual_seed(1))
    trainings = {kind: Training(size, kind, x) for kind in START_AND_LEAD}
    trainings["codec"].steps_done = 1  # its discriminator learns at step 0 alone
    trainings["published"] = Published(size, "both", x)
    terms = {}
    for name, training in trainings.items():
        training()
        terms[name] = {term: float(value) for term, value in training.last.items()}
    times = common.in_turns(trainings, repeats)
    for name, spent in times.items():
        print(f"{name:13} {statistics.median(spent):.3f} s of the processor, best {min(spent):.3f}")
    return {
        "terms_of_the_first_step": terms,
        "seconds": {name: statistics.median(spent) for name, spent in times.items()},
        "time_over_plain": {name: common.ratio(times, name, "plain") for name in times if name != "plain"},
        "time_of_published_over_ours": common.ratio(times, "published", "both"),
    }


def claims(found: dict[str, Any]) -> list[dict[str, Any]]:
    ours, published = (found["terms_of_the_first_step"][name] for name in ("both", "published"))
    difference = max(abs(ours[name] / published[name] - 1) for name in published)
    verdicts = [
        common.verdict(f"{name}: step time over the plain step's", value, LARGEST[name], below=True)
        for name, value in found["time_over_plain"].items()
        if name in LARGEST
    ]
    return [
        *verdicts,
        common.verdict(
            "step time of published over ours",
            found["time_of_published_over_ours"],
            1.0,
            below=False,
        ),
        common.verdict("relative difference of the adversarial terms", difference, SAME_TERMS, below=True),
    ]


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--repeats", type=int, help="steps of each (default: 7)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = measure(QUICK if options.quick else FULL, options.repeats or (1 if options.quick else 7))
    common.save("adversarial", options, {"claims": claims(found), **found})


if __name__ == "__main__":
    main()
