"""Rectified flow: straight paths from noise at t = 0 to data at t = 1 (arXiv 2209.03003)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from anycodec.config.process import FlowSpec
from anycodec.config.sampler import EulerSpec, HeunSpec, SamplerSpec
from anycodec.errors import UserError
from anycodec.torch.generators.base import Generator
from anycodec.torch.processes.base import Predictor, Process
from anycodec.torch.samplers.euler import euler
from anycodec.torch.samplers.heun import heun
from anycodec.torch.samplers.times import shifted_times


class Flow(Process):
    """The generator regresses the velocity v = x - noise at x_t = t x + (1 - t) noise."""

    def __init__(self, spec: FlowSpec) -> None:
        self.spec = spec

    def loss(
        self, generator: Generator, x: Tensor, labels: Tensor, random: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        noise = torch.randn(x.shape, generator=random, device=x.device, dtype=x.dtype)
        logit = torch.randn(len(x), generator=random, device=x.device, dtype=x.dtype)
        t = torch.sigmoid(self.spec.mean + self.spec.std * logit)
        return self.loss_at(generator, x, labels, noise, t)

    def loss_at(
        self, generator: Generator, x: Tensor, labels: Tensor, noise: Tensor, t: Tensor
    ) -> dict[str, Tensor]:
        """The terms of `loss` for given noise [B D *g] and times [B]."""
        predicted = generator(noise.lerp(x, t.view(-1, *(1,) * (x.dim() - 1))), t, labels).to(x.dtype)
        velocity = x - noise
        terms = {"velocity": F.mse_loss(predicted, velocity)}
        if self.spec.direction_weight:
            misalignment = 1 - F.cosine_similarity(predicted, velocity, dim=1).mean()
            terms["direction"] = self.spec.direction_weight * misalignment
        return terms

    @torch.no_grad()
    def sample(self, predict: Predictor, noise: Tensor, sampler: SamplerSpec) -> Tensor:
        match sampler:
            case EulerSpec():
                return euler(predict, noise, shifted_times(sampler.steps, sampler.shift))
            case HeunSpec():
                return heun(predict, noise, shifted_times(sampler.steps, sampler.shift))
            case _:
                raise UserError(
                    f"the sampler {sampler.type} cannot run a flow",
                    where="sampler",
                    how=f"use {' or '.join(FlowSpec.samplers)}",
                )
