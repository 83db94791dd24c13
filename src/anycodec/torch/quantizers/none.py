"""No quantisation: the ablation that shows what a quantizer costs."""

from __future__ import annotations

from torch import Tensor

from anycodec.config.quantizer import NoneSpec
from anycodec.torch.quantizers.base import Quantized
from anycodec.torch.quantizers.continuous import ContinuousQuantizer


class Identity(ContinuousQuantizer):
    """Latents as they are."""

    def __init__(self, spec: NoneSpec, dim: int) -> None:
        super().__init__()

    def forward(self, z: Tensor) -> Quantized:
        return Quantized(z, ())
