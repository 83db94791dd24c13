"""The one Lightning module: it sums named terms and never asks which codec it trains."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from anycodec.config.train import OptimizerSpec, TrainSpec
from anycodec.torch.codecs.base import Codec, CodecOutput
from anycodec.torch.codecs.klvae import KlVae
from anycodec.torch.losses import LossTerms
from anycodec.torch.parallel.gradients import GradientMean, gradient_mean
from anycodec.torch.parallel.shards import clip
from anycodec.torch.quantizers import Quantizer
from anycodec.torch.shaping.base import LatentStep, LatentTerm
from anycodec.torch.training.batch import Batch, Labelled, labels_of, windows_of
from anycodec.torch.training.contest import derivative
from anycodec.torch.training.optimizer import CodecAdamW
from anycodec.torch.training.schedule import seek
from anycodec.training.finite import diverged
from anycodec.training.schedule import schedule_factor


class CodecTraining(pl.LightningModule):
    """Trains a codec on the weighted sum of reconstruction terms, the codec's own losses and latent terms.

    `steps_done` counts optimizer steps: Lightning's `global_step` counts every optimizer's.
    """

    def __init__(
        self,
        codec: Codec,
        losses: LossTerms,
        weights: dict[str, float],
        spec: TrainSpec,
        shaping: Sequence[LatentTerm] = (),
    ) -> None:
        super().__init__()
        self.codec = codec
        self.losses = losses
        self.weights = weights
        self.spec = spec
        self.shaping = nn.ModuleList(shaping)
        self.steps_done = 0
        self.last: dict[str, Tensor] = {}
        self.mean: GradientMean | None = None
        self._batches = 0

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = adamw(self.groups(), self.spec.optimizer)
        trained = (parameter for group in self.groups() for parameter in group["params"])
        self.mean = gradient_mean(p for p in trained if not isinstance(p, DTensor))
        schedule = LambdaLR(optimizer, schedule_factor(self.spec))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def groups(self) -> list[dict[str, Any]]:
        """What the codec's optimizer trains: the codec, and after it what shapes its latents."""
        lr = self.spec.optimizer.lr
        more = list(self.shaping.parameters())
        return parameter_groups(self.codec, lr) + ([{"params": more, "lr": lr}] if more else [])

    def set_schedule(self, trainer: pl.Trainer, step: int) -> None:
        """Put the learning rate where it is after `step` updates."""
        scheduler = trainer.lr_scheduler_configs[0].scheduler
        assert isinstance(scheduler, LambdaLR)
        seek(scheduler, step)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        output = self.reconstructed(batch)
        comparing = self.terms(output.reconstruction, windows_of(batch))
        output = self.shaped(batch, output, partial(self._pull, comparing))
        terms = comparing | dict(output.losses)
        total = torch.stack([term.float() for term in terms.values()]).sum()
        shown = {"loss": total} | terms | dict(output.stats)
        self.last = {name: value.detach() for name, value in shown.items()}
        if self.count() and self.mean:
            self.mean.expect()
        return total

    def count(self) -> bool:
        """Note a batch; whether it is the last of its step."""
        self._batches += 1
        return self._batches % self.spec.accumulate == 0

    def on_after_backward(self) -> None:
        if self._batches % self.spec.accumulate == 0 and self.mean:
            self.mean.finish()

    def reconstructed(self, batch: Batch) -> CodecOutput:
        """What the codec makes of a batch, with its labels where it has some."""
        output: CodecOutput = self.codec(*batch) if isinstance(batch, Labelled) else self.codec(batch)
        return output

    def terms(self, reconstruction: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Weighted reconstruction terms by name, computed in float32 whatever the autocast."""
        with torch.autocast(target.device.type, enabled=False):
            return {
                name: self.weights[name] * loss(reconstruction.float(), target.float())
                for name, loss in self.losses.items()
            }

    def shaped(self, batch: Batch, output: CodecOutput, pull: Callable[[Tensor], Tensor]) -> CodecOutput:
        """The output with the terms that look at latents among its losses.

        Args:
            batch: windows [B C *s], with or without labels.
            output: of the codec.
            pull: gradient of the reconstruction terms at a weight of the codec.
        """
        if not self.shaping:
            return output
        assert isinstance(self.codec, KlVae)
        decode = partial(self.codec.decode_latents, labels=labels_of(batch))
        step = LatentStep(windows_of(batch), output, pull, decode, self.steps_done, self.spec.steps)
        for shaper in self.shaping:
            losses, stats = shaper(step)
            output = replace(output, losses={**output.losses, **losses}, stats={**output.stats, **stats})
        return output

    @staticmethod
    def _pull(terms: Mapping[str, Tensor], weight: Tensor) -> Tensor:
        return derivative(torch.stack(list(terms.values())).sum(), weight, keep=True)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Limit the global norm, as Lightning would, which refuses fused optimizers in bf16."""
        if gradient_clip_val is not None:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            divided = any(isinstance(p, DTensor) for p in parameters)
            (clip if divided else nn.utils.clip_grad_norm_)(parameters, float(gradient_clip_val))

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Optimizer, closure: Any = None) -> None:  # type: ignore[override]
        super().optimizer_step(epoch, batch_idx, optimizer, closure)
        self.steps_done += 1

    def more_state(self) -> dict[str, Any]:
        """What a resumable state must hold beside the codec and its optimizer."""
        return {"shaping": self.shaping.state_dict()} if self.shaping else {}

    def load_more_state(self, state: dict[str, Any]) -> None:
        """Restore what `more_state` gave, once there are optimizers."""
        if self.shaping:
            self.shaping.load_state_dict(state["shaping"])

    def health(self) -> str:
        """What to tell beside the figures of a validation."""
        return ""

    def check_finite(self) -> None:
        """Raise if a term of the last step or a weight after it is not a number.

        Raises:
            RunError: names them; the last good checkpoint stays.
        """
        require_finite(self.last, self.steps_done)
        trained = [*self.codec.named_parameters(), *self.shaping.named_parameters()]
        require_finite({f"weight {k}": v for k, v in trained}, self.steps_done)


def adamw(groups: list[dict[str, Any]], spec: OptimizerSpec) -> AdamW:
    """The optimizer of these groups of parameters."""
    return CodecAdamW(groups, spec)


def parameter_groups(codec: Codec, lr: float) -> list[dict[str, Any]]:
    """The trained parameters by learning rate: first `lr`, then the multiples that quantizers ask for."""
    quantizers = (module for module in codec.modules() if isinstance(module, Quantizer))
    factors = {p: factor for quantizer in quantizers for p, factor in quantizer.lr_factors().items()}
    groups: defaultdict[float, list[nn.Parameter]] = defaultdict(list, {1.0: []})
    for parameter in codec.parameters():
        if parameter.requires_grad:
            groups[factors.get(parameter, 1.0)].append(parameter)
    return [{"params": parameters, "lr": factor * lr} for factor, parameters in groups.items()]


def require_finite(figures: Mapping[str, Tensor | float], step: int) -> None:
    """Raise if a figure or tensor is not finite.

    Raises:
        RunError: names them.
    """
    broken = [
        name for name, value in figures.items() if not bool(torch.isfinite(torch.as_tensor(value)).all())
    ]
    if broken:
        raise diverged(broken, step)
