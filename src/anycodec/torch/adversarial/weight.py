"""Adaptive weight of the adversarial term."""

from __future__ import annotations

from torch import Tensor

LARGEST = 1e4
DELTA = 1e-4


def adaptive_weight(reconstruction: Tensor, generator: Tensor, largest: float = LARGEST) -> Tensor:
    """min(|g_rec| / (|g_gen| + 1e-4), largest): makes both terms pull equally (Esser 2021, eq. 7).

    taming, the VQGAN of dome272 and VA-VAE multiply it by constants of their own: 0.8, 0.8 and 0.5.

    Args:
        reconstruction: gradient of the reconstruction terms at the weight of the decoder's last layer.
        generator: gradient of the generator's term there.
        largest: bound of the weight.

    Returns:
        Scalar without graph, in float32.
    """
    ratio: Tensor = reconstruction.detach().float().norm() / (generator.detach().float().norm() + DELTA)
    return ratio.clamp_max(largest)
