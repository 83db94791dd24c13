"""Alignment of latents with a frozen network's features of the input (VA-VAE, arXiv 2501.01423).

x -> encoder conv_out -> posterior -> z [B D h w] -> 1x1 projection -> z' [B F h w] --+
x -> teacher -> features [B F H' W'] -> resized to h x w ----------------------------+--> both terms
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anycodec.config.alignment import AlignmentSpec
from anycodec.engine import FeatureMaps
from anycodec.torch.adversarial.weight import adaptive_weight
from anycodec.torch.shaping.base import LatentStep, LatentTerm
from anycodec.torch.shaping.similarity import marginal_cosine, marginal_distance_matrix
from anycodec.training.schedule import stage_at

LARGEST = 1e8
"""Bound of the adaptive weight."""


class Alignment(LatentTerm):
    """weight * w * (marginal cosine + marginal distance matrix), w = 1 or |g_nll| / (|g_vf| + 1e-4) (eq. 7).

    g are the gradients at the encoder's last layer: of the reconstruction terms and of these two.

    Args:
        spec: weights and margins.
        latent_channels: D.
        teacher: gives the features; no gradient flows through it.
        layer: weight of the encoder's last convolution.
    """

    def __init__(
        self, spec: AlignmentSpec, latent_channels: int, teacher: FeatureMaps, layer: Tensor
    ) -> None:
        super().__init__()
        self.spec = spec
        self.teacher = teacher
        self._layer = (layer,)  # in a tuple, so that the parameter stays one of the codec alone
        with torch.random.fork_rng(devices=[]):
            self.projection = nn.Conv2d(latent_channels, teacher.width, 1, bias=False)

    def forward(self, step: LatentStep) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        stage = self.spec.stages[stage_at([s.share for s in self.spec.stages], step.number, step.steps)]
        with torch.autocast(step.x.device.type, enabled=False):
            z = step.latents.float()
            features = self.features(step.x, (z.shape[2], z.shape[3]))
            projected = self.projection(z)
            cosine = marginal_cosine(projected, features, stage.cosine_margin)
            distance = marginal_distance_matrix(projected, features, stage.distance_margin)
            both = cosine + distance
            weight = stage.weight * self._adaptive(step, both)
        stats = {"alignment_cosine": cosine, "alignment_distance": distance, "alignment_weight": weight}
        return {"alignment": weight * both}, stats

    def features(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """The teacher's features of windows [B C H W], resized to the latents' grid: [B F h w]."""
        maps = self.teacher(x.detach().float().cpu().numpy())
        features = torch.from_numpy(maps).to(x.device)
        if features.shape[2:] == grid:
            return features
        return F.interpolate(features, grid, mode="bilinear", antialias=True)

    def _adaptive(self, step: LatentStep, both: Tensor) -> Tensor:
        (layer,) = self._layer
        if not self.spec.adaptive:
            return torch.ones_like(both)
        (own,) = torch.autograd.grad(both, layer, retain_graph=True)
        return adaptive_weight(step.pull(layer), own, LARGEST)
