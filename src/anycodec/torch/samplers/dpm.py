"""DPM-Solver++ (Lu et al. 2022, arXiv 2211.01095)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from anycodec.torch.optional import from_diffusers
from anycodec.torch.samplers.noise import NoisePredictor


def dpm(predict: NoisePredictor, noise: Tensor, ks: Sequence[int], powers: Tensor, order: int) -> Tensor:
    """The multistep solver of diffusers' DPMSolverMultistepScheduler.

    Args:
        predict: the noise in x_k.
        noise: [B D *g], where sampling starts.
        ks: descending steps of the chain.
        powers: [K], p_k of the chain.
        order: 1 to 3.

    Returns:
        [B D *g].

    Raises:
        MissingExtra: diffusers is not installed.
    """
    alphas = powers / powers.roll(1)
    alphas[0] = powers[0]
    solver = from_diffusers("DPMSolverMultistepScheduler")(
        num_train_timesteps=len(powers), trained_betas=(1 - alphas).tolist(), solver_order=order
    )
    solver.set_timesteps(timesteps=list(ks))
    x = noise
    for k in ks:
        x = solver.step(predict(x, k), k, x, return_dict=False)[0]
    return x
