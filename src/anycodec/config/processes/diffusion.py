"""Denoising diffusion."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from anycodec.config.processes.base import AnyProcessSpec


class DiffusionSpec(AnyProcessSpec):
    """DDPM's chain of 1000 steps x_k = sqrt(p_k) x + sqrt(1 - p_k) noise, p_k = prod (1 - beta)

    (Ho et al. 2020, arXiv 2006.11239, eq. 4), with the mean squared error of what is regressed.
    """

    samplers: ClassVar = ("ddim", "dpm", "ddpm")

    type: Literal["diffusion"] = "diffusion"
    betas: Literal["linear", "scaled_linear", "squared_cosine"] = Field(
        "squared_cosine",
        description="noise that a step adds: linear (DDPM), linear in its square root (latent diffusion, "
        "arXiv 2112.10752), or for a p_k like a squared cosine (arXiv 2102.09672)",
    )
    target: Literal["eps", "v", "x0"] = Field(
        "v",
        description="what is regressed: the noise, the data, or "
        "v = sqrt(p_k) noise - sqrt(1 - p_k) x (arXiv 2202.00512)",
    )
