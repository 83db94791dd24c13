"""What codebooks that learn by gradient share."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

from anycodec.config.quantizers.codebook import LearnedCodebookSpec
from anycodec.jax.quantizers.codebook import CodebookQuantizer, Match
from anycodec.jax.quantizers.regularizers import orthogonality


class LearnedCodebook(CodebookQuantizer):
    """loss = |sg(z) - q|^2 + beta |z - sg(q)|^2 (van den Oord et al. 2017, arXiv 1711.00937, eq. 3),

    means over elements, and w (mean squared cosine of pairs of codes) where asked for.
    """

    spec: LearnedCodebookSpec

    def losses(self, match: Match) -> dict[str, jax.Array]:
        z, q = match.z, match.q
        terms = {
            "codebook": jnp.square(q - stop_gradient(z)).mean(),
            "commitment": self.spec.beta * jnp.square(z - stop_gradient(q)).mean(),
        }
        if self.spec.orthogonal_weight:
            terms["orthogonality"] = self.spec.orthogonal_weight * orthogonality(match.codes)
        return terms

    @property
    def lr_factor(self) -> float:
        return self.spec.codebook_lr
