"""When the discriminator trains, when the codec's adversarial terms count, and how much."""

from __future__ import annotations

from dataclasses import dataclass

from anycodec.config.adversarial import AdversarialSpec


@dataclass(frozen=True, slots=True)
class Timeline:
    """The adversarial part of a training as pure functions of the step (0 = the first update).

        0 ............ start - lead ................ start ............ start + ramp ........... steps
        codec alone    the discriminator trains too  its term grows      the term has its weight

    Attributes:
        spec: the settings.
        steps: steps of the whole training.
    """

    spec: AdversarialSpec
    steps: int

    @property
    def first(self) -> int:
        """The discriminator's first step."""
        return self.spec.start - self.spec.lead

    def trains(self, step: int) -> bool:
        """Whether the discriminator is updated."""
        return step >= self.first and (step - self.first) % self.spec.every == 0

    def counts(self, step: int) -> bool:
        """Whether the codec hears the discriminator."""
        return step >= self.spec.start

    def ramp(self, step: int) -> float:
        """Share of their weight that the codec's adversarial terms have: 1 / ramp at `start`, then linear."""
        if not self.counts(step):
            return 0.0
        return min(1.0, (step - self.spec.start + 1) / self.spec.ramp) if self.spec.ramp else 1.0

    def noise(self, step: int) -> float:
        """Deviation of the instance noise: linear from the discriminator's first step down to 0."""
        noise = self.spec.noise
        if noise is None:
            return 0.0
        steps = noise.steps or max(1, (self.steps - self.first) // 2)
        return noise.scale * max(0.0, 1 - (step - self.first) / steps)
