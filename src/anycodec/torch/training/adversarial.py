"""A training of two: the codec, and a discriminator that learns to tell windows from reconstructions.

One step makes one reconstruction x^ and judges it once. What stands behind x^ is differentiated apart,
from a copy of x^ on; the codec is then walked back once, from the sum:

    L_rec -> dL_rec/dx^ --+
                          +--> x^ --> codec                D(x), D(x^) --> L_D --> discriminator
    L_adv -> dL_adv/dx^ --+    (through D, whose own gradients are left out)

So nothing is differentiated twice for the adaptive weight, the graphs of codec and discriminator never
meet, and each backward pass is that of one scalar over the parameters of one network: what averaging over
processes can follow, and what two loss scales need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.amp import GradScaler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from anycodec.config.train import TrainSpec
from anycodec.torch.codecs.base import Codec, CodecOutput
from anycodec.torch.discriminators import Judgement
from anycodec.torch.losses import LossTerms
from anycodec.torch.parallel import group
from anycodec.torch.shaping.base import LatentTerm
from anycodec.torch.training.adversary import Adversary
from anycodec.torch.training.batch import Batch, windows_of
from anycodec.torch.training.contest import Reconstruction, derivative, push
from anycodec.torch.training.module import CodecTraining, adamw, require_finite
from anycodec.torch.training.schedule import seek
from anycodec.torch.training.update import Update
from anycodec.training.schedule import schedule_factor
from anycodec.training.timeline import Timeline


@dataclass(frozen=True, slots=True)
class CodecSide:
    """The codec's half of a step.

    Attributes:
        loss: scalar with the gradient of all its terms.
        terms: the terms, weighted.
        unweighted: adversarial terms before their weights, and the adaptive weight: {} before `start`.
        copy: x^ [B C *s] outside the codec's graph.
        fake: its judgement, None where the codec did not need it.
    """

    loss: Tensor
    terms: dict[str, Tensor]
    unweighted: dict[str, Tensor]
    copy: Tensor
    fake: Judgement | None


class AdversarialTraining(CodecTraining):
    """Trains a codec and a discriminator; up to `start` the codec's steps are those of `CodecTraining`.

    Args:
        codec: the codec.
        losses: reconstruction terms.
        weights: their factors.
        spec: the training loop.
        adversary: the discriminator's side.
        shaping: terms that look at latents.
    """

    def __init__(
        self,
        codec: Codec,
        losses: LossTerms,
        weights: dict[str, float],
        spec: TrainSpec,
        adversary: Adversary,
        *,
        shaping: Sequence[LatentTerm] = (),
    ) -> None:
        super().__init__(codec, losses, weights, spec, shaping)
        self.automatic_optimization = False
        self.adversary = adversary
        self.timeline = Timeline(adversary.spec, spec.steps)
        self.updates: dict[str, Update] = {}
        self.schedules: list[LambdaLR] = []
        self._watched: dict[str, Tensor] = {}
        self._rival: dict[str, Tensor] = {}
        """The last figures of the discriminator's side."""

    # --- optimizers and state -------------------------------------------------------------------

    def configure_optimizers(self) -> list[Optimizer]:  # type: ignore[override]
        rival, first = self.adversary.spec, self.timeline.first
        pair = (
            adamw(self.groups(), self.spec.optimizer),
            adamw([{"params": list(self.adversary.parameters())}], rival.optimizer),
        )
        own = self.spec.model_copy(
            update={
                "optimizer": rival.optimizer,
                "schedule": rival.schedule,
                "steps": max(1, self.spec.steps - first),
            }
        )
        factor = schedule_factor(own)
        self.schedules = [
            LambdaLR(pair[0], schedule_factor(self.spec)),
            LambdaLR(pair[1], lambda step: factor(max(0, step - first))),
        ]
        clips = (self.spec.clip, rival.clip)
        self.updates = {
            name: Update(name, optimizer, clip, self._scaler())
            for name, optimizer, clip in zip(("codec", "discriminator"), pair, clips, strict=True)
        }
        return list(pair)

    def _scaler(self) -> GradScaler:
        return GradScaler(self.device.type, enabled=self.spec.precision == "fp16")

    def set_schedule(self, trainer: pl.Trainer, step: int) -> None:
        for schedule in self.schedules:
            seek(schedule, step)

    def more_state(self) -> dict[str, Any]:
        return super().more_state() | {
            "discriminator": self.adversary.state_dict(),
            "discriminator_optimizer": self.updates["discriminator"].optimizer.state_dict(),
            "updates": {name: update.state_dict() for name, update in self.updates.items()},
            "noise": self.adversary.random_state(self.device),
            "rival": group.means(self._rival),
        }

    def load_more_state(self, state: dict[str, Any]) -> None:
        super().load_more_state(state)
        self.adversary.load_state_dict(state["discriminator"])
        self.updates["discriminator"].optimizer.load_state_dict(state["discriminator_optimizer"])
        for name, update in self.updates.items():
            update.load_state_dict(state["updates"][name])
        self.adversary.set_random_state(self.device, state["noise"])
        self._rival = {name: value.to(self.device) for name, value in state["rival"].items()}

    # --- a step ---------------------------------------------------------------------------------

    def training_step(self, batch: Batch, _: int) -> None:  # type: ignore[override]
        step, x = self.steps_done, windows_of(batch)
        trains, counts = self.timeline.trains(step), self.timeline.counts(step)
        output = self.reconstructed(batch)
        real = None
        if counts and self.adversary.spec.feature_matching:
            with torch.set_grad_enabled(trains):
                real = self.adversary.judge(x, self.timeline.noise(step))
        side, output = self._contested(output, batch, real) if counts else self._alone(output, batch)
        last = self.count()
        self._backward("codec", side.loss, last)
        self._watch(side.terms | side.unweighted)
        if trains:
            self._train_discriminator(x, side, real, last)
        if last:
            self._finish(side, output)

    def _alone(self, output: CodecOutput, batch: Batch) -> tuple[CodecSide, CodecOutput]:
        """The step of a codec that does not hear the discriminator."""
        comparing = self.terms(output.reconstruction, windows_of(batch))
        output = self.shaped(batch, output, partial(self._pull, comparing))
        terms = comparing | dict(output.losses)
        total = torch.stack([term.float() for term in terms.values()]).sum()
        return CodecSide(total, terms, {}, output.reconstruction.detach().float(), None), output

    def _contested(
        self, output: CodecOutput, batch: Batch, real: Judgement | None
    ) -> tuple[CodecSide, CodecOutput]:
        """The step of a codec that must please the discriminator too."""
        values = output.reconstruction.float()
        copy = values.detach().requires_grad_()
        terms = self.terms(copy, windows_of(batch))
        pull = derivative(torch.stack(list(terms.values())).sum(), copy)
        fake = self.adversary.judge(copy, self.timeline.noise(self.steps_done))
        unweighted = self.adversary.generator_terms(fake, real)
        pushed = push(
            self.adversary.spec,
            Reconstruction(values, copy, pull, self.codec.last_layer()),
            unweighted,
            ramp=self.timeline.ramp(self.steps_done),
            scale=self.updates["codec"].scale(values.device),
            keep=self.timeline.trains(self.steps_done),
        )
        output = self.shaped(batch, output, lambda weight: derivative(values, weight, pull, keep=True))
        own = [loss.float() for loss in output.losses.values()]
        loss = torch.stack([((pull + pushed.gradient) * values).sum(), *own]).sum()
        self._rival |= {
            "adaptive_weight": pushed.adaptive,
            "gradient_ratio": pushed.gradient.norm() / (pull.norm() + torch.finfo(pull.dtype).tiny),
        }
        if self.spec.precision != "fp16":  # there the loss scale may overflow in passing
            unweighted = unweighted | {"adaptive_weight": pushed.adaptive}
        named = terms | pushed.terms | dict(output.losses)
        side = CodecSide(loss, {k: v.detach() for k, v in named.items()}, unweighted, copy.detach(), fake)
        return side, output

    def _train_discriminator(self, x: Tensor, side: CodecSide, real: Judgement | None, last: bool) -> None:
        noise = self.timeline.noise(self.steps_done)
        fake = side.fake or self.adversary.judge(side.copy, noise)
        real = real or self.adversary.judge(x, noise)
        terms = self.adversary.discriminator_terms(real, fake, x, side.copy)
        self._backward("discriminator", torch.stack(list(terms.values())).sum(), last)
        self._watch(terms)
        self._rival |= {name: term.detach() for name, term in terms.items()} | {
            "logits_real": real.logits.detach().float().mean(),
            "logits_fake": fake.logits.detach().float().mean(),
        }

    def _backward(self, name: str, loss: Tensor, last: bool) -> None:
        """Add the gradients of a scalar to those of a network, which are all there after the last batch."""
        if last:
            self.updates[name].expect()
        with torch.autocast(loss.device.type, enabled=False):
            self.manual_backward(self.updates[name].scaled(loss / self.spec.accumulate))

    def _watch(self, terms: dict[str, Tensor]) -> None:
        """Remember terms until the step is done: a sum over batches is finite if all of them are."""
        for name, term in terms.items():
            self._watched[name] = self._watched.get(name, 0.0) + term.detach().float()

    def _finish(self, side: CodecSide, output: CodecOutput) -> None:
        """Update the networks once all batches of the step were seen.

        Raises:
            RunError: a term or a gradient is not a number; it names it, and the networks stay as they were.
        """
        step = self.steps_done + 1
        names = list(self.updates) if self.timeline.trains(self.steps_done) else ["codec"]
        norms = {f"gradient of the {name}": self.updates[name].gradient_norm() for name in names}
        finite = self._finite(norms, step)
        for name, fine in zip(names, finite, strict=True):
            self.updates[name].step(fine, step)
        for schedule in self.schedules:
            seek(schedule, step)
        self.steps_done = step
        self._watched = {}
        self.last = self._figures(side, output)
        if not all(finite):
            self.last = {name: torch.nan_to_num(value, 0, 0, 0) for name, value in self.last.items()}

    def _finite(self, norms: dict[str, Tensor], step: int) -> list[bool]:
        """Whether each gradient is finite; the only wait for the device in a step.

        Raises:
            RunError: a term is not or, without a loss scale that could mend it, a gradient.
        """
        if bool(torch.stack([*self._watched.values(), *norms.values()]).isfinite().all()):
            return [True] * len(norms)
        require_finite(self._watched, step)
        if self.spec.precision != "fp16":
            require_finite(norms, step)
        return [bool(norm.isfinite()) for norm in norms.values()]

    def _figures(self, side: CodecSide, output: CodecOutput) -> dict[str, Tensor]:
        """What the step shows, the discriminator's last figures included."""
        terms = {name: term.detach() for name, term in side.terms.items()}
        total = torch.stack([term.float() for term in terms.values()]).sum()
        stats = {name: value.detach() for name, value in output.stats.items()}
        figures = {"loss": total} | terms | stats | self._rival
        if self.steps_done > self.timeline.first:
            skipped = sum(update.skipped for update in self.updates.values())
            figures["skipped_updates"] = torch.tensor(float(skipped))
        return figures

    def health(self) -> str:
        """The discriminator's mean logits and the strength of its push."""
        words = {"logits_real": "D(real)", "logits_fake": "D(fake)", "gradient_ratio": "push"}
        shown = {word: self._rival[name] for name, word in words.items() if name in self._rival}
        return "".join(f"  {word} {float(value):.2f}" for word, value in shown.items())

    def check_finite(self) -> None:
        super().check_finite()
        weights = {f"discriminator's weight {k}": v for k, v in self.adversary.named_parameters()}
        require_finite(weights, self.steps_done)
