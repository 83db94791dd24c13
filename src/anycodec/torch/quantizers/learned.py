"""What codebooks that learn by gradient share."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from anycodec.config.quantizers.codebook import LearnedCodebookSpec
from anycodec.torch.quantizers.codebook import CodebookQuantizer, Match
from anycodec.torch.quantizers.regularizers import orthogonality


class LearnedCodebook(CodebookQuantizer):
    """loss = |sg(z) - q|^2 + beta |z - sg(q)|^2 (van den Oord et al. 2017, arXiv 1711.00937, eq. 3),

    means over elements, and w (mean squared cosine of pairs of codes) where asked for.
    """

    spec: LearnedCodebookSpec

    def losses(self, match: Match) -> dict[str, Tensor]:
        terms = self.fit(match)
        if self.spec.orthogonal_weight:
            terms["orthogonality"] = self.spec.orthogonal_weight * orthogonality(match.codes)
        return terms

    def fit(self, match: Match) -> dict[str, Tensor]:
        """Weighted terms that bring latents and codes together."""
        return {
            "codebook": F.mse_loss(match.q, match.z.detach()),
            "commitment": self.spec.beta * F.mse_loss(match.z, match.q.detach()),
        }

    def lr_factors(self) -> Mapping[nn.Parameter, float]:
        around = set(self.space.parameters())
        return {p: self.spec.codebook_lr for p in self.parameters() if p not in around}


def set_rows(codebook: nn.Parameter, which: Tensor, values: Tensor) -> None:
    """Move codes that are not in use, also where stages that share the codebook still await gradients."""
    codebook.data[which] = values
