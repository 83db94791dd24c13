"""Denoising diffusion (Ho et al. 2020, arXiv 2006.11239)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from anycodec.config.processes.diffusion import DiffusionSpec
from anycodec.config.sampler import DdimSpec, DdpmSpec, DpmSpec, SamplerSpec
from anycodec.config.samplers.base import AnySamplerSpec
from anycodec.errors import UserError
from anycodec.torch.generators.base import Generator
from anycodec.torch.processes.base import Predictor, Process
from anycodec.torch.processes.chain import STEPS, data_powers, most_steps, visited
from anycodec.torch.samplers.ddim import ddim
from anycodec.torch.samplers.dpm import dpm
from anycodec.torch.samplers.noise import NoisePredictor


class Diffusion(Process):
    """x_k = a x + s noise with a = sqrt(p_k), s = sqrt(1 - p_k).

    Generators get the time t = 1 - (k + 1) / 1000, which like that of a flow is near 0 in noise and 1 in
    the data.
    """

    def __init__(self, spec: DiffusionSpec) -> None:
        self.target = spec.target
        self.powers = data_powers(spec.betas)

    def loss(
        self, generator: Generator, x: Tensor, labels: Tensor, random: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        k = torch.randint(STEPS, (len(x),), generator=random, device=x.device)
        noise = torch.randn(x.shape, generator=random, device=x.device, dtype=x.dtype)
        a, s = self._scales(k, x)
        prediction = generator(a * x + s * noise, _times(k), labels)
        return {"mse": F.mse_loss(prediction.to(x.dtype), self._regressed(x, noise, a, s))}

    @torch.no_grad()
    def sample(self, predict: Predictor, noise: Tensor, sampler: SamplerSpec) -> Tensor:
        match sampler:
            case DdimSpec():
                return ddim(self._noise_of(predict), noise, self._visited(sampler), self.powers, sampler.eta)
            case DdpmSpec():
                return ddim(self._noise_of(predict), noise, self._visited(sampler), self.powers, eta=1)
            case DpmSpec():
                return dpm(self._noise_of(predict), noise, self._visited(sampler), self.powers, sampler.order)
            case _:
                raise UserError(
                    f"the sampler {sampler.type} cannot run a diffusion",
                    where="sampler",
                    how=f"use {', '.join(DiffusionSpec.samplers)}",
                )

    def _visited(self, sampler: AnySamplerSpec) -> list[int]:
        most = most_steps(self.powers)
        if sampler.steps > most:
            raise UserError(
                f"{sampler.steps} steps are more than this diffusion has",
                where="sampler.steps",
                how=f"use at most {most}",
            )
        return visited(self.powers, sampler.steps)

    def _noise_of(self, predict: Predictor) -> NoisePredictor:
        """The noise that a prediction of the target says."""

        def noise_in(x: Tensor, k: int) -> Tensor:
            ks = torch.full((len(x),), k, device=x.device)
            a, s = self._scales(ks, x)
            prediction = predict(x, _times(ks)).to(x.dtype)
            if self.target == "eps":
                return prediction
            return (x - a * prediction) / s if self.target == "x0" else s * x + a * prediction

        return noise_in

    def _regressed(self, x: Tensor, noise: Tensor, a: Tensor, s: Tensor) -> Tensor:
        if self.target == "eps":
            return noise
        return x if self.target == "x0" else a * noise - s * x

    def _scales(self, k: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """a and s [B 1 ... 1] of the steps k [B]."""
        p = self.powers[k.cpu()].view(-1, *[1] * (like.dim() - 1))
        return p.sqrt().to(like), (1 - p).sqrt().to(like)


def _times(k: Tensor) -> Tensor:
    return 1 - (k + 1) / STEPS
