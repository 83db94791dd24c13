"""The discriminator's side of a training: what it sees, and the terms that come from its judgement."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anycodec.config.adversarial import AdversarialSpec
from anycodec.torch.adversarial.matching import feature_matching
from anycodec.torch.adversarial.objectives import make_objective
from anycodec.torch.adversarial.penalty import gradient_penalty
from anycodec.torch.discriminators import Judgement, make_discriminator
from anycodec.torch.quantizers.ranks import own_part


class Adversary(nn.Module):
    """A discriminator with its objective. Its random numbers are its own: the codec's stay as they were.

    Args:
        spec: the settings.
        channels: C of the windows.
        dims: number of their spatial axes.
        seed: of the noise.
    """

    def __init__(self, spec: AdversarialSpec, channels: int, dims: int, seed: int) -> None:
        super().__init__()
        self.spec = spec
        self.seed = seed
        with torch.random.fork_rng(devices=[]):
            self.discriminator = make_discriminator(spec.discriminator, channels, dims)
        self.objective = make_objective(spec.objective)
        self._noise: torch.Generator | None = None

    def judge(self, x: Tensor, noise: float) -> Judgement:
        """The judgement of windows [B C *s] under noise of this deviation."""
        if noise:
            x = x + noise * own_part(torch.randn, x.shape, x.device, self.random(x.device))
        judgement: Judgement = self.discriminator(x)
        return judgement

    def generator_terms(self, fake: Judgement, real: Judgement | None) -> dict[str, Tensor]:
        """What the codec minimises, before weights, in float32."""
        terms = {"generator": self.objective.generator(fake.logits.float())}
        if real is not None:
            terms["feature_matching"] = feature_matching(real.features, fake.features)
        return terms

    def discriminator_terms(
        self, real: Judgement, fake: Judgement, x: Tensor, y: Tensor
    ) -> dict[str, Tensor]:
        """What the discriminator minimises, weighted, in float32.

        Args:
            real: judgement of the windows.
            fake: judgement of their reconstructions.
            x: the windows [B C *s].
            y: the reconstructions.
        """
        terms = {"discriminator": self.objective.discriminator(real.logits.float(), fake.logits.float())}
        if self.spec.gradient_penalty:
            penalty = gradient_penalty(self.discriminator, x, y, self.random(x.device))
            terms["gradient_penalty"] = self.spec.gradient_penalty * penalty
        return terms

    def random(self, device: torch.device) -> torch.Generator:
        """The source of noise and of interpolates."""
        if self._noise is None:
            self._noise = torch.Generator(device).manual_seed(self.seed)
        return self._noise

    def random_state(self, device: torch.device) -> Tensor:
        """The state of `random`."""
        return self.random(device).get_state()

    def set_random_state(self, device: torch.device, state: Tensor) -> None:
        """Restore what `random_state` gave."""
        self.random(device).set_state(state)
